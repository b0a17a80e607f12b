//! A machine that has only BusyBox: `sh` and its applets, without flock(1), bash, curl or Python.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Set in the run without other programs.
const ALONE: &str = "LIFEBOAT_TEST_BUSYBOX";

/// Runs the other tests again, and with them every script that machines run, where BusyBox's applets are all there is.
#[test]
fn every_script_runs_with_busybox_alone() {
    if std::env::var_os(ALONE).is_some() {
        return;
    }
    let applets = tempfile::tempdir().unwrap();
    let installed = Command::new("busybox").args(["--install", "-s"]).arg(applets.path()).status();
    if !installed.is_ok_and(|status| status.success()) {
        eprintln!("no busybox here, install busybox-static: not tried");
        assert!(std::env::var_os("CI").is_none(), "CI has BusyBox");
        return;
    }
    // One with BusyBox's options, whether this BusyBox has it or not.
    let flock = applets.path().join("flock");
    let _ = fs_err::remove_file(&flock);
    fs_err::write(&flock, "#!/bin/sh\necho 'flock: invalid option' >&2\nexit 1\n").unwrap();
    fs_err::set_permissions(&flock, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _ = fs_err::remove_file(applets.path().join("mountpoint"));
    let mut tests = Command::new(std::env::current_exe().unwrap());
    // ssh runs on the operator's machine.
    tests.args(["--skip", "where_nothing_answers_everything_is_unknown_with_its_reason"]);
    let run = tests.env(ALONE, "1").env("PATH", applets.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
