//! The scripts for static pods, as a machine runs them; those for units run on the lab's machines.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};

use fs_err as fs;

use super::*;

/// A machine's manifests, with no process that could be theirs.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::write(machine.manifest(), "old").unwrap();
        machine
    }

    fn manifest(&self) -> PathBuf {
        self.0.path().join("etcd.yaml")
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join("fenced/etcd.yaml")
    }

    fn run(&self, script: &str) -> Output {
        let script = format!("{PODS}{KEPT}{script}");
        let mut process = Process::new("sh");
        process.args(["-c", &script, "sh"]).arg(self.manifest()).arg("lifeboat-no-such-process");
        process.arg(self.0.path().join("fenced")).args(["m2", "no-such-kubelet.service"]);
        process.stdin(Stdio::null()).output().unwrap()
    }

    fn state(&self) -> String {
        String::from_utf8(self.run(POD_STATE).stdout).unwrap()
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// A manifest that configuration management writes back is neither fenced nor overwritten, nor does it overwrite.
#[test]
fn a_manifest_that_is_written_back_is_no_fence_and_is_kept() {
    let machine = Machine::new();
    assert!(machine.state().starts_with("inactive"), "{}", machine.state());
    assert!(machine.run(FENCE_POD).status.success());
    assert!(machine.state().starts_with("fenced\ninactive"), "{}", machine.state());

    fs::write(machine.manifest(), "new").unwrap();
    let state = machine.state();
    let expected = format!("changed {}, written 2", machine.manifest().display());
    assert!(state.starts_with(&expected), "{state}");
    for script in [FENCE_POD, UNFENCE_POD] {
        let refused = machine.run(script);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("both are kept"), "{said}");
        assert_eq!((read(&machine.kept()), read(&machine.manifest())), ("old".into(), "new".into()));
    }

    fs::remove_file(machine.manifest()).unwrap();
    assert!(machine.run(UNFENCE_POD).status.success());
    assert_eq!(read(&machine.manifest()), "old");
    assert!(!machine.kept().exists());
}

/// Where no manifest is, no fence can hold what is put there later.
#[test]
fn a_pod_without_a_manifest_is_not_fenced() {
    let machine = Machine::new();
    fs::remove_file(machine.manifest()).unwrap();
    let refused = machine.run(FENCE_POD);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no manifest"));
}

#[test]
fn a_fence_that_was_undone_is_not_one() {
    let seen = |fence, active: &str| Seen { fence, active: active.into(), run: String::new() };
    assert_eq!(fenced("etcd", &seen(Fence::Closed, "inactive")), None);
    assert_eq!(fenced("etcd", &seen(Fence::Closed, "active")).as_deref(), Some("etcd is active"));
    assert_eq!(fenced("etcd", &seen(Fence::Open, "inactive")).as_deref(), Some("etcd is not fenced"));
    let undone = seen(Fence::Undone("/etc/x, written today".into()), "inactive");
    let why = fenced("etcd", &undone).unwrap();
    assert!(why.contains("changed while it was fenced: /etc/x, written today"), "{why}");
    assert!(running("etcd", &undone).is_some());
}
