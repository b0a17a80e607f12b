//! The README's transcript, those of a newcomer's mistakes and of several sources, and the fields of the JSON output are
//! what the program prints.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use support::{lifeboat, text};

/// Runs a page's commands where `backup.db` is a snapshot, `cut.db` the begin of it, `folder` holds nothing, and `m1`,
/// `m2` and `m3` are the members of a lost quorum.
fn is_what_the_program_prints(page: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(page.file_name().unwrap());
    fs_err::copy(page, &copy).unwrap();
    // trycmd runs a page's commands in the folder beside it.
    let work = copy.with_extension("in");
    fs_err::create_dir_all(work.join("folder")).unwrap();
    let snapshot = fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap();
    fs_err::write(work.join("cut.db"), &snapshot[..100_000]).unwrap();
    fs_err::write(work.join("backup.db"), snapshot).unwrap();
    lab::fixture::members_of_a_lost_quorum(&work);
    trycmd::TestCases::new().case(copy).run();
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"));
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.trycmd"));
}

#[test]
fn several_sources_are_compared() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare.trycmd"));
}

/// Objects whose keys are data, or only for another Lifeboat.
const NOT_FIELDS: [&str; 7] =
    ["action", "clusters", "encryptedKeys", "fingerprint", "guards", "keysByPrefix", "machineIds"];

fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if !NOT_FIELDS.contains(&key.as_str()) {
                    fields(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

/// The words of each section of the page.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let page = fs_err::read_to_string(page).unwrap();
    let words =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
    let sections = page.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap());
    sections.map(|(title, text)| (title.to_owned(), words(text))).collect()
}

#[test]
fn every_field_of_the_json_output_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    lab::fixture::members_of_a_lost_quorum(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let facts = |case: &str| format!("{}/../recovery/tests/facts/{case}.json", env!("CARGO_MANIFEST_DIR"));
    let snapshot = lab::fixture::kubernetes_snapshot().display().to_string();
    let [m1, m2, m3] = ["m1", "m2", "m3"].map(path);
    let initial = "m1=http://127.0.0.1:23801";
    let (restored, saved) = (path("restored"), path("saved.db"));
    let (incident, corrupt) = (facts("incident"), facts("two-corrupt"));
    let salvaged = path("salvaged.db");
    // Sections that a section refers to count as well.
    let cases: [(&[&str], &[&str]); 14] = [
        (&["inspect", &snapshot], &[]),
        (&["inspect", "--raft", &m1], &[]),
        (&["inspect", &m1, &m2, &m3], &["hash"]),
        (&["check", &m2], &[]),
        (&["hash", &m1], &[]),
        (&["get", &snapshot, "--prefix=/registry/namespaces"], &[]),
        (&["save", &m1, &saved], &[]),
        (
            &[
                "restore",
                &m1,
                &m2,
                "--all-members",
                &restored,
                "--initial-cluster",
                initial,
                "--initial-cluster-token",
                "t",
            ],
            &["inspect", "hash"],
        ),
        (&["salvage", &m2, &salvaged], &["check"]),
        (&["diagnose", "--facts", &incident], &[]),
        (&["status", "--facts", &corrupt], &[]),
        (&["recover", "plan", "--facts", &incident], &[]),
        (&["recover", "plan", "--facts", &corrupt], &[]),
        (&["explain", "nic.missing"], &[]),
    ];
    let sections = documented();
    for (arguments, others) in cases {
        let output = lifeboat(arguments.iter().chain(&["-o", "json"]));
        let printed: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output.stderr)));
        let mut found = BTreeSet::new();
        fields(&printed, &mut found);
        let known = [&arguments[..1], others].concat();
        let is_documented = |field: &String| known.iter().any(|section| sections[*section].contains(field));
        found.retain(|field| field != "schemaVersion" && !is_documented(field));
        assert!(found.is_empty(), "docs/json.md, {}: {found:?}", arguments[0]);
    }
}
