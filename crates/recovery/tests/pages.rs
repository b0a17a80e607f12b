//! Every finding has a page that answers the same questions.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lifeboat_recovery::finding::FindingId;

const SECTIONS: &[&str] = &[
    "## What it means",
    "## How Lifeboat sees it",
    "## What it blocks",
    "## What Lifeboat does about it",
    "## What to do by hand",
];
const LAST: &str = "## What not to do";

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings")
}

#[test]
fn every_page_answers_the_same_questions_in_the_same_order() {
    for id in FindingId::ALL {
        let page = id.page();
        let mut lines = page.lines();
        assert_eq!(lines.next(), Some(format!("# {id}").as_str()));
        assert!(id.title().ends_with('.') && id.title().len() < 100, "{id}: {:?}", id.title());
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        let headings = headings.strip_suffix(&[LAST]).unwrap_or(&headings);
        assert_eq!(headings, SECTIONS, "{id}");
        for section in page.split("\n## ").skip(1) {
            let (heading, text) = section.split_once('\n').unwrap();
            assert!(text.trim().len() > 10, "{id}: nothing under {heading}");
        }
    }
}

#[test]
fn every_page_belongs_to_an_id() {
    let files = dir().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = files.filter(|name| name != "README.md").collect();
    let ids: BTreeSet<String> = FindingId::ALL.iter().map(|id| format!("{id}.md")).collect();
    assert_eq!(pages, ids);
}

/// The index lists the ids in the catalog's order, from the ground up. `LIFEBOAT_RECORD=1` writes its rows again.
#[test]
fn the_index_is_true() {
    let path = dir().join("README.md");
    let index = fs_err::read_to_string(&path).unwrap();
    let (head, rows) = index.split_at(index.find("| [").unwrap());
    let expected: String =
        FindingId::ALL.iter().map(|id| format!("| [{id}]({id}.md) | {} |\n", id.title())).collect();
    if std::env::var_os("LIFEBOAT_RECORD").is_some() {
        fs_err::write(&path, format!("{head}{expected}")).unwrap();
    } else {
        assert_eq!(rows, expected, "run this test with LIFEBOAT_RECORD=1");
    }
}

/// A page that names another finding names one that is there.
#[test]
fn pages_name_findings_that_exist() {
    let areas: BTreeSet<&str> =
        FindingId::ALL.iter().filter_map(|id| id.as_str().split_once('.')).map(|(area, _)| area).collect();
    for id in FindingId::ALL {
        for word in id.page().split('`').skip(1).step_by(2) {
            let is_id = word.split_once('.').is_some_and(|(area, rest)| {
                areas.contains(area)
                    && rest.chars().all(|letter| letter.is_ascii_lowercase() || ".-".contains(letter))
            });
            let is_file = word.ends_with(".service") || word.ends_with(".conf");
            assert!(!is_id || is_file || FindingId::parse(word).is_some(), "{id} names {word}");
        }
    }
}

#[test]
fn ids_are_written_as_they_are_read() {
    for id in FindingId::ALL {
        assert_eq!(FindingId::parse(id.as_str()), Some(*id));
        assert_eq!(serde_json::to_value(id).unwrap(), id.as_str());
    }
}
