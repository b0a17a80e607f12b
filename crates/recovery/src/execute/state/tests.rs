//! The scripts, as a machine runs them.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command as Process, Output, Stdio};

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};

use super::*;

fn sh(script: &str, arguments: &[&Path]) -> Output {
    let command = Command::script(script, arguments.iter().map(|argument| argument.display().to_string()));
    let (program, rest) = command.argv.split_first().unwrap();
    let mut process = Process::new(program);
    process.args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&command.stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// The inventory's unit is stopped, and an etcd of another name runs on the data dir all the same.
#[test]
fn a_data_dir_that_an_etcd_has_open_is_not_moved() {
    let base = tempfile::tempdir().unwrap();
    let [dir, to, inside] = ["etcd", "aside", "etcd/inside"].map(|name| base.path().join(name));
    let db = dir.join("member/snap/db");
    fs::create_dir_all(db.parent().unwrap()).unwrap();
    fs::write(&db, "db").unwrap();
    let open = fs::File::open(&db).unwrap();
    flock(open.file(), FlockOperation::LockExclusive).unwrap();
    let refused = sh(MOVE_ASIDE, &[&dir, &to, &inside]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("still has"), "{said}");
    assert!(db.exists() && !to.exists());
    drop(open);
    assert!(sh(MOVE_ASIDE, &[&dir, &to, &inside]).status.success());
    assert!(!dir.exists() && to.join("member/snap/db").exists());
}

/// Both in one command: what is restored belongs to its owner.
#[test]
fn a_restored_data_dir_goes_to_its_owner_with_the_restore() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("etcd");
    let make = ["mkdir".as_ref(), dir.as_path()];
    assert!(sh(RESTORE, &[&["".as_ref(), dir.as_path()], &make[..]].concat()).status.success());
    fs::remove_dir(&dir).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can give a file away: not tried");
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    assert!(sh(RESTORE, &[&["12345:12345".as_ref(), dir.as_path()], &make[..]].concat()).status.success());
    assert_eq!(fs::metadata(&dir).unwrap().uid(), 12345);
    let failing = sh(RESTORE, &["12345".as_ref(), base.path(), "false".as_ref()]);
    assert!(!failing.status.success() && fs::metadata(base.path()).unwrap().uid() == 0);
}
