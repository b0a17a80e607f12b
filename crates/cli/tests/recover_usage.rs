//! What `recover` refuses before it looks at anything.

mod support;

use std::path::Path;

use fs_err as fs;
use support::{fails, lifeboat};

const INVENTORY: &str = include_str!("../../../docs/lifeboat.example.yaml");

/// Machines of the example are never asked: 10.123.0.0/24 is nowhere, and a look would end in a finding (3).
fn recover(dir: &Path, args: &[&str]) -> std::process::Output {
    let inventory = dir.join("lifeboat.yaml");
    fs::write(&inventory, INVENTORY).unwrap();
    lifeboat(["recover", "--inventory", inventory.to_str().unwrap()].iter().chain(args))
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["plan", "--yes"][..],
        &["apply", "plan.json", "--source", "member:etcd-232"],
        &["abandon", "--yes"],
        &["abandon", "--source", "member:etcd-232"],
    ] {
        fails(&recover(dir.path(), args), 2, &["unexpected argument"]);
    }
    for (args, words) in [
        (&["--yes", "plan"][..], "--yes does nothing with `recover plan`"),
        (
            &["--source", "member:etcd-232", "apply", "plan.json"],
            "--source does nothing with `recover apply`",
        ),
        (&["--yes", "abandon"], "--yes does nothing with `recover abandon`"),
    ] {
        fails(&recover(dir.path(), args), 2, &[words]);
    }
}

#[test]
fn a_state_that_is_not_there_is_told_before_the_cluster_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(dir.path().join("etcd/member")).unwrap();
    fs::write(dir.path().join("text"), [b'x'; 4096]).unwrap();
    for verb in [&["plan"][..], &[], &["resume"]] {
        let with = |source: &str| recover(dir.path(), &[verb, &["--source", source]].concat());
        fails(&with(&path("nope.db")), 2, &["no such file or directory", "nope.db"]);
        fails(&with("member:m9"), 2, &["no etcd member m9; it has etcd-230, etcd-232"]);
        fails(&with(&path("etcd")), 2, &["is a data dir", "lifeboat save"]);
        fails(&with(&path("text")), 3, &["damaged"]);
    }
    fails(
        &recover(dir.path(), &["apply", &path("nope.json")]),
        2,
        &["no such file", "recover plan --out FILE"],
    );
}
