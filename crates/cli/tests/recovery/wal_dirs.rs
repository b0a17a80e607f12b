//! Members whose log is in a directory of its own: `init` finds it, and a restore writes it there.

use fs_err as fs;
use lab::machines::{Layout, Topology};
use lifeboat_recovery::inventory::Inventory;
use serde_json::Value;

use crate::chaos::{baseline, faults};
use crate::harness::Harness;
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] =
    &[("wal_dirs_are_found_and_restored_into", Topology::Small, Layout::Systemd, wal_dirs)];

const WAL_DIR: &str = "/data/etcd-wal";

fn wal_dirs(harness: &Harness) {
    baseline::keep(harness).expect("keep what the scenario begins with");
    for machine in harness.etcd_machines() {
        faults::Layout::WalDir.apply(harness, &machine).expect("move the log");
    }
    name_wal_dirs(harness);
    harness.eventually("the cluster is well", || {
        let run = harness.lifeboat(&["diagnose"]);
        if run.code == Some(0) { Ok(()) } else { Err(run.output()) }
    });
    found_by_init(harness);

    let mut keys = writer::acknowledged(harness, "before the snapshot", 20);
    harness.snapshot();
    keys.extend(writer::acknowledged(harness, "in the logs alone", 40));
    for machine in harness.etcd_machines() {
        harness.lab.damage_etcd(&machine).expect("damage its db");
    }
    harness.wait_for_any_cause(&["etcd.quorum-lost"]);
    let run = harness.recover("all three dbs damaged, and the logs in directories of their own");
    assert!(run.stdout.contains("loses nothing that is known"), "{}", run.output());
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new(), "acknowledged writes are lost");
    for machine in harness.etcd_machines() {
        let logs = harness.sh(&machine, &format!("ls {WAL_DIR}/*.wal; ls -d /var/lib/etcd/member/wal || :"));
        assert!(logs.contains(".wal") && !logs.contains("member/wal"), "{machine}: {logs}");
    }
    baseline::restore(harness).expect("put the lab back");
}

/// Writes `walDir` of every member into the inventory.
fn name_wal_dirs(harness: &Harness) {
    let path = harness.dir.join("lifeboat.yaml");
    let mut inventory: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("read it")).expect("the lab's is JSON");
    let members = inventory["etcd"]["members"].as_object_mut().expect("members");
    members.values_mut().for_each(|member| member["walDir"] = WAL_DIR.into());
    fs::write(path, inventory.to_string()).expect("write it");
}

/// What `init` finds is what was made.
fn found_by_init(harness: &Harness) {
    let (made, out) = (harness.dir.join("lifeboat.yaml"), harness.dir.join("found"));
    fs::create_dir(&out).expect("make a directory");
    let out = out.join("lifeboat.yaml");
    let [config, found] = [&harness.lab.ssh_config(), &out].map(|path| path.display().to_string());
    harness.lifeboat(&["init", "--from", "m1", "--ssh-config", &config, "--out", &found]).expect(0);
    let [made, found] = [&made, &out].map(|path| Inventory::load(path).expect("an inventory").inventory);
    assert_eq!(found.etcd.members, made.etcd.members);
    fs::remove_dir_all(harness.dir.join("found")).expect("remove it");
}
