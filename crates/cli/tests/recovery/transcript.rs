//! The runbook shows what the program prints: each line of a transcript in `docs/runbooks/incident.md` is found in a
//! run, in that order, except for what differs from run to run. The run may print more: a slow machine needs a step
//! that a fast one does not. `LIFEBOAT_RECORD=1` writes the page again.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::harness::{Harness, Run};

/// Compares what a run printed with the page's transcript of this name.
pub fn compare(harness: &Harness, name: &str, run: &Run) {
    let here = format!("{}/", harness.dir.display());
    let stdout = run.stdout.replace(&here, "");
    let page = fs::read_to_string(page()).expect("read the runbook");
    let (before, shown, after) = split(&page, name);
    if std::env::var_os("LIFEBOAT_RECORD").is_some() {
        return fs::write(self::page(), format!("{before}{}\n{after}", stdout.trim_end()))
            .expect("write the runbook");
    }
    let (shown, mut printed) = (lasting(shown), lasting(&stdout).into_iter());
    let missing = shown.iter().find(|line| !printed.any(|printed| printed == **line));
    assert_eq!(missing, None, "{name}: run this test with LIFEBOAT_RECORD=1; it printed {}", run.output());
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks/incident.md")
}

/// The page up to what the command printed, that, and the rest.
fn split<'a>(page: &'a str, name: &str) -> (&'a str, &'a str, &'a str) {
    let mark = format!("<!-- {name} -->\n```console\n$ ");
    let start =
        page.find(&mark).unwrap_or_else(|| panic!("the runbook has no transcript {name}")) + mark.len();
    let line = page[start..].find('\n').expect("a command line") + 1;
    let end = page[start + line..].find("```").expect("the end of the transcript");
    (&page[..start + line], &page[start + line..][..end], &page[start + line + end..])
}

/// The words that are the same in every run: no times, ids, revisions, and no mark on steps that were done already.
fn lasting(text: &str) -> Vec<String> {
    let text = text.replace("(already done)", "");
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let varies = |at: usize, word: &str| {
            let number = word.trim_end_matches(',').parse::<f64>().is_ok();
            let seconds = words.get(at + 1).is_some_and(|unit| unit.trim_end_matches(',') == "s");
            let revision = at > 0 && words[at - 1] == "revision";
            number && (seconds || revision)
        };
        let lasting = |(at, word): (usize, &&str)| match (varies(at, word), id(word)) {
            (true, _) => "N".to_owned(),
            (_, Some(id)) => word.replace(&id, "ID"),
            _ => (*word).to_owned(),
        };
        words.iter().enumerate().map(lasting).collect::<Vec<_>>().join(" ")
    };
    text.trim().lines().map(line).collect()
}

/// The name of an operation or plan in a word, such as `20261124-153000-k3f9`.
fn id(word: &str) -> Option<String> {
    let is_id = |text: &&[u8]| {
        let parts: Vec<&[u8]> = text.split(|byte| *byte == b'-').collect();
        parts.iter().map(|part| part.len()).eq([8, 6, 4])
            && parts[..2].concat().iter().all(u8::is_ascii_digit)
    };
    let found = word.as_bytes().windows(20).find(is_id)?;
    Some(String::from_utf8_lossy(found).into_owned())
}
