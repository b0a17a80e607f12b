//! The cloud's state: a JSON file that every change replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::reply::ErrorCode;
use super::{Network, lock, new_uuid};
use crate::hypervisor::MachineInfo;

const FILE: &str = "cloud-state.json";
/// ZStack's `completedApi.expiredPeriod`.
const JOBS_KEPT_SECONDS: i64 = 10_800;

/// Everything the cloud keeps.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CloudState {
    /// The one L3 network.
    pub(super) l3_network: String,
    /// Its IP ranges.
    pub(super) ip_ranges: Vec<IpRange>,
    /// The VMs that have been given their first NIC; any other machine is new.
    pub(super) vms: BTreeSet<String>,
    /// The attached NICs. Detaching one deletes its row, and with it the MAC.
    pub(super) nics: Vec<Nic>,
    /// ZStack's system tag `staticIp`, by VM.
    pub(super) static_ips: BTreeMap<String, Ipv4Addr>,
    /// The jobs, by the UUID that the client chose.
    pub(super) jobs: BTreeMap<String, Job>,
}

/// An IP range of the L3 network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IpRange {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) start_ip: Ipv4Addr,
    pub(super) end_ip: Ipv4Addr,
    pub(super) netmask: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
    /// Seconds since 1970.
    pub(super) created: i64,
}

impl IpRange {
    pub(super) fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.start_ip..=self.end_ip).contains(&ip)
    }
}

/// A NIC of a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Nic {
    pub(super) uuid: String,
    pub(super) vm: String,
    pub(super) ip: Ipv4Addr,
    pub(super) mac: String,
    /// Seconds since 1970.
    pub(super) created: i64,
}

impl Nic {
    pub(super) fn new(vm: &str, ip: Ipv4Addr, mac: &str) -> Self {
        Self { uuid: new_uuid(), vm: vm.to_owned(), ip, mac: mac.to_ascii_lowercase(), created: now() }
    }
}

impl CloudState {
    fn new(network: &Network) -> Self {
        let range = |(name, start_ip, end_ip): &(String, Ipv4Addr, Ipv4Addr)| IpRange {
            uuid: new_uuid(),
            name: name.clone(),
            start_ip: *start_ip,
            end_ip: *end_ip,
            netmask: network.netmask,
            gateway: network.gateway,
            created: now(),
        };
        Self {
            l3_network: new_uuid(),
            ip_ranges: network.ip_ranges.iter().map(range).collect(),
            vms: BTreeSet::new(),
            nics: Vec::new(),
            static_ips: BTreeMap::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// Adds a NIC for each new machine, and removes machines that no longer exist.
    fn reconcile(&mut self, machines: &[MachineInfo]) {
        let there = |vm: &str| machines.iter().any(|machine| machine.uuid == vm);
        self.vms.retain(|vm| there(vm));
        self.nics.retain(|nic| there(&nic.vm));
        self.static_ips.retain(|vm, _| there(vm));
        for machine in machines {
            if self.vms.insert(machine.uuid.clone()) {
                self.nics.push(Nic::new(&machine.uuid, machine.ip, &machine.mac));
                self.static_ips.insert(machine.uuid.clone(), machine.ip);
            }
        }
    }

    /// The range that contains an address.
    pub(super) fn range_of(&self, ip: Ipv4Addr) -> Option<&IpRange> {
        self.ip_ranges.iter().find(|range| range.contains(ip))
    }

    pub(super) fn nic_of(&self, vm: &str) -> Option<&Nic> {
        self.nics.iter().find(|nic| nic.vm == vm)
    }
}

/// Keeps the state in memory and on disk.
pub(super) struct Store {
    path: PathBuf,
    state: Mutex<CloudState>,
}

impl Store {
    pub(super) fn open(state_dir: &Path, machines: &[MachineInfo], network: &Network) -> Result<Self> {
        let path = state_dir.join(FILE);
        let mut state = if path.exists() {
            serde_json::from_slice(&fs::read(&path)?).with_context(|| format!("read {}", path.display()))?
        } else {
            CloudState::new(network)
        };
        state.reconcile(machines);
        for job in state.jobs.values_mut().filter(|job| job.is_running()) {
            job.fail(ErrorCode::internal("the management node was restarted while the job ran"));
        }
        let store = Self { path, state: Mutex::new(state) };
        store.change(|_| ())?;
        Ok(store)
    }

    /// Reads the state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&CloudState) -> T) -> T {
        read(&lock(&self.state))
    }

    /// Changes the state. If it cannot be saved, it stays unchanged.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut CloudState) -> T) -> Result<T> {
        let changed = self.try_change::<T, Infallible>(|state| Ok(change(state)))?;
        Ok(changed.unwrap_or_else(|never| match never {}))
    }

    /// Like [`Self::change`], unless `change` returns an error.
    pub(super) fn try_change<T, E>(
        &self,
        change: impl FnOnce(&mut CloudState) -> Result<T, E>,
    ) -> Result<Result<T, E>> {
        let mut state = lock(&self.state);
        let mut changed = state.clone();
        let result = match change(&mut changed) {
            Ok(result) => result,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let oldest = now() - JOBS_KEPT_SECONDS;
        changed.jobs.retain(|_, job| !job.ended_before(oldest));
        write_private(&self.path, &serde_json::to_vec_pretty(&changed)?)?;
        *state = changed;
        Ok(Ok(result))
    }
}

/// Creates a directory with mode 0700, unless it exists.
pub(super) fn private_dir(dir: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("create {}", dir.display()))
}

/// Atomically replaces a file, with mode 0600.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file in a directory")?;
    // Created with mode 0600.
    let mut file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("write in {}", dir.display()))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("replace {}", path.display()))?;
    fs::File::open(dir)?.sync_all()?;
    Ok(())
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
