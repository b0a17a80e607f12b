//! The lab's cloud: an HTTP API shaped like ZStack's over the lab's machines.
//!
//! It has what Lifeboat calls and what the incident needs, with ZStack's field names and status codes
//! (`rest/src/main/java/org/zstack/rest/RestServer.java`): login and signed requests, queries, asynchronous jobs, and
//! the deletion of an IP range that deletes the NICs in it. `docs/lab-cloud.md` lists what is left out.
//!
//! The cloud answers from its own state, not from the machines: which NIC has which address is what it has saved. Only
//! the power state of a VM comes from the [`Hypervisor`].

mod action;
mod api;
mod auth;
mod credentials;
mod fault;
mod inventory;
mod job;
mod query;
mod range;
mod reply;
mod server;
mod signature;
mod store;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

pub use credentials::Credentials;
pub use server::serve;

use crate::hypervisor::{Hypervisor, MachineInfo};
use auth::Sessions;
use fault::Faults;
use store::Store;

/// The network of a new cloud.
#[derive(Clone, Debug)]
pub struct Network {
    /// The IP ranges: name, first and last address.
    pub ip_ranges: Vec<(String, Ipv4Addr, Ipv4Addr)>,
    /// Netmask of every range.
    pub netmask: Ipv4Addr,
    /// Gateway of every range.
    pub gateway: Ipv4Addr,
}

impl Default for Network {
    /// The reserved range of the incident, with all of the control plane in it, and one for everything else.
    fn default() -> Self {
        let address = |last| Ipv4Addr::new(10, 123, 0, last);
        Self {
            ip_ranges: vec![
                ("machines".into(), address(10), address(229)),
                ("reserved".into(), address(230), address(250)),
            ],
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            gateway: address(1),
        }
    }
}

/// The cloud: its saved state, and the machines it manages.
pub struct Cloud {
    hypervisor: Arc<dyn Hypervisor>,
    machines: Vec<MachineInfo>,
    credentials: Credentials,
    store: Store,
    sessions: Sessions,
    faults: Faults,
    /// Time zone of the management node, whose clock signed requests are checked against.
    time_zone: TimeZone,
    /// One job at a time acts on a VM.
    vm_locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Cloud {
    /// Loads the state from `state_dir`, or creates it: one NIC for every machine, as the machine was first created.
    ///
    /// Jobs that were running when the cloud stopped are marked as failed.
    pub fn open(hypervisor: Arc<dyn Hypervisor>, state_dir: &Path, network: &Network) -> Result<Self> {
        let machines = hypervisor.machines();
        store::private_dir(state_dir)?;
        let credentials = Credentials::load_or_create(state_dir)?;
        let store = Store::open(state_dir, &machines, network)?;
        Ok(Self {
            hypervisor,
            machines,
            credentials,
            store,
            sessions: Sessions::default(),
            faults: Faults::default(),
            time_zone: TimeZone::UTC,
            vm_locks: Mutex::default(),
        })
    }

    /// Sets the time zone of the management node; the default is UTC.
    #[must_use]
    pub fn in_time_zone(mut self, time_zone: TimeZone) -> Self {
        self.time_zone = time_zone;
        self
    }

    /// Credentials of a client.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The machine that a VM runs as.
    fn machine(&self, vm: &str) -> Option<&MachineInfo> {
        self.machines.iter().find(|machine| machine.uuid == vm)
    }

    /// The lock that a job holds while it acts on a VM.
    fn vm_lock(&self, vm: &str) -> Arc<Mutex<()>> {
        lock(&self.vm_locks).entry(vm.to_owned()).or_default().clone()
    }
}

/// Runs the cloud until it fails or is killed.
pub fn run(listen: SocketAddr, state_dir: &Path, hypervisor: Arc<dyn Hypervisor>) -> Result<()> {
    let cloud = Cloud::open(hypervisor, state_dir, &Network::default())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener =
            tokio::net::TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
        serve(listener, Arc::new(cloud)).await
    })
}

/// Locks a mutex, poisoned or not: what the locks guard is replaced as a whole, so a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A UUID as ZStack writes it: 32 lower-case hex digits.
fn new_uuid() -> String {
    format!("{:032x}", fastrand::u128(..))
}
