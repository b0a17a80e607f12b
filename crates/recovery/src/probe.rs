//! Observation: all layers are queried concurrently, from outside, and each answer becomes a fact.
//!
//! A question that cannot be asked or gets no answer never fails the observation: its fact is unknown, with the
//! reason. Every question has a limit of its own, so that the whole has one too. The executor asks the same
//! questions, layer by layer.

pub mod access;
pub mod checks;
pub mod cloud;
pub mod etcd;
pub mod host;
mod kubelet;
pub mod kubernetes;
mod logs;
mod reach;
pub mod snapshots;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, join_all};
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

use crate::facts::{self, CheckAnswer, CloudFacts, Fact, Facts, HostFacts, Login};
use crate::inventory::Inventory;
pub use access::{Access, ApiError};

/// Depth of the observation, and its progress callback.
#[derive(Clone, Copy)]
pub struct ProbeOptions<'a> {
    data_dirs: bool,
    keep_program: bool,
    watch: Option<&'a (dyn Fn(Progress<'_>) + Sync)>,
}

/// Progress of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The last item that was observed, such as `host m1`.
    pub what: &'a str,
    /// Number of items observed.
    pub done: usize,
    /// Of how much.
    pub total: usize,
}

impl<'a> ProbeOptions<'a> {
    /// Everything that can be asked within seconds.
    pub fn quick() -> Self {
        Self { data_dirs: false, keep_program: false, watch: None }
    }

    /// That, and the data dirs of members that are stopped, read on their machines by Lifeboat itself. It is sent
    /// there for that and removed afterwards; nothing else changes.
    pub fn whole() -> Self {
        Self { data_dirs: true, keep_program: false, watch: None }
    }

    /// The same, and what was sent stays on the machines, for a recovery that uses it and removes it at its end.
    #[must_use]
    pub fn keeping_program(self) -> Self {
        Self { keep_program: true, ..self }
    }

    /// The same, watched.
    #[must_use]
    pub fn watched(self, watch: &'a (dyn Fn(Progress<'_>) + Sync)) -> Self {
        Self { watch: Some(watch), ..self }
    }
}

/// Observes everything in an inventory.
pub async fn observe(inventory: &Inventory, access: &Access, options: &ProbeOptions<'_>) -> Facts {
    let observed_at = Timestamp::now();
    let (done, total) = (AtomicUsize::new(0), total(inventory));
    let seen = |what: &str| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(watch) = options.watch {
            watch(Progress { what, done, total });
        }
    };
    let seen: &(dyn Fn(&str) + Sync) = &seen;
    let hosts = Hosts::new(inventory, access, seen);
    let depth = etcd::Depth { hosts: &hosts, keep_program: options.keep_program };
    let (cloud, mut host_facts, members, (control_plane, kubernetes), checks) = tokio::join!(
        cloud_facts(inventory, access, seen),
        hosts.all(),
        etcd::collect(inventory, access, options.data_dirs.then_some(depth), true, seen),
        kubernetes::collect(inventory, access, &hosts, seen),
        check_facts(inventory, seen),
    );
    if options.data_dirs {
        let (mut kubelets, mut logs) = tokio::join!(
            kubelet::collect(inventory, access, &hosts, &kubernetes.nodes),
            logs::collect(inventory, access, &hosts, &host_facts),
        );
        for (name, host) in &mut host_facts {
            host.kubelet_api = kubelets.remove(name);
            host.logs = logs.remove(name);
        }
    }
    Facts {
        schema_version: facts::SCHEMA_VERSION,
        platform: facts::own_platform(),
        observed_at,
        inventory: inventory.clone(),
        cloud,
        hosts: host_facts,
        members,
        control_plane,
        kubernetes,
        checks,
        pending_operation: None,
        snapshots: None,
    }
}

fn total(inventory: &Inventory) -> usize {
    let cluster = 1;
    usize::from(inventory.cloud.is_some())
        + inventory.hosts.len()
        + inventory.etcd.members.len()
        + inventory.kubernetes.control_plane.len()
        + cluster
        + inventory.checks.len()
}

async fn cloud_facts(
    inventory: &Inventory,
    access: &Access,
    seen: &(dyn Fn(&str) + Sync),
) -> Option<CloudFacts> {
    inventory.cloud.as_ref()?;
    let facts = match &access.cloud {
        Ok(cloud) => cloud::collect(cloud.as_ref()).await,
        Err(why) => cloud::unasked(why),
    };
    seen("the cloud");
    Some(facts)
}

async fn check_facts(
    inventory: &Inventory,
    seen: &(dyn Fn(&str) + Sync),
) -> BTreeMap<String, Fact<CheckAnswer>> {
    let asked = inventory.checks.iter().map(|check| async move {
        let fact = checks::one(check).await;
        seen(&format!("check {}", check.name));
        (check.name.clone(), fact)
    });
    join_all(asked).await.into_iter().collect()
}

/// The observations of machines. Each machine is observed once, however many tasks wait for it.
struct Hosts<'a>(BTreeMap<&'a str, Machine<'a>>);

struct Machine<'a> {
    facts: Shared<BoxFuture<'a, HostFacts>>,
    /// Held while Lifeboat's program is used there, and removed.
    turn: Mutex<()>,
}

impl<'a> Hosts<'a> {
    fn new(inventory: &'a Inventory, access: &'a Access, seen: &'a (dyn Fn(&str) + Sync)) -> Self {
        let collect = |name: &'a String| {
            let facts = async move {
                let facts = match access.hosts.get(name) {
                    Some(host) => host::collect(inventory, name, host.as_ref()).await,
                    None => host::unasked(inventory, name),
                };
                seen(&format!("host {name}"));
                facts
            };
            (name.as_str(), Machine { facts: facts.boxed().shared(), turn: Mutex::new(()) })
        };
        Self(inventory.hosts.keys().map(collect).collect())
    }

    async fn all(&self) -> BTreeMap<String, HostFacts> {
        let facts = self.0.iter().map(|(name, machine)| async {
            let facts = machine.facts.clone().await;
            ((*name).to_owned(), facts)
        });
        join_all(facts).await.into_iter().collect()
    }

    fn machine(&self, name: &str) -> Result<&Machine<'a>, String> {
        self.0.get(name).ok_or_else(|| format!("the inventory has no host {name}"))
    }

    /// The turn to use Lifeboat's program on a machine, until it is dropped.
    async fn turn(&self, name: &str) -> Result<MutexGuard<'_, ()>, String> {
        Ok(self.machine(name)?.turn.lock().await)
    }

    /// Facts of a machine that accepts logins and has the right machine id; else the reason.
    async fn trusted(&self, inventory: &Inventory, name: &str) -> Result<HostFacts, String> {
        let facts = self.machine(name)?.facts.clone().await;
        match facts.login.get() {
            Some(Login::Ok) => {}
            _ => return Err(format!("cannot log in to {name}")),
        }
        let expected = inventory.hosts.get(name).and_then(|spec| spec.machine_id.as_ref());
        match expected {
            Some(expected) if facts.machine_id.get() != Some(expected) => {
                Err(format!("the machine at {name}'s address may not be {name}: its machine id differs"))
            }
            _ => Ok(facts),
        }
    }
}

#[cfg(test)]
mod tests;
