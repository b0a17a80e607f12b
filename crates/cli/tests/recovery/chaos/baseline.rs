//! The state every round begins with: the lab's machines as they were made, and etcd's data as it was when the
//! campaign began. What a fault or a recovery did is thrown away whole, which is cheaper than a new lab and leaves
//! nothing of it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use lab::incident;

use crate::harness::Harness;

const BOOT: Duration = Duration::from_secs(60);
const WELL: Duration = Duration::from_secs(120);

/// Stops everything of the cluster, including what only a recovery has started.
const STOP: &str = r#"
set -eu
units='kube-apiserver kube-controller-manager kube-scheduler etcd'
systemctl kill -s KILL $units 2>/dev/null || :
systemctl stop $units 2>/dev/null || :
"#;

/// Keeps the data dir and the units, once.
const KEEP: &str = r#"
set -eu
if [ -e /root/baseline/kept ]; then exit 0; fi
mkdir -p /root/baseline
tar -C /var/lib -cSf /root/baseline/etcd.tar etcd
cp -a /etc/systemd/system/etcd.service /root/baseline/
cp -a /etc/fstab /root/baseline/fstab 2>/dev/null || : > /root/baseline/fstab
sync
: > /root/baseline/kept
"#;

/// Puts them back. Unmounts first, the deepest first, so that nothing mounted is removed.
const PUT_BACK: &str = r#"
set -eu
rm -rf /var/lib/lab-ballast
iptables -F
cp -a /root/baseline/fstab /etc/fstab
while read -r _ at _; do case $at in /var/lib/etcd*|/data/*) echo "$at" ;; esac; done < /proc/mounts | sort -r |
    while read -r at; do umount "$at"; done
rm -rf --one-file-system /var/lib/etcd* /var/lib/lifeboat /data /root/etcd.service.unmasked
rm -rf /etc/systemd/system/etcd.service /etc/systemd/system/etcd.service.d /etc/systemd/system/kube-*.service.d
rm -rf /run/systemd/system/etcd.service.d
cp -a /root/baseline/etcd.service /etc/systemd/system/
tar -C /var/lib -xSf /root/baseline/etcd.tar
systemctl daemon-reload
systemctl reset-failed
"#;

const START: &str = "systemctl start --no-block etcd kube-apiserver kube-controller-manager kube-scheduler";

/// Keeps what rounds begin with, unless this lab has it already.
pub fn keep(harness: &Harness) -> Result<()> {
    let kept = |machine: &str| harness.lab.machine(machine)?.run(&["test", "-e", "/root/baseline/kept"]);
    let mut all = true;
    for machine in harness.etcd_machines() {
        all &= kept(&machine)?.status.success();
    }
    if all {
        return Ok(());
    }
    everywhere(harness, STOP)?;
    everywhere(harness, KEEP)?;
    everywhere(harness, START)
}

/// Brings the machines and the cluster back to it, and waits until nothing is found.
pub fn restore(harness: &Harness) -> Result<()> {
    for machine in harness.lab.machines() {
        if machine.nic()?.as_ref() != Some(&machine.spec().mac) {
            machine.attach_nic(&machine.spec().mac)?;
        }
        machine.start()?;
    }
    for machine in harness.lab.machines() {
        let deadline = Instant::now() + BOOT;
        while !machine
            .run(&["systemctl", "is-active", "--quiet", "ssh"])
            .is_ok_and(|run| run.status.success())
        {
            ensure!(Instant::now() < deadline, "{} does not boot", machine.name());
            thread::sleep(Duration::from_millis(200));
        }
        machine.plug()?;
    }
    // Every member is stopped before any comes back with older data.
    everywhere(harness, STOP)?;
    everywhere(harness, PUT_BACK)?;
    everywhere(harness, START)?;
    for name in [".lifeboat", "snapshots"] {
        let dir = harness.dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
    }
    incident::write_inventory(&harness.dir)?;
    wait_until_well(harness)
}

/// Waits until nothing is found, and has the inventory know the cluster, as `init` writes it: by the UID of its
/// kube-system.
fn wait_until_well(harness: &Harness) -> Result<()> {
    let deadline = Instant::now() + WELL;
    let facts = harness.dir.join("well.json");
    loop {
        if facts.exists() {
            fs::remove_file(&facts)?;
        }
        let run = harness.lifeboat(&["diagnose", "--save-facts", &facts.display().to_string()]);
        if run.code == Some(0) {
            return know_the_cluster(harness, &fs::read(&facts)?);
        }
        ensure!(Instant::now() < deadline, "the cluster is not well again: {}", run.output());
        thread::sleep(Duration::from_secs(1));
    }
}

fn know_the_cluster(harness: &Harness, facts: &[u8]) -> Result<()> {
    let facts: serde_json::Value = serde_json::from_slice(facts)?;
    let mut members = facts["members"].as_object().into_iter().flatten().map(|(_, member)| member);
    let uid = members.find_map(|member| member["identity"]["value"]["uid"].as_str());
    let uid = uid.context("no member tells the UID of kube-system")?;
    let path = harness.dir.join("lifeboat.yaml");
    // The lab writes its inventory as JSON.
    let mut inventory: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    inventory["kubernetes"]["uid"] = uid.into();
    Ok(fs::write(path, serde_json::to_string_pretty(&inventory)?)?)
}

/// Runs a script on every machine with etcd, at the same time.
pub fn everywhere(harness: &Harness, script: &str) -> Result<()> {
    let machines = harness.etcd_machines();
    thread::scope(|scope| {
        let runs: Vec<_> = (machines.iter())
            .map(|name| {
                scope.spawn(move || {
                    harness
                        .lab
                        .machine(name)?
                        .exec(&["sh", "-c", script])
                        .map(drop)
                        .context("put a machine back")
                })
            })
            .collect();
        runs.into_iter().try_for_each(|run| run.join().expect("a thread that does not panic"))
    })
}
