//! Fences: what else is called etcd is left alone, and what is undone meanwhile stops a recovery.

use lab::machines::{Layout, Topology};
use lifeboat_recovery::journal::Event;

use crate::interrupted::journal;
use crate::scene::{Run, Scene};
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("a_fence_that_is_undone_stops_a_restore", Topology::Full, Layout::Systemd, a_unit_is_let_go),
    ("a_unit_that_is_rewritten_stops_a_restore", Topology::Full, Layout::Systemd, a_unit_is_rewritten),
];

pub const STATIC_PODS: &[Scenario] = &[
    ("other_etcds_on_the_machine_are_left_alone", Topology::Full, Layout::StaticPods, other_etcds),
    ("a_manifest_that_is_written_back_stops_a_restore", Topology::Full, Layout::StaticPods, written_back),
];

const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// A second static pod, and a unit, as Patroni has one: both run etcd on the machine's own network.
const OTHERS: &str = r#"
set -eu
sed -e 's/2379/12379/g; s/2380/12380/g; s/2381/12381/g; s#/var/lib/etcd#/var/lib/etcd-events#g' \
    -e 's/^  name: etcd$/  name: etcd-events/; s/--name=.*/--name=events/' \
    -e "s#--initial-cluster=.*#--initial-cluster=events=https://$1:12380#" \
    /etc/kubernetes/manifests/etcd.yaml > /root/etcd-events.yaml
mv /root/etcd-events.yaml /etc/kubernetes/manifests/etcd-events.yaml
program=$(ls -l /proc/[0-9]*/exe 2>/dev/null | grep '/etcd$' | head -n 1 | sed 's#.*\(/proc/[0-9]*\)/exe.*#\1#')
mkdir -p /opt/patroni
cp "$program/root/etcd" /opt/patroni/etcd
printf '[Service]\nExecStart=/opt/patroni/etcd --name=patroni --data-dir=/var/lib/etcd-patroni --listen-client-urls=http://127.0.0.1:22379 --advertise-client-urls=http://127.0.0.1:22379 --listen-peer-urls=http://127.0.0.1:22380\nRestart=always\n' \
    > /etc/systemd/system/patroni-etcd.service
systemctl daemon-reload
systemctl start patroni-etcd
"#;

const EVENTS_PID: &str = "pgrep -f -- '^/?etcd .*--name=events' || :";
const PATRONI_PID: &str = "systemctl show -p MainPID --value patroni-etcd";

/// All state is lost and restored beside two etcds that are not the cluster's.
fn other_etcds(scene: &Scene) {
    let kept = writer::acknowledged(scene, "beside other etcds", 20);
    scene.snapshot();
    let ip = scene.machine("m2").spec().ip.to_string();
    scene.machine("m2").exec(&["sh", "-c", OTHERS, "sh", &ip]).expect("start the others");
    scene.eventually("the other etcds run", || {
        let said = [EVENTS_PID, PATRONI_PID].map(|pid| scene.sh("m2", pid).trim().to_owned());
        if said.iter().all(|pid| !pid.is_empty() && pid != "0") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let pids = || [EVENTS_PID, PATRONI_PID].map(|pid| scene.sh("m2", pid));
    let before = pids();
    for machine in scene.etcd_machines() {
        scene.sh(&machine, "find /var/lib/etcd -mindepth 1 -delete; pkill -9 -f -- '^/?etcd .*--data-dir=/var/lib/etcd( |$)' || :");
    }
    scene.wait_for_a_cause_of(&["etcd.quorum-lost", "etcd.state-lost"]);
    let source = scene.dir.join("snapshots/snapshot.db").display().to_string();
    scene.recover_with("all data lost beside other etcds", &["--source", &source]);
    assert_eq!(pids(), before, "another etcd was killed");
    assert_eq!(writer::lost(scene, &kept), Vec::<String>::new());
    scene.sh("m2", "rm /etc/kubernetes/manifests/etcd-events.yaml; systemctl stop patroni-etcd; rm -rf /etc/systemd/system/patroni-etcd.service /var/lib/etcd-patroni /opt/patroni; systemctl daemon-reload");
    scene.eventually("the other etcds are gone", || {
        let left = scene.sh("m2", EVENTS_PID);
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
    scene.sh("m2", "rm -rf /var/lib/etcd-events");
}

/// Damages every member, so that a snapshot has to be restored, and starts `undo` on m2.
fn lose_all_beside(scene: &Scene, undo: &str) {
    scene.snapshot();
    for machine in scene.etcd_machines() {
        scene.lab.damage_etcd(&machine).expect("damage its db");
    }
    scene.wait_for_a_cause_of(&["etcd.quorum-lost"]);
    scene.sh("m2", &format!("systemd-run --quiet --unit=manager sh -c '{undo}'"));
}

fn db_of(scene: &Scene, machine: &str) -> String {
    scene.sh(machine, "sha256sum < /var/lib/etcd/member/snap/db")
}

fn is_stopped(scene: &Scene, run: Run, expected: &[&str]) {
    let run = run.expect(5);
    for text in expected {
        assert!(run.stderr.contains(text), "{text} is not said: {}", run.said());
    }
    assert!(run.stderr.contains("lifeboat recover rollback"), "{}", run.said());
    scene.sh("m2", "systemctl stop manager 2>/dev/null || :");
}

fn written_back(scene: &Scene) {
    let manager = format!(
        "cp {MANIFEST} /root/managed.yaml; while sleep 0.3; do [ -e {MANIFEST} ] || cp /root/managed.yaml {MANIFEST}; done"
    );
    lose_all_beside(scene, &manager);
    let before = db_of(scene, "m3");
    let run = scene.lifeboat(&["recover", "--yes"]);
    is_stopped(scene, run, &[MANIFEST, "written", "both are kept"]);
    assert_eq!(db_of(scene, "m3"), before, "data was changed though a fence did not hold");
    // While both are there, it neither goes on nor back over one of them.
    let refused = scene.lifeboat(&["recover", "resume", "--yes"]).expect(5);
    assert!(refused.stderr.contains("both are kept"), "{}", refused.said());
    scene.sh("m2", &format!("rm {MANIFEST} /root/managed.yaml"));
    let run = scene.lifeboat(&["recover", "resume", "--yes"]).expect(0);
    assert!(run.stdout.contains("Restore"), "{}", run.said());
    scene.assert_well();
}

fn a_unit_is_let_go(scene: &Scene) {
    let fence = "/etc/systemd/system/etcd.service.d/00-lifeboat-fence.conf";
    let manager = format!(
        "while ! [ -e {fence} ]; do sleep 0.1; done; sleep 1; while sleep 0.3; do rm -f {fence}; systemctl daemon-reload; systemctl start --no-block etcd; done"
    );
    lose_all_beside(scene, &manager);
    let run = scene.lifeboat(&["recover", "--yes"]);
    is_stopped(scene, run, &["m2", "etcd.service", "not fenced"]);
    let run = scene.lifeboat(&["recover", "resume", "--yes"]).expect(0);
    assert!(run.stdout.contains("Restore"), "{}", run.said());
    scene.assert_well();
}

/// Configuration management writes the unit of a member that is fenced. The restore is rolled back, and what it could not
/// remove from a machine is removed by the next one.
fn a_unit_is_rewritten(scene: &Scene) {
    let unit = "/etc/systemd/system/etcd.service";
    let fence = format!("{unit}.d/00-lifeboat-fence.conf");
    let manager = format!(
        "while ! [ -e {fence} ]; do sleep 0.1; done; echo \"# managed\" >> {unit}; systemctl daemon-reload"
    );
    lose_all_beside(scene, &manager);
    let before = db_of(scene, "m3");
    let run = scene.lifeboat(&["recover", "--yes"]);
    is_stopped(scene, run, &["m2", "changed while it was fenced", unit]);
    assert_eq!(db_of(scene, "m3"), before, "data was changed though a fence did not hold");
    scene.lifeboat(&["recover", "rollback", "--yes"]).expect(0);
    assert!(
        scene.sh("m2", &format!("cat {unit}")).contains("# managed"),
        "the unit is not as it was written"
    );

    let mut plans = journal(scene).into_iter().filter_map(|entry| match entry.event {
        Event::Plan { plan } => Some(plan),
        _ => None,
    });
    let left = format!("/var/lib/lifeboat/{}", plans.next_back().expect("a plan"));
    scene.sh("m3", &format!("mkdir -p -m 0700 {left}; echo secret > {left}/state.db"));
    let run = scene.lifeboat(&["recover", "--yes"]).expect(0);
    assert!(run.stdout.contains(&format!("m3: {left}")), "what was removed is not said: {}", run.said());
    assert_eq!(scene.sh("m3", "ls -A /var/lib/lifeboat"), "");
    scene.assert_well();
    scene.sh("m2", &format!("sed -i '/^# managed$/d' {unit}; systemctl daemon-reload"));
}
