//! Machines that are not trusted, and a second operator.

use std::thread;
use std::time::Duration;

use fs_err as fs;
use lab::incident;
use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::harness::Harness;

pub const SCENARIOS: &[Scenario] = &[
    ("a_second_operator_is_refused", Topology::Full, Layout::Systemd, a_second_operator_is_refused),
    ("a_changed_host_key_is_refused", Topology::Full, Layout::Systemd, a_changed_host_key_is_refused),
    ("another_machine_behind_the_address_is_caught", Topology::Full, Layout::Systemd, another_machine),
];

/// On the same workstation and on another one, with a plan that was valid when it was made.
fn a_second_operator_is_refused(harness: &Harness) {
    harness.machine("n2").freeze_unit("kubelet").expect("freeze it");
    harness.wait_for_any_cause(&["node.kubelet-hung"]);
    let workstation = harness.dir.with_file_name("second-workstation");
    incident::write_inventory(&workstation).expect("write the inventory");
    let other = Harness::at(harness.lab.clone(), workstation.clone());
    other.lifeboat(&["recover", "plan", "--out", "plan.json"]).expect(3);

    let mut first = harness.start(&["recover", "--yes"]);
    harness.eventually("the first operator is at work", || {
        match harness.sh("m1", "cat /var/lib/lifeboat/operator.lock || :") {
            lock if lock.is_empty() => Err("no lock".into()),
            _ => Ok(()),
        }
    });
    let refused = other.lifeboat(&["recover", "apply", "plan.json", "--yes"]).expect(4);
    assert!(refused.stderr.contains("another operator is working"), "{}", refused.output());
    let refused = other.lifeboat(&["recover", "--yes"]).expect(4);
    assert!(refused.stderr.contains("another operator is working"), "{}", refused.output());
    harness.lifeboat(&["recover", "--yes"]).expect(4);
    assert!(first.try_wait().expect("wait").is_none(), "the first operator was done too early to tell");
    let code = first.wait().expect("wait").code();
    assert_eq!(code, Some(0), "{}", fs::read_to_string(harness.dir.join("output.log")).unwrap_or_default());
    harness.assert_healthy();
    assert_eq!(harness.sh("m1", "ls /var/lib/lifeboat"), "", "the lock is still there");
    fs::remove_dir_all(workstation).expect("clear the second workstation");
}

/// What would have been started there is not; what was found is shown instead.
fn assert_left_alone(harness: &Harness, finding: &str) {
    harness.wait_for_any_cause(&[finding]);
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains(finding), "{}", run.output());
    let state = harness.sh("m1", "systemctl is-active kube-scheduler || :");
    assert_ne!(state.trim(), "active", "a machine that is not trusted was changed");
}

fn a_changed_host_key_is_refused(harness: &Harness) {
    harness.machine("m1").stop_unit("kube-scheduler").expect("stop it");
    let keys = "/etc/ssh/ssh_host_ed25519_key";
    harness.sh(
        "m1",
        &format!("mv {keys} /root/key && ssh-keygen -q -t ed25519 -N '' -f {keys} && systemctl restart ssh"),
    );
    assert_left_alone(harness, "host.key-changed");
    harness.sh(
        "m1",
        &format!("mv /root/key {keys} && ssh-keygen -y -f {keys} > {keys}.pub && systemctl restart ssh"),
    );
    harness.recover("a stopped scheduler, once the host key was right again");
}

/// The right host key, as a clone of the machine has it, and another machine id.
fn another_machine(harness: &Harness) {
    let m1 = harness.machine("m1");
    m1.stop_unit("kube-scheduler").expect("stop it");
    m1.write_file("/etc/machine-id", format!("{:032x}\n", 42)).expect("change it");
    assert_left_alone(harness, "host.wrong-machine");
    m1.write_file("/etc/machine-id", format!("{}\n", m1.spec().machine_id)).expect("put it back");
    // Connections that were made meanwhile end by themselves.
    thread::sleep(Duration::from_millis(200));
    harness.recover("a stopped scheduler, once the machine was the right one again");
}
