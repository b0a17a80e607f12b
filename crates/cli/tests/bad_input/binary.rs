//! Exit codes and words of the binary: scripts decide by the one, people at three in the morning by the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::CLUSTER;
use crate::craft;
use crate::support::{lifeboat, text};

/// What a bad file must be called by `check`: the id of a finding, or words on stderr where there is nothing to
/// find anything in.
#[derive(Debug, Clone, Copy)]
enum Called {
    Finding(&'static str),
    Error(&'static str),
}
use Called::{Error, Finding};

fn bad_files(dir: &Path) -> Vec<(&'static str, PathBuf, Called)> {
    let real = fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap();
    let sound = craft::db(&craft::contents(), 4096);
    let write = |name: &'static str, bytes: Vec<u8>, called| {
        let path = dir.join(format!("{}.db", name.replace(' ', "-")));
        fs_err::write(&path, bytes).unwrap();
        (name, path, called)
    };
    let changed = |mut bytes: Vec<u8>, at: usize, with: &[u8]| {
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let with_revision = |key: Vec<u8>, value: Vec<u8>| {
        let mut buckets = craft::contents();
        buckets.get_mut("key").unwrap().push((key, value));
        craft::snapshot(craft::db(&buckets, 4096))
    };
    let directory = dir.join("directory.db");
    fs_err::create_dir(&directory).unwrap();
    let jpeg = [b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01".to_vec(), vec![0xa5; 70_000]].concat();
    let flipped = real[400_000] ^ 4;
    let tail = real.len() - 1;
    let last = real[tail] ^ 1;
    vec![
        (
            "directory",
            directory,
            Error(
                "is a directory without member/; a snapshot file, an etcd db file or a member's data dir is needed",
            ),
        ),
        write("empty", vec![], Error("is an empty file")),
        write("cut", real[..real.len() / 2].to_vec(), Finding("bbolt.truncated")),
        write("cut in the tail", real[..real.len() - 7].to_vec(), Finding("snapshot.trailing-bytes")),
        write("flipped", changed(real.clone(), 400_000, &[flipped]), Finding("snapshot.digest-mismatch")),
        write("tail mismatch", changed(real.clone(), tail, &[last]), Finding("snapshot.digest-mismatch")),
        write("zeros", vec![0; 1 << 20], Finding("bbolt.meta.none-valid")),
        write("zero page", changed(sound.clone(), 3 * 4096, &[0; 4096]), Finding("bbolt.page")),
        write("jpeg", jpeg, Finding("bbolt.meta.none-valid")),
        write("text", b"apiVersion: v1\n".to_vec(), Finding("bbolt.meta.none-valid")),
        write("other program", crate::other_program(), Finding("etcd.not-etcd")),
        write(
            "broken value",
            with_revision(craft::revision(40, 0), b"\x0a\xff".to_vec()),
            Finding("etcd.key-value"),
        ),
        write("broken revision", with_revision(vec![0xff; 17], vec![]), Finding("etcd.revision-key")),
    ]
}

/// Runs a verb. It must not panic, and an error must be one line, with advice below it if there is any.
#[track_caller]
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = lifeboat(args);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    (output.status.code(), stdout, stderr)
}

#[track_caller]
fn is_one_clear_error(case: &str, stderr: &str) {
    let (error, remedy) = stderr.trim_end().split_once('\n').unwrap_or((stderr, ""));
    assert!(error.starts_with("error: "), "{case}: {stderr}");
    assert!(remedy.is_empty() || remedy.starts_with("    ") && !remedy.contains('\n'), "{case}: {stderr}");
    assert_eq!(error.contains("damaged: "), !remedy.is_empty(), "{case}: {stderr}");
    // Names and numbers of ours, not of our types.
    assert!(!stderr.contains("Damaged(") && !stderr.contains("Os {"), "{case}: {stderr}");
}

#[test]
fn check_names_the_defect_of_every_bad_file_and_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    for (case, path, called) in bad_files(dir.path()) {
        let path = path.to_str().unwrap();
        let (code, stdout, stderr) = run(&["check", path, "-o", "json"]);
        assert_eq!(code, Some(3), "{case}: {stderr}");
        match called {
            Finding(id) => {
                let body: Value =
                    serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{case}: {stdout}"));
                assert_eq!(body["ok"], false, "{case}");
                let findings = body["findings"].as_array().unwrap();
                let found = findings.iter().find(|finding| finding["id"] == id);
                let found = found.unwrap_or_else(|| panic!("{case}: {findings:?}"));
                assert_eq!(found["severity"], "error", "{case}");
                assert!(!found["remedy"].as_str().unwrap().is_empty(), "{case}");
                // The same for people: finding and verdict on stdout.
                let (_, stdout, _) = run(&["check", path]);
                assert!(stdout.contains(id) && stdout.contains("DAMAGED"), "{case}: {stdout}");
            }
            Error(words) => {
                is_one_clear_error(case, &stderr);
                assert!(stderr.contains(words), "{case}: {stderr}");
            }
        }
    }
}

#[test]
fn restore_refuses_every_bad_file_with_3_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (case, path, _) in bad_files(dir.path()) {
        let target = dir.path().join("restored").join("deep");
        let target = target.to_str().unwrap();
        // Nothing is warned of: no loopback address.
        let cluster = ["--initial-cluster", "m1=http://h:2380"];
        let args = ["restore", path.to_str().unwrap(), "--all-members", target];
        let (code, stdout, stderr) = run(&[&args[..], &cluster].concat());
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{case}: {stderr}");
        is_one_clear_error(case, &stderr);
        assert!(!dir.path().join("restored").exists(), "{case}");
    }
}

#[test]
fn reading_a_bad_file_gives_a_result_or_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    for (case, path, _) in bad_files(dir.path()) {
        let path = path.to_str().unwrap();
        for verb in [&["inspect", path][..], &["hash", path], &["get", path, "--prefix", "/"]] {
            let (code, stdout, stderr) = run(verb);
            match code {
                // Reads do not look at the digest, and a sound part of a db can be read.
                Some(0) => assert!(!stdout.is_empty() && verb[0] != "inspect", "{case}: {verb:?}"),
                Some(3) if stdout.is_empty() => is_one_clear_error(case, &stderr),
                Some(3) => assert_eq!(verb[0], "inspect", "{case}: {stdout}"),
                other => panic!("{case}: {verb:?}: {other:?} {stderr}"),
            }
        }
    }
}

#[test]
fn a_sound_file_exits_with_0_and_misuse_with_2() {
    let real = lab::fixture::kubernetes_snapshot();
    let real = real.to_str().unwrap();
    for args in [&["check", real][..], &["inspect", real], &["hash", real], &["get", real, "--prefix", "/"]] {
        assert_eq!(run(args).0, Some(0), "{args:?}");
    }
    let to_nowhere = ["restore", real, "--all-members", "/nowhere", "--initial-cluster", CLUSTER];
    for args in [
        &["check"][..],
        &["get", real],
        &["hash", real, "--rev", "0"],
        &["hash", real, "--rev", "497"],
        &["get", real, "--key", "/a", "--rev", "497"],
        &["restore", real, "--all-members", "/nowhere", "--initial-cluster", "m1"],
        &["restore", real, "--all-members", "/nowhere", "--initial-cluster", "../m1=http://h:1"],
        &["restore", real, "--all-members", "/nowhere"],
        &[&to_nowhere[..], &["--bump-revision", "18446744073709551615"]].concat(),
        &[&to_nowhere[..], &["--rev", "9999"]].concat(),
    ] {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(!Path::new("/nowhere").exists());
    }
}

/// The source is the only thing that is certain to be there: reading must not change or litter around it.
#[test]
fn reading_leaves_the_source_and_its_directory_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    fs_err::copy(lab::fixture::kubernetes_snapshot(), &path).unwrap();
    let before = crate::targets::tree(dir.path());
    let path = path.to_str().unwrap();
    for args in [&["check", path][..], &["inspect", path], &["hash", path], &["get", path, "--prefix", "/"]] {
        run(args);
    }
    assert_eq!(crate::targets::tree(dir.path()), before);
}

/// A reader that closes stdout early is not a failure; lost results are.
#[test]
fn a_closed_stdout_is_ignored_and_a_full_one_is_an_error() {
    let real = lab::fixture::kubernetes_snapshot();
    let run = |script: &str| {
        let script = format!("set -o pipefail; {script}");
        let command =
            Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_lifeboat")]).arg(&real).output();
        let output = command.unwrap();
        (output.status.code(), text(&output.stderr))
    };
    for verb in ["get \"$1\" --prefix ''", "get \"$1\" --prefix '' -o json", "get \"$1\" --prefix '' -o yaml"]
    {
        assert_eq!(run(&format!("\"$0\" {verb} | head -c 1 >/dev/null")), (Some(0), String::new()), "{verb}");
    }
    for verb in ["get \"$1\" --prefix ''", "check \"$1\" -o json", "man", "completions bash"] {
        let (code, stderr) = run(&format!("\"$0\" {verb} >/dev/full"));
        assert_eq!(code, Some(1), "{verb}: {stderr}");
        assert!(stderr.contains("error: write to stdout: No space left on device"), "{verb}: {stderr}");
    }
}
