//! The reference incident: an IP range is deleted in the cloud, and the NICs of masters, etcd, NFS and a node with it.

use lab::incident::delete_reserved_range;
use lab::machines::{Layout, Topology};

use crate::harness::{Harness, Run};
use crate::{Scenario, transcript, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("a_healthy_cluster_is_left_alone", Topology::Full, Layout::Systemd, a_healthy_cluster_is_left_alone),
    ("nics_come_back", Topology::Full, Layout::Systemd, nics_come_back),
    ("nics_come_back_and_no_data_is_left", Topology::Full, Layout::Systemd, no_data_is_left),
    ("nics_come_back_and_one_member_survives", Topology::Full, Layout::Systemd, one_member_survives),
];

pub const STATIC_PODS: &[Scenario] = &[
    ("a_healthy_cluster_is_left_alone", Topology::Full, Layout::StaticPods, a_healthy_cluster_is_left_alone),
    ("nics_come_back", Topology::Full, Layout::StaticPods, nics_come_back),
    ("nics_come_back_and_no_data_is_left", Topology::Full, Layout::StaticPods, no_data_is_left),
];

/// Every file and unit of a machine that Lifeboat could leave something in.
const TRACES: &str = "find /var/lib/lifeboat /tmp /var/tmp /run/systemd/system /etc/systemd/system /var/lib/etcd \
                      -not -path '*/member/*' -not -path '*/systemd-private*' 2>/dev/null | sort; ls /root";

fn a_healthy_cluster_is_left_alone(harness: &Harness) {
    let traces = |harness: &Harness| -> Vec<String> {
        harness.lab.machines().iter().map(|machine| harness.sh(machine.name(), TRACES)).collect()
    };
    let before = traces(harness);
    let run = harness.lifeboat(&["diagnose"]).expect(0);
    assert!(run.stdout.contains("no problems found"), "{}", run.output());
    eprintln!("--- a healthy cluster is looked at in {:.1} s", run.took.as_secs_f64());
    assert_eq!(traces(harness), before, "looking left something behind");
    let run = harness.lifeboat(&["recover", "--yes"]).expect(0);
    assert!(run.stdout.contains("nothing to do"), "{}", run.output());
    let ours = harness.sh("m2", "ls -l /proc/[0-9]*/exe 2>/dev/null | grep '[l]ifeboat' || true");
    assert_eq!(ours.trim(), "", "left running");
    harness.lifeboat(&["status"]).expect(0);
}

/// One cause explains everything, and names the six machines.
fn diagnose_the_range(harness: &Harness) -> Run {
    delete_reserved_range(&harness.lab).expect("delete the range");
    let run = harness.lifeboat(&["diagnose"]).expect(3);
    assert_eq!(harness.causes(), ["nic.missing"], "{}", run.output());
    for name in ["e1", "m1", "m2", "m3", "n1", "nfs"] {
        assert!(run.stdout.contains(name), "{name} is not named: {}", run.output());
    }
    run
}

/// The cloud has every NIC again with the address and MAC in the inventory.
fn assert_nics_are_as_before(harness: &Harness) {
    for machine in harness.lab.machines() {
        let nic = machine.nic().expect("look for its NIC");
        assert_eq!(nic.as_deref(), Some(machine.spec().mac.as_str()), "{}", machine.name());
    }
}

fn nics_come_back(harness: &Harness) {
    let keys = writer::acknowledged(harness, "nics", 50);
    let seen = diagnose_the_range(harness);
    let plan = harness.lifeboat(&["recover", "plan"]).expect(3);
    let run = harness.recover("the incident, NICs only");
    if harness.lab.blueprint().layout == Layout::Systemd {
        transcript::compare(harness, "seen", &seen);
        transcript::compare(harness, "plan", &plan);
        transcript::compare(harness, "nics", &run);
    }
    assert_nics_are_as_before(harness);
    assert!(
        !run.steps().iter().any(|step| step.contains("Restore ")),
        "data was touched that was sound: {}",
        run.output()
    );
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new());
}

fn no_data_is_left(harness: &Harness) {
    let kept = writer::acknowledged(harness, "in the snapshot", 50);
    harness.snapshot();
    let newer = writer::acknowledged(harness, "after the snapshot", 20);
    diagnose_the_range(harness);
    for machine in harness.etcd_machines() {
        harness.lab.stop_etcd(&machine).expect("stop etcd");
        let disk = harness.machine(&machine);
        if harness.lab.blueprint().layout == Layout::Systemd {
            disk.destroy_etcd_data().expect("destroy its data");
            continue;
        }
        // A kubelet would start etcd on an empty data dir, and the three would be a new cluster.
        disk.corrupt_etcd_db().and_then(|()| disk.destroy_etcd_log()).expect("damage its data");
        harness.lab.start_etcd(&machine).expect("put its manifest back");
    }
    let run = harness.recover("the incident, with a restore from a snapshot");
    if harness.lab.blueprint().layout == Layout::Systemd {
        transcript::compare(harness, "restore", &run);
    }
    assert_nics_are_as_before(harness);
    assert!(run.stdout.contains("loses every write after it was taken"), "{}", run.output());
    assert_eq!(writer::lost(harness, &kept), Vec::<String>::new());
    assert_eq!(writer::lost(harness, &newer).len(), newer.len(), "what cannot be there is there");
}

fn one_member_survives(harness: &Harness) {
    harness.snapshot();
    let newer = writer::acknowledged(harness, "survivor", 200);
    diagnose_the_range(harness);
    for machine in ["m2", "m3"] {
        harness.lab.damage_etcd(machine).expect("damage its data");
    }
    let run = harness.recover("the incident, with one surviving member");
    assert!(run.stdout.contains(&format!("member:{}", harness.member("e1"))), "{}", run.output());
    assert_eq!(writer::lost(harness, &newer), Vec::<String>::new(), "acknowledged writes are lost");
}
