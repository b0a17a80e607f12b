//! Fences: other etcds on a machine are left alone, and a fence that is undone stops a recovery.

use lab::machines::{Layout, Topology};
use lifeboat_recovery::journal::Event;

use crate::harness::{Harness, Run};
use crate::interrupted::journal;
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
fn other_etcds(harness: &Harness) {
    let kept = writer::acknowledged(harness, "beside other etcds", 20);
    harness.snapshot();
    let ip = harness.machine("m2").spec().ip.to_string();
    harness.machine("m2").exec(&["sh", "-c", OTHERS, "sh", &ip]).expect("start the others");
    harness.eventually("the other etcds run", || {
        let running = [EVENTS_PID, PATRONI_PID].map(|pid| harness.sh("m2", pid).trim().to_owned());
        if running.iter().all(|pid| !pid.is_empty() && pid != "0") {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    });
    let pids = || [EVENTS_PID, PATRONI_PID].map(|pid| harness.sh("m2", pid));
    let before = pids();
    for machine in harness.etcd_machines() {
        harness.sh(&machine, "find /var/lib/etcd -mindepth 1 -delete; pkill -9 -f -- '^/?etcd .*--data-dir=/var/lib/etcd( |$)' || :");
    }
    harness.wait_for_any_cause(&["etcd.quorum-lost", "etcd.state-lost"]);
    let source = harness.dir.join("snapshots/snapshot.db").display().to_string();
    harness.recover_with("all data lost beside other etcds", &["--source", &source]);
    assert_eq!(pids(), before, "another etcd was killed");
    assert_eq!(writer::lost(harness, &kept), Vec::<String>::new());
    harness.sh("m2", "rm /etc/kubernetes/manifests/etcd-events.yaml; systemctl stop patroni-etcd; rm -rf /etc/systemd/system/patroni-etcd.service /var/lib/etcd-patroni /opt/patroni; systemctl daemon-reload");
    harness.eventually("the other etcds are gone", || {
        let left = harness.sh("m2", EVENTS_PID);
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    });
    harness.sh("m2", "rm -rf /var/lib/etcd-events");
}

/// Damages every member, so that a snapshot has to be restored, and starts `undo` on m2.
fn lose_all_beside(harness: &Harness, undo: &str) {
    harness.snapshot();
    for machine in harness.etcd_machines() {
        harness.lab.damage_etcd(&machine).expect("damage its db");
    }
    harness.wait_for_any_cause(&["etcd.quorum-lost"]);
    harness.sh("m2", &format!("systemd-run --quiet --unit=manager sh -c '{undo}'"));
}

fn db_of(harness: &Harness, machine: &str) -> String {
    harness.sh(machine, "sha256sum < /var/lib/etcd/member/snap/db")
}

fn assert_stopped(harness: &Harness, run: Run, expected: &[&str]) {
    let run = run.expect(5);
    for text in expected {
        assert!(run.stderr.contains(text), "{text} is not printed: {}", run.output());
    }
    assert!(run.stderr.contains("lifeboat recover rollback"), "{}", run.output());
    harness.sh("m2", "systemctl stop manager 2>/dev/null || :");
}

fn written_back(harness: &Harness) {
    let manager = format!(
        "cp {MANIFEST} /root/managed.yaml; while sleep 0.3; do [ -e {MANIFEST} ] || cp /root/managed.yaml {MANIFEST}; done"
    );
    lose_all_beside(harness, &manager);
    let before = db_of(harness, "m3");
    let run = harness.lifeboat(&["recover", "--yes"]);
    assert_stopped(harness, run, &[MANIFEST, "written", "both are kept"]);
    assert_eq!(db_of(harness, "m3"), before, "data was changed though a fence did not hold");
    // While both exist, it neither continues nor overwrites one of them.
    let refused = harness.lifeboat(&["recover", "resume", "--yes"]).expect(5);
    assert!(refused.stderr.contains("both are kept"), "{}", refused.output());
    harness.sh("m2", &format!("rm {MANIFEST} /root/managed.yaml"));
    let run = harness.lifeboat(&["recover", "resume", "--yes"]).expect(0);
    assert!(run.stdout.contains("Restore"), "{}", run.output());
    harness.assert_healthy();
}

fn a_unit_is_let_go(harness: &Harness) {
    let fence = "/etc/systemd/system/etcd.service.d/00-lifeboat-fence.conf";
    let manager = format!(
        "while ! [ -e {fence} ]; do sleep 0.1; done; sleep 1; while sleep 0.3; do rm -f {fence}; systemctl daemon-reload; systemctl start --no-block etcd; done"
    );
    lose_all_beside(harness, &manager);
    let run = harness.lifeboat(&["recover", "--yes"]);
    assert_stopped(harness, run, &["m2", "etcd.service", "not fenced"]);
    let run = harness.lifeboat(&["recover", "resume", "--yes"]).expect(0);
    assert!(run.stdout.contains("Restore"), "{}", run.output());
    harness.assert_healthy();
}

/// Configuration management writes the unit of a member that is fenced. The restore is rolled back, and what it could
/// not remove from a machine is removed by the next one.
fn a_unit_is_rewritten(harness: &Harness) {
    let unit = "/etc/systemd/system/etcd.service";
    let fence = format!("{unit}.d/00-lifeboat-fence.conf");
    let manager = format!(
        "while ! [ -e {fence} ]; do sleep 0.1; done; echo \"# managed\" >> {unit}; systemctl daemon-reload"
    );
    lose_all_beside(harness, &manager);
    let before = db_of(harness, "m3");
    let run = harness.lifeboat(&["recover", "--yes"]);
    assert_stopped(harness, run, &["m2", "changed while it was fenced", unit]);
    assert_eq!(db_of(harness, "m3"), before, "data was changed though a fence did not hold");
    harness.lifeboat(&["recover", "rollback", "--yes"]).expect(0);
    assert!(
        harness.sh("m2", &format!("cat {unit}")).contains("# managed"),
        "the unit is not as it was written"
    );

    let mut plans = journal(harness).into_iter().filter_map(|entry| match entry.event {
        Event::Plan { plan } => Some(plan),
        _ => None,
    });
    let left = format!("/var/lib/lifeboat/{}", plans.next_back().expect("a plan"));
    harness.sh("m3", &format!("mkdir -p -m 0700 {left}; echo secret > {left}/state.db"));
    let run = harness.lifeboat(&["recover", "--yes"]).expect(0);
    assert!(run.stdout.contains(&format!("m3: {left}")), "what was removed is not printed: {}", run.output());
    assert_eq!(harness.sh("m3", "ls -A /var/lib/lifeboat"), "");
    harness.assert_healthy();
    harness.sh("m2", &format!("sed -i '/^# managed$/d' {unit}; systemctl daemon-reload"));
}
