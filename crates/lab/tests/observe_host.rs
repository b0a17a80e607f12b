//! Facts about machines over a real sshd: failed logins, running services, and data dirs that are not read.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use lab::sshd::Sshd;
use lifeboat_recovery::facts::{Facts, HostFacts, Login, own_platform};
use lifeboat_recovery::host;
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::probe::{self, Access, ProbeOptions};

/// The program of the member's static pod: a unique name, longer than the kernel keeps.
const PROGRAM: &str = "lifeboat-observed-etcd";

/// One machine with one etcd member that does not answer, its manifest and data dir in the sshd's directory.
fn inventory(sshd: &Sshd, destination: &str) -> Inventory {
    let dir = sshd.dir();
    let json = serde_json::json!({
        "version": 1,
        "cluster": "lab",
        "ssh": { "config": sshd.ssh_config().unwrap() },
        "hosts": { "m1": { "address": "127.0.0.1", "ssh": destination } },
        "etcd": { "members": { "e1": {
            "host": "m1", "clientUrl": "http://127.0.0.1:1", "peerUrl": "http://127.0.0.1:1",
            "dataDir": dir.join("data"),
            "service": { "staticPod": { "manifest": dir.join("etcd.yaml"), "process": PROGRAM } },
        } } },
        "kubernetes": { "kubeconfig": "/dev/null", "controlPlane": {} },
    });
    serde_json::from_value(json).unwrap()
}

async fn look(inventory: &Inventory) -> HostFacts {
    probe::host::collect(inventory, "m1", host::hosts(inventory)["m1"].as_ref()).await
}

async fn observe(inventory: &Inventory, options: &ProbeOptions<'_>) -> Facts {
    probe::observe(inventory, &Access::new(inventory, host::hosts(inventory)), options).await
}

/// A process with the name of the member's program, killed when dropped.
struct Process(Child);

impl Process {
    fn start(dir: &Path) -> Self {
        let program = dir.join(PROGRAM);
        symlink("/bin/sleep", &program).unwrap();
        Self(Command::new(program).arg("300").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_machine_reports_its_identity_and_services() {
    let sshd = lab::or_skip!(Sshd::start());
    let inventory = inventory(&sshd, "machine");
    fs::write(sshd.dir().join("etcd.yaml"), "").unwrap();
    let process = Process::start(sshd.dir());

    let facts = look(&inventory).await;
    assert_eq!(facts.login.get(), Some(&Login::Ok));
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(facts.boot_id.get().map(String::as_str), Some(boot_id.trim()));
    assert_eq!(facts.platform.unwrap().get(), Some(&own_platform()));
    // Far below an hour, which would be a finding, and far above the delays of a busy machine.
    assert!(facts.clock_offset.get().unwrap().abs() < 60.0, "{:?}", facts.clock_offset);
    assert!(facts.disks.get().unwrap().contains_key(Path::new("/")), "{:?}", facts.disks);
    let key = sshd.dir().join("etcd.yaml").display().to_string();
    let service = &facts.services.get().unwrap()[&key];
    assert!(service.is_running() && service.enabled && !service.fenced, "{service:?}");
    assert!(facts.kubelet.is_none());

    drop(process);
    let facts = look(&inventory).await;
    assert!(!facts.services.get().unwrap()[&key].is_running());
}

#[tokio::test]
async fn after_a_failed_login_all_other_facts_are_unknown() {
    let sshd = lab::or_skip!(Sshd::start());
    let closed = look(&inventory(&sshd, "closed")).await;
    let unauthorized = look(&inventory(&sshd, "unauthorized")).await;
    sshd.expect_another_key().unwrap();
    let changed = look(&inventory(&sshd, "machine")).await;
    assert!(
        matches!(closed.login.get(), Some(Login::Unreachable(why)) if why.contains("refused")),
        "{closed:?}"
    );
    assert!(matches!(unauthorized.login.get(), Some(Login::Denied(_))), "{unauthorized:?}");
    assert!(matches!(changed.login.get(), Some(Login::HostKeyChanged(_))), "{changed:?}");
    for facts in [closed, unauthorized, changed] {
        assert!(facts.machine_id.get().is_none() && facts.boot_id.get().is_none(), "{facts:?}");
        assert!(facts.services.get().is_none() && facts.disks.get().is_none(), "{facts:?}");
        assert!(!facts.clock_offset.why_unknown().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_data_dir_is_read_only_if_that_is_known_to_be_right() {
    let sshd = lab::or_skip!(Sshd::start());
    let mut inventory = inventory(&sshd, "machine");
    let why = |facts: Facts| facts.members["e1"].data_dir.why_unknown().unwrap().to_owned();

    let quick = why(observe(&inventory, &ProbeOptions::quick()).await);
    assert!(quick.contains("not requested"), "{quick}");

    inventory.hosts.get_mut("m1").unwrap().machine_id = Some("0".repeat(32));
    let another = why(observe(&inventory, &ProbeOptions::whole()).await);
    assert!(another.contains("machine id"), "{another}");

    inventory.hosts.get_mut("m1").unwrap().ssh = Some("closed".into());
    let closed = why(observe(&inventory, &ProbeOptions::whole()).await);
    assert!(closed.contains("log in"), "{closed}");
}
