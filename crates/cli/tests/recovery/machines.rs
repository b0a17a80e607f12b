//! Whom Lifeboat believes, and who else may be at work.

use std::thread;
use std::time::Duration;

use fs_err as fs;
use lab::incident;
use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::scene::Scene;

pub const SCENARIOS: &[Scenario] = &[
    ("a_second_operator_is_refused", Topology::Full, Layout::Systemd, a_second_operator_is_refused),
    ("a_changed_host_key_is_refused", Topology::Full, Layout::Systemd, a_changed_host_key_is_refused),
    ("another_machine_behind_the_address_is_caught", Topology::Full, Layout::Systemd, another_machine),
];

/// At the same desk and at another one, with a plan that was fine when it was made.
fn a_second_operator_is_refused(scene: &Scene) {
    scene.machine("n2").freeze_unit("kubelet").expect("freeze it");
    scene.wait_for_a_cause_of(&["node.kubelet-hung"]);
    let desk = scene.dir.with_file_name("second-desk");
    incident::write_inventory(&desk).expect("write the inventory");
    let other = Scene { lab: scene.lab.clone(), dir: desk.clone() };
    other.lifeboat(&["recover", "plan", "--out", "plan.json"]).expect(3);

    let mut first = scene.start(&["recover", "--yes"]);
    scene.eventually("the first operator is at work", || {
        match scene.sh("m1", "cat /var/lib/lifeboat/operator.lock || :") {
            lock if lock.is_empty() => Err("no lock".into()),
            _ => Ok(()),
        }
    });
    let refused = other.lifeboat(&["recover", "apply", "plan.json", "--yes"]).expect(4);
    assert!(refused.stderr.contains("another operator is working"), "{}", refused.said());
    let refused = other.lifeboat(&["recover", "--yes"]).expect(4);
    assert!(refused.stderr.contains("another operator is working"), "{}", refused.said());
    scene.lifeboat(&["recover", "--yes"]).expect(4);
    assert!(first.try_wait().expect("wait").is_none(), "the first operator was done too early to tell");
    let code = first.wait().expect("wait").code();
    assert_eq!(code, Some(0), "{}", fs::read_to_string(scene.dir.join("said")).unwrap_or_default());
    scene.assert_well();
    assert_eq!(scene.sh("m1", "ls /var/lib/lifeboat"), "", "the lock is still there");
    fs::remove_dir_all(desk).expect("clear the second desk");
}

/// What would have been started there is not; what was found is shown instead.
fn is_left_alone(scene: &Scene, finding: &str) {
    scene.wait_for_a_cause_of(&[finding]);
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains(finding), "{}", run.said());
    let state = scene.sh("m1", "systemctl is-active kube-scheduler || :");
    assert_ne!(state.trim(), "active", "a machine that is not trusted was changed");
}

fn a_changed_host_key_is_refused(scene: &Scene) {
    scene.machine("m1").stop_unit("kube-scheduler").expect("stop it");
    let keys = "/etc/ssh/ssh_host_ed25519_key";
    scene.sh(
        "m1",
        &format!("mv {keys} /root/key && ssh-keygen -q -t ed25519 -N '' -f {keys} && systemctl restart ssh"),
    );
    is_left_alone(scene, "host.key-changed");
    scene.sh(
        "m1",
        &format!("mv /root/key {keys} && ssh-keygen -y -f {keys} > {keys}.pub && systemctl restart ssh"),
    );
    scene.recover("a stopped scheduler, once the host key was right again");
}

/// The right host key, as a clone of the machine has it, and another machine id.
fn another_machine(scene: &Scene) {
    let m1 = scene.machine("m1");
    m1.stop_unit("kube-scheduler").expect("stop it");
    m1.write_file("/etc/machine-id", format!("{:032x}\n", 42)).expect("change it");
    is_left_alone(scene, "host.wrong-machine");
    m1.write_file("/etc/machine-id", format!("{}\n", m1.spec().machine_id)).expect("put it back");
    // Connections that were made meanwhile end by themselves.
    thread::sleep(Duration::from_millis(200));
    scene.recover("a stopped scheduler, once the machine was the right one again");
}
