//! Members whose log is in a directory of its own: `init` finds it, and a restore writes it there.

use fs_err as fs;
use lab::machines::{Layout, Topology};
use lifeboat_recovery::inventory::Inventory;
use serde_json::Value;

use crate::chaos::{baseline, faults};
use crate::scene::Scene;
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] =
    &[("wal_dirs_are_found_and_restored_into", Topology::Small, Layout::Systemd, wal_dirs)];

const WAL_DIR: &str = "/data/etcd-wal";

fn wal_dirs(scene: &Scene) {
    baseline::keep(scene).expect("keep what the scenario begins with");
    for machine in scene.etcd_machines() {
        faults::Layout::WalDir.apply(scene, &machine).expect("move the log");
    }
    name_wal_dirs(scene);
    scene.eventually("the cluster is well", || {
        let run = scene.lifeboat(&["diagnose"]);
        if run.code == Some(0) { Ok(()) } else { Err(run.said()) }
    });
    found_by_init(scene);

    let mut keys = writer::acknowledged(scene, "before the snapshot", 20);
    scene.snapshot();
    keys.extend(writer::acknowledged(scene, "in the logs alone", 40));
    for machine in scene.etcd_machines() {
        scene.lab.damage_etcd(&machine).expect("damage its db");
    }
    scene.wait_for_a_cause_of(&["etcd.quorum-lost"]);
    let run = scene.recover("all three dbs damaged, and the logs in directories of their own");
    assert!(run.stdout.contains("loses nothing that is known"), "{}", run.said());
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new(), "acknowledged writes are lost");
    for machine in scene.etcd_machines() {
        let logs = scene.sh(&machine, &format!("ls {WAL_DIR}/*.wal; ls -d /var/lib/etcd/member/wal || :"));
        assert!(logs.contains(".wal") && !logs.contains("member/wal"), "{machine}: {logs}");
    }
    baseline::restore(scene).expect("put the lab back");
}

/// Writes `walDir` of every member into the inventory.
fn name_wal_dirs(scene: &Scene) {
    let path = scene.dir.join("lifeboat.yaml");
    let mut inventory: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("read it")).expect("the lab's is JSON");
    let members = inventory["etcd"]["members"].as_object_mut().expect("members");
    members.values_mut().for_each(|member| member["walDir"] = WAL_DIR.into());
    fs::write(path, inventory.to_string()).expect("write it");
}

/// What `init` finds is what was made.
fn found_by_init(scene: &Scene) {
    let (made, out) = (scene.dir.join("lifeboat.yaml"), scene.dir.join("found"));
    fs::create_dir(&out).expect("make a directory");
    let out = out.join("lifeboat.yaml");
    let [config, found] = [&scene.lab.ssh_config(), &out].map(|path| path.display().to_string());
    scene.lifeboat(&["init", "--from", "m1", "--ssh-config", &config, "--out", &found]).expect(0);
    let [made, found] = [&made, &out].map(|path| Inventory::load(path).expect("an inventory").inventory);
    assert_eq!(found.etcd.members, made.etcd.members);
    fs::remove_dir_all(scene.dir.join("found")).expect("remove it");
}
