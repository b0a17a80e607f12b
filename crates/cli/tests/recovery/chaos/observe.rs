//! What can be seen of the cluster and its disks without lifeboat: who serves, what a client reads, and what lies on
//! every machine. Data dirs are read from copies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, ConnectOptions};

use crate::harness::{Harness, runtime};
use crate::writer;

const ANSWER: Duration = Duration::from_secs(3);

/// The cluster as its clients see it.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Machines whose member answers a linearizable read.
    pub healthy: BTreeSet<String>,
    /// The numbered keys, where anybody answers.
    pub keys: Option<BTreeSet<String>>,
}

/// Options of a client that does not wait long.
pub fn quick(harness: &Harness) -> ConnectOptions {
    ConnectOptions { dial_timeout: ANSWER, command_timeout: ANSWER, ..harness.etcd_options() }
}

impl Served {
    /// Asks every member.
    pub fn ask(harness: &Harness) -> Result<Self> {
        let options = quick(harness);
        let machines = harness.etcd_machines();
        let mut served = Self::default();
        for name in machines {
            let endpoint = format!("https://{}:2379", harness.lab.machine(&name)?.spec().ip);
            let work = || {
                runtime().block_on(async {
                    let client = Client::connect(&options, &endpoint).await.ok()?;
                    let status = client.status().await.ok()?;
                    if status.leader == 0 || status.is_learner {
                        return None;
                    }
                    let request = RangeRequest {
                        key: writer::PREFIX.into(),
                        range_end: writer::PREFIX_END.into(),
                        keys_only: true,
                        ..RangeRequest::default()
                    };
                    Some(client.range(request).await.ok()?.kvs)
                })
            };
            if let Some(kvs) = harness.lab.inside(work)? {
                let keys = kvs.into_iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
                served.keys.get_or_insert_default().extend(keys);
                served.healthy.insert(name);
            }
        }
        Ok(served)
    }
}

/// What lies on a machine that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineState {
    /// Inodes of the files of etcd's data, with their paths.
    pub data: BTreeMap<String, String>,
    /// Units with their digest, drop-ins and whether they run.
    pub units: BTreeSet<String>,
    /// Where the data dir and its log really are, and what is mounted there.
    pub layout: BTreeSet<String>,
    /// What lifeboat has left in its directory.
    pub left: Vec<String>,
}

const DATA: &str = r"find /var/lib /data -type f \( -name db -o -name '*.wal' \) -path '*etcd*' -printf '%D:%i %p\n' 2>/dev/null; :";
const UNITS: &str = r#"
for unit in etcd kube-apiserver kube-controller-manager kube-scheduler; do
    for file in /etc/systemd/system/$unit.service /etc/systemd/system/$unit.service.d/* /run/systemd/system/$unit.service.d/*; do
        if [ -e "$file" ]; then echo "$file $(sha256sum < "$file")"; fi
    done
done
"#;
const LAYOUT: &str = r#"
dir=$(readlink -f /var/lib/etcd)
for path in /var/lib/etcd "$dir/member/wal"; do
    real=$(readlink -f "$path") && [ "$real" != "$path" ] && echo "$path is $real"
done
while read -r _ at _; do case $at in /var/lib/etcd*) echo "$at is mounted" ;; esac; done < /proc/mounts
"#;
const LEFT: &str = "ls -A /var/lib/lifeboat 2>/dev/null || :";

/// Looks at every machine that runs, from the inside: a network is not needed.
pub fn machine_states(harness: &Harness) -> Result<BTreeMap<String, MachineState>> {
    let mut machine_states = BTreeMap::new();
    for name in harness.etcd_machines() {
        let machine = harness.lab.machine(&name)?;
        if !machine.is_running()? {
            continue;
        }
        let sh = |script: &str| machine.exec(&["sh", "-c", script]);
        let data = sh(DATA)?;
        let pair = |line: &str| line.split_once(' ').map(|(inode, path)| (inode.to_owned(), path.to_owned()));
        let ground = MachineState {
            data: data.lines().filter_map(pair).collect(),
            units: sh(UNITS)?.lines().map(Into::into).collect(),
            layout: sh(LAYOUT)?.lines().map(Into::into).collect(),
            left: sh(LEFT)?.lines().map(Into::into).collect(),
        };
        machine_states.insert(name, ground);
    }
    Ok(machine_states)
}

/// A data dir on a machine's disk.
#[derive(Debug)]
pub struct Disk {
    pub machine: String,
    pub dir: String,
    /// The numbered keys that can be read from it, its whole log included; an error where it cannot be read.
    pub keys: Result<BTreeSet<String>, String>,
}

const DATA_DIRS: &str = "find /var/lib /data -type d -name member 2>/dev/null; :";

/// Reads every data dir of every machine, running or not, from a copy below `scratch`.
pub fn disks(harness: &Harness, scratch: &Path) -> Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for name in harness.etcd_machines() {
        let found = text(inside(harness, &name, "sh")?.args(["-c", DATA_DIRS]))?;
        for (number, member) in found.lines().enumerate() {
            let copy = scratch.join(format!("{name}-{number}"));
            let keys = copy_data_dir(harness, &name, member, &copy).and_then(|()| read_keys(&copy));
            let keys = keys.map_err(|error| format!("{error:#}"));
            if copy.exists() {
                fs::remove_dir_all(&copy)?;
            }
            let dir = member.trim_end_matches("/member").to_owned();
            disks.push(Disk { machine: name.clone(), dir, keys });
        }
    }
    Ok(disks)
}

/// A command that sees the machine's files as the machine does, whether or not it runs.
fn inside(harness: &Harness, machine: &str, program: &str) -> Result<Command> {
    let machine = harness.lab.machine(machine)?;
    if machine.is_running()? {
        return machine.command(program);
    }
    let mut command = Command::new("chroot");
    command.arg(machine.path("/")?).arg(program);
    Ok(command)
}

fn copy_data_dir(harness: &Harness, machine: &str, member: &str, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy)?;
    let parent = member.trim_end_matches("/member");
    unpack(inside(harness, machine, "tar")?.args(["-C", parent, "-chSf", "-", "member"]), copy)?;
    let wal = copy.join("member/wal");
    let is_empty = fs::read_dir(&wal).map_or(true, |mut entries| entries.next().is_none());
    if is_empty && inside(harness, machine, "test")?.args(["-d", "/data/etcd-wal"]).status()?.success() {
        fs::create_dir_all(&wal)?;
        unpack(inside(harness, machine, "tar")?.args(["-C", "/data/etcd-wal", "-cSf", "-", "."]), &wal)?;
    }
    Ok(())
}

/// Unpacks the archive that a command writes. A file that changes meanwhile is copied as it is.
fn unpack(archive: &mut Command, to: &Path) -> Result<()> {
    let mut archive = archive.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pipe = archive.stdout.take().context("a pipe")?;
    let status = Command::new("tar").arg("-C").arg(to).args(["-xSf", "-"]).stdin(pipe).status()?;
    archive.wait()?;
    ensure!(status.success(), "unpack a data dir: {status}");
    Ok(())
}

fn read_keys(dir: &Path) -> Result<BTreeSet<String>> {
    let mut get = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    get.arg("get").arg(dir).args(["--prefix", writer::PREFIX, "--keys-only", "--uncommitted", "--quiet"]);
    Ok(text(&mut get)?.lines().filter(|line| line.starts_with(writer::PREFIX)).map(Into::into).collect())
}

fn text(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let last = || String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    ensure!(output.status.success(), "{}: {}", output.status, last());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps what an engineer would look at first: the log of etcd on every machine that runs.
pub fn keep_logs(harness: &Harness, dir: &Path) -> Result<()> {
    for name in harness.etcd_machines() {
        let mut journalctl = inside(harness, &name, "journalctl")?;
        let log = text(journalctl.args(["-u", "etcd", "-n", "150", "--no-pager", "-o", "cat"]));
        fs::write(dir.join(format!("etcd-{name}.log")), log.unwrap_or_default())?;
    }
    Ok(())
}
