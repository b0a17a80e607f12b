//! Targets of a restore that hold something: a data dir that looks old may be the last copy of the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::support::{lifeboat, text};

/// All files below a directory, itself included: their times of change and contents.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        let contents = if metadata.is_file() { fs_err::read(&path).unwrap() } else { vec![] };
        if metadata.is_dir() {
            open.extend(fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (metadata.modified().unwrap(), contents));
    }
    found
}

/// Restores the fixture; returns the exit code and stderr.
fn restore(args: &[&str]) -> (Option<i32>, String) {
    restore_from(&lab::fixture::kubernetes_snapshot(), args)
}

pub fn restore_from(source: &Path, args: &[&str]) -> (Option<i32>, String) {
    let one = ["--initial-cluster-token", "token", "--name", "default"];
    let cluster = ["--initial-cluster", "default=http://h1:2380"];
    let kind = match (args.contains(&"--all-members"), args.contains(&"--initial-cluster")) {
        (true, _) => Vec::new(),
        (false, true) => one.to_vec(),
        (false, false) => [&one[..], &cluster].concat(),
    };
    let output = lifeboat([&["restore", source.to_str().unwrap()][..], &kind, args].concat());
    let stderr = text(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

/// Expects a refusal that names `occupied` and touches nothing in `dir`.
#[track_caller]
fn is_refused(dir: &Path, args: &[&str], occupied: &Path) {
    let before = tree(dir);
    let (code, stderr) = restore(args);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.starts_with("error: refused: "), "{stderr}");
    assert!(stderr.contains(occupied.to_str().unwrap()), "{stderr}");
    assert_eq!(tree(dir), before);
}

#[test]
fn a_data_dir_that_holds_anything_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("etcd");
    let args = ["--data-dir", data_dir.to_str().unwrap()];
    for (name, contents) in [("member/snap/db", &b"the last copy"[..]), (".hidden", b""), ("lost", b"")] {
        let file = data_dir.join(name);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(&file, contents).unwrap();
        is_refused(dir.path(), &args, &data_dir);
        fs_err::remove_dir_all(&data_dir).unwrap();
    }
    fs_err::write(&data_dir, b"a file").unwrap();
    is_refused(dir.path(), &args, &data_dir);
    fs_err::remove_file(&data_dir).unwrap();

    fs_err::os::unix::fs::symlink("nowhere", &data_dir).unwrap();
    is_refused(dir.path(), &args, &data_dir);
}

/// A data dir of its own is a mount point as often as not, and has what a file system has at its top.
#[test]
fn an_empty_file_system_is_taken_with_its_lost_and_found() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("lost+found")).unwrap();
    fs_err::create_dir(dir.path().join("lifeboat-aside-20261124")).unwrap();
    let (code, stderr) = restore(&["--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(dir.path().join("member/snap/db").is_file());
}

/// A db without its log boots as another cluster: where the log goes must be settled before anything is there.
#[test]
fn a_wal_dir_around_the_data_dir_or_in_its_member_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for wal in ["etcd", "etcd/", ".", "etcd/member/wal", "etcd/member"] {
        let (code, stderr) = restore(&["--data-dir", &path("etcd"), "--wal-dir", &path(wal)]);
        assert_eq!(code, Some(2), "{wal}: {stderr}");
        assert_eq!(tree(dir.path()).len(), 1, "{wal}");
    }
    let (code, stderr) = restore(&["--data-dir", &path("etcd"), "--wal-dir", &path("wal/")]);
    assert_eq!(code, Some(0), "{stderr}");
    let names = |dir: &str| -> Vec<_> {
        let entries = fs_err::read_dir(path(dir)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("wal"), ["0000000000000000-0000000000000000.wal"]);
    assert_eq!(names("etcd"), ["member"]);
}

/// One occupied member stops all: a cluster with only some new members would not work.
#[test]
fn one_occupied_member_of_many_refuses_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let occupied = dir.path().join("m2");
    fs_err::create_dir(&occupied).unwrap();
    fs_err::write(occupied.join("kept"), b"kept").unwrap();
    let cluster = "m1=http://h1:2380,m2=http://h2:2380,m3=http://h3:2380";
    let args = ["--all-members", dir.path().to_str().unwrap(), "--initial-cluster", cluster];
    is_refused(dir.path(), &args, &occupied);
}

#[test]
fn a_wal_dir_that_exists_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, wal_dir) = (dir.path().join("etcd"), dir.path().join("wal"));
    let args = ["--data-dir", data_dir.to_str().unwrap(), "--wal-dir", wal_dir.to_str().unwrap()];
    fs_err::create_dir(&wal_dir).unwrap();
    is_refused(dir.path(), &args, &wal_dir);
    fs_err::write(wal_dir.join("0000000000000000-0000000000000000.wal"), b"log").unwrap();
    is_refused(dir.path(), &args, &wal_dir);
    fs_err::remove_dir_all(&wal_dir).unwrap();
    assert_eq!(restore(&args).0, Some(0));
    assert!(data_dir.join("member/snap/db").exists() && wal_dir.read_dir().unwrap().next().is_some());
}

/// An empty directory is what a fresh mount point is.
#[test]
fn an_empty_data_dir_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--data-dir", dir.path().to_str().unwrap()];
    assert_eq!(restore(&args), (Some(0), String::new()));
    let entries: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries, ["member"]);
    // And now it is not empty any more.
    is_refused(dir.path(), &args, dir.path());
}

/// The default cluster has one member, but a token is asked for: without, members of two clusters may meet.
#[test]
fn one_member_without_a_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = lab::fixture::kubernetes_snapshot();
    let data_dir = dir.path().join("etcd");
    let output = lifeboat(["restore", source.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("--initial-cluster-token"));
    assert!(!data_dir.exists());
}
