//! A disk that fills up while a data dir or a snapshot is written: the likeliest failure on the day of an outage,
//! and half a data dir that looks whole would be started.

#[expect(dead_code, reason = "a part of it is used here")]
#[path = "bad_input/craft.rs"]
mod craft;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use lab::cluster::ClusterBuilder;
use lab::peers::{self, EtcdVersion, Unavailable};
use support::{lifeboat, lifeboat_ok, text};

const BINARY: &str = env!("CARGO_BIN_EXE_lifeboat");
/// A WAL segment, the largest file of a restore, in KiB: the limit from which on the fixture can be restored.
const ENOUGH: u64 = 62_500;

/// Runs `lifeboat` with no file allowed above so many KiB. The signal that comes with it is ignored, so that
/// writes fail as they do on a full disk.
fn limited(kib: u64, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
    Command::new("bash").args(["-c", &script, BINARY]).args(args).output().unwrap()
}

/// Everything below a directory.
fn entries(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in dir.read_dir().unwrap().map(Result::unwrap) {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(entries(&entry.path()));
        }
    }
    found
}

/// Expects one line with what could not be written, where, and why; neither a panic nor a signal.
#[track_caller]
fn fails_clearly(output: &Output, dir: &Path, why: &str, case: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{case}: signal {:?} {stderr}", output.status.signal());
    assert!(stderr.starts_with("error: ") && stderr.trim_end().lines().count() == 1, "{case}: {stderr}");
    assert!(stderr.contains(why) && stderr.contains(dir.to_str().unwrap()), "{case}: {stderr}");
    assert!(output.stdout.is_empty(), "{case}");
}

#[test]
fn a_restore_that_cannot_write_leaves_nothing_at_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let source = lab::fixture::kubernetes_snapshot();
    let source = source.to_str().unwrap();
    let (restored, wal) = (dir.path().join("new/restored"), dir.path().join("logs/wal"));
    let (to, wal_dir) = (restored.to_str().unwrap(), wal.to_str().unwrap());
    let two = "m1=http://h1:2380,m2=http://h2:2380";
    let one = [
        "restore",
        source,
        "--initial-cluster",
        "default=http://h1:2380",
        "--initial-cluster-token",
        "t",
        "--data-dir",
        to,
    ];
    let all = ["restore", source, "--all-members", to, "--initial-cluster", two];
    let split = [&one[..], &["--wal-dir", wal_dir]].concat();

    for args in [&one[..], &all, &split] {
        for kib in [0, 1, 4, 11, 12, 13, 100, 400, 500, 700, 1000, 10_000, ENOUGH - 1] {
            let output = limited(kib, args);
            fails_clearly(&output, dir.path(), "File too large", &format!("{kib} KiB: {args:?}"));
            assert_eq!(entries(dir.path()), [""; 0], "{kib} KiB: {args:?}");
        }
        assert!(limited(ENOUGH, args).status.success());
        fs_err::remove_dir_all(dir.path().join("new")).unwrap();
        let _ = fs_err::remove_dir_all(dir.path().join("logs"));
    }
}

/// More than a restore holds in memory between its threads: the one that writes is gone while the one that makes
/// the bytes is at work. The error of the first must be the one that is told.
#[test]
fn a_large_restore_that_cannot_write_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("large.db");
    let mut buckets = craft::contents();
    let large = (100..2100).map(|main| {
        let key = format!("/registry/{main}/{}", "k".repeat(8000));
        (craft::revision(main, 0), craft::key_value(&key, main, 0))
    });
    buckets.get_mut("key").unwrap().extend(large);
    fs_err::write(&source, craft::snapshot(craft::db(&buckets, 4096))).unwrap();

    let target = dir.path().join("target");
    fs_err::create_dir(&target).unwrap();
    let to = target.join("restored");
    let (source, to) = (source.to_str().unwrap(), to.to_str().unwrap());
    let args = ["restore", source, "--all-members", to, "--initial-cluster", "m1=http://h:2380"];
    for kib in [0, 500, 5000, 20_000] {
        fails_clearly(&limited(kib, &args), &target, "File too large", &format!("{kib} KiB"));
        assert_eq!(entries(&target), [""; 0], "{kib} KiB");
    }
    lifeboat_ok(args);
}

#[test]
fn an_existing_data_dir_stays_and_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let source = lab::fixture::kubernetes_snapshot();
    let data_dir = dir.path().to_str().unwrap();
    let args = [
        "restore",
        source.to_str().unwrap(),
        "--initial-cluster",
        "default=http://h1:2380",
        "--initial-cluster-token",
        "t",
        "--data-dir",
        data_dir,
    ];
    fails_clearly(&limited(100, &args), dir.path(), "File too large", "existing");
    assert_eq!(entries(dir.path()), [""; 0]);
    lifeboat_ok(args);
    assert!(dir.path().join("member/snap/db").exists());
}

/// Mounts that only this test sees, which asks for root.
fn private_mounts() -> Result<(), Unavailable> {
    let missing = |why: String| Unavailable { what: "a private mount namespace".into(), why };
    let script = "mount -t tmpfs -o size=64k lifeboat-test /mnt";
    let output = Command::new("unshare").args(["-m", "bash", "-c", script]).output();
    match output.map_err(|error| missing(format!("run unshare: {error}")))? {
        output if output.status.success() => Ok(()),
        output => Err(missing(text(&output.stderr).trim().to_owned())),
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_the_restore_succeeds_with_room() {
    lab::or_skip!(private_mounts());
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("mount");
    fs_err::create_dir(&mount).unwrap();
    let source = lab::fixture::kubernetes_snapshot();
    // What the mount holds after the failure goes to stderr, behind the failure itself.
    let script = r#"
        mount -t tmpfs -o size="$3k" lifeboat-test "$2" || exit 90
        "$0" restore "$1" --initial-cluster default=http://h1:2380 --initial-cluster-token t --data-dir "$2/etcd"
        code=$?
        [ -z "$(ls -A "$2")" ] || { find "$2" >&2; exit 91; }
        mount -o remount,size=100m "$2" || exit 92
        "$0" restore "$1" --initial-cluster default=http://h1:2380 --initial-cluster-token t --data-dir "$2/etcd" >/dev/null || exit 93
        [ -e "$2/etcd/member/snap/db" ] || exit 94
        exit $code
    "#;
    for kib in [4, 8, 16, 32, 64, 128, 256] {
        let output = Command::new("unshare")
            .args(["-m", "bash", "-c", script, BINARY])
            .args([source.as_path(), &mount])
            .arg(kib.to_string())
            .output()
            .unwrap();
        fails_clearly(&output, &mount, "No space left on device", &format!("{kib} KiB"));
    }
}

#[test]
fn a_save_that_cannot_write_leaves_nothing() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup.db");
    let args = ["save", cluster.client_endpoint(0), file.to_str().unwrap()];
    for kib in [0, 1, 4, 16] {
        let case = format!("{kib} KiB");
        fails_clearly(&limited(kib, &args), dir.path(), "File too large", &case);
        assert_eq!(entries(dir.path()), [""; 0], "{case}");
    }
    lifeboat_ok(args);
    assert_eq!(lifeboat(["check", file.to_str().unwrap()]).status.code(), Some(0));
}
