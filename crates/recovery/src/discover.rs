//! Discovery: from one machine of a running cluster to its inventory. Nothing is changed anywhere.
//!
//! Machines are scanned in rounds: what one round finds in flags, in etcd's member list and in the API names the
//! machines of the next.

mod address;
mod cloud;
mod etcd;
mod host_scan;
mod inventory_builder;
mod kubeconfig;
mod kubernetes;
mod output;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use lifeboat_client::messages::Member;

use crate::host::{Host, LocalHost, SshHost};
use crate::inventory::{Inventory, Ssh, Zstack};
use crate::provider::CloudProvider;
use host_scan::Machine;
pub use output::{CREDENTIALS, DiscoverError, Discovered};

/// Maximum number of rounds.
const ROUNDS: usize = 6;
/// Machines that are scanned concurrently.
const AT_ONCE: usize = 16;
/// Name of the machine Lifeboat runs on, in `--from` and the inventory.
const LOCAL: &str = "local";

/// Where to begin, and how to get there.
pub struct Request<'a> {
    /// Destinations for `ssh`, with at least one control plane machine. `local` is this machine.
    pub from: Vec<String>,
    /// How to log in.
    pub ssh: Ssh,
    /// Name for the cluster.
    pub cluster: String,
    /// The cloud the machines are in.
    pub cloud: Option<(Zstack, Arc<dyn CloudProvider>)>,
    /// Called with a description of each step.
    pub watch: &'a (dyn Fn(&str) + Sync),
}

/// Looks at a cluster.
///
/// # Errors
/// [`DiscoverError::NoMachine`] when no machine could be scanned, [`DiscoverError::Incomplete`] when no etcd or no
/// API server was found.
pub async fn discover(request: Request<'_>) -> Result<Discovered, DiscoverError> {
    let mut found = Found::default();
    let mut next: Vec<Destination> = request.from.iter().cloned().map(Destination::Given).collect();
    for _ in 0..ROUNDS {
        found.look_at(&request, next).await;
        if found.machines.is_empty() {
            return Err(DiscoverError::NoMachine(found.notes));
        }
        if found.members.is_none() {
            (request.watch)("asking etcd for its members");
            match etcd::members(&found.machines, &found.etcd_urls().await).await {
                Ok((members, credentials)) => {
                    found.members = Some(members);
                    found.credentials = credentials;
                }
                Err(why) => found.no_members = why,
            }
        }
        if found.api.is_none() {
            (request.watch)("asking the API for its nodes");
            match kubernetes::ask(&found.machines, |machine| found.address_of(machine)).await {
                Ok(api) => found.api = Some(api),
                Err(why) => found.no_api = why,
            }
        }
        next = found.unseen().await;
        if next.is_empty() {
            break;
        }
    }
    inventory_builder::build(request, found).await
}

/// Where to look.
enum Destination {
    /// A `--from` argument: an `ssh` destination, or `local`.
    Given(String),
    /// An address reported by a machine; always reached through `ssh`.
    Found(String),
}

impl Destination {
    fn text(&self) -> &str {
        let (Self::Given(text) | Self::Found(text)) = self;
        text
    }

    fn host(&self, ssh: &Ssh) -> Arc<dyn Host> {
        match self {
            Self::Given(text) if text == LOCAL => Arc::new(LocalHost::new(LOCAL)),
            Self::Given(text) | Self::Found(text) => Arc::new(SshHost::new(text, text, ssh)),
        }
    }
}

/// Results of the rounds so far.
#[derive(Default)]
struct Found {
    machines: Vec<Machine>,
    /// Destinations that were tried, and addresses to skip.
    tried: BTreeSet<String>,
    /// What could not be seen.
    notes: Vec<String>,
    members: Option<Vec<Member>>,
    no_members: String,
    credentials: Option<etcd::Credentials>,
    api: Option<kubernetes::ApiInfo>,
    no_api: String,
}

impl Found {
    async fn look_at(&mut self, request: &Request<'_>, destinations: Vec<Destination>) {
        let looks = destinations.into_iter().filter(|to| self.tried.insert(to.text().to_owned()));
        let looks: Vec<_> = looks
            .map(|destination| async move {
                (request.watch)(&format!("looking at {}", destination.text()));
                Machine::scan(destination.text(), destination.host(&request.ssh)).await
            })
            .collect();
        let looks: Vec<_> = futures::stream::iter(looks).buffered(AT_ONCE).collect().await;
        for look in looks {
            match look {
                Ok(machine) => self.add(machine),
                Err(error) => self.notes.push(format!("not seen: {error}")),
            }
        }
    }

    fn add(&mut self, mut machine: Machine) {
        let same_id = |known: &&mut Machine| known.scan.machine_id == machine.scan.machine_id;
        if let Some(known) =
            self.machines.iter_mut().find(same_id).filter(|_| machine.scan.machine_id.is_some())
        {
            if known.scan.addresses.iter().any(|address| machine.scan.addresses.contains(address)) {
                return;
            }
            let (one, other) = (&known.scan.hostname, &machine.scan.hostname);
            self.notes.push(format!(
                "{one} and {other} have the same machine id, so it identifies neither: on the clone, remove \
                 /etc/machine-id and run systemd-machine-id-setup"
            ));
            known.scan.machine_id = None;
            machine.scan.machine_id = None;
        }
        self.machines.push(machine);
    }

    /// Where etcd may answer.
    async fn etcd_urls(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for machine in &self.machines {
            for process in machine.running("etcd") {
                urls.extend(etcd::settings(machine, process).await.client_urls);
            }
            for process in machine.running("kube-apiserver") {
                urls.extend(
                    process
                        .flag("etcd-servers")
                        .into_iter()
                        .flat_map(|urls| urls.split(','))
                        .map(str::to_owned),
                );
            }
        }
        urls.retain(|url| address::of_url(url).is_some());
        let mut known = BTreeSet::new();
        urls.retain(|url| known.insert(url.clone()));
        urls
    }

    /// Addresses of the cluster that are on no machine seen so far. None of them is this computer's: otherwise a
    /// machine could make us scan our own computer as root.
    async fn unseen(&mut self) -> Vec<Destination> {
        let addresses: BTreeSet<String> = self.cluster_addresses().into_iter().collect();
        let mut unseen = Vec::new();
        for address in addresses {
            let known = self.machines.iter().any(|machine| machine.has_address(&address));
            if known || self.tried.contains(&address) {
                continue;
            }
            if address::is_here(&address).await {
                self.notes.push(format!(
                    "{address} is this computer and was skipped: if it is part of the cluster, add --from {LOCAL}"
                ));
                self.tried.insert(address);
                continue;
            }
            unseen.push(Destination::Found(address));
        }
        unseen
    }

    /// Addresses that cluster components use for each other.
    fn cluster_addresses(&self) -> Vec<String> {
        let members = self.members.iter().flatten();
        let urls = members.flat_map(|member| member.peer_urls.iter().chain(&member.client_urls));
        let servers = self.machines.iter().flat_map(|machine| machine.running("kube-apiserver"));
        let servers =
            servers.filter_map(|process| process.flag("etcd-servers")).flat_map(|urls| urls.split(','));
        let mut addresses: Vec<String> =
            urls.map(String::as_str).chain(servers).filter_map(address::of_url).collect();
        if let Some(api) = &self.api {
            let all = api.nodes.iter().filter_map(|node| node.address.as_ref()).chain(&api.apiservers);
            addresses.extend(all.filter_map(|address| address::valid(address)));
        }
        addresses
    }

    /// The address by which the cluster knows a machine, or else by which we do.
    fn address_of(&self, machine: &Machine) -> String {
        let known = self.cluster_addresses().into_iter().find(|address| machine.has_address(address));
        let addresses = || machine.scan.addresses.iter().map(ToString::to_string);
        let given = || addresses().find(|address| *address == machine.destination);
        known.or_else(given).or_else(|| addresses().next()).unwrap_or_else(|| machine.destination.clone())
    }
}

/// An empty inventory.
fn empty(cluster: String, ssh: Ssh) -> Inventory {
    use crate::inventory::{Etcd, Kubernetes};

    Inventory {
        version: 1,
        cluster,
        ssh,
        hosts: Default::default(),
        etcd: Etcd { tls: None, members: Default::default() },
        kubernetes: Kubernetes {
            kubeconfig: std::path::Path::new(CREDENTIALS).join(output::KUBECONFIG),
            uid: None,
            control_plane: Default::default(),
            nodes: Default::default(),
        },
        cloud: None,
        snapshots: Vec::new(),
        checks: Vec::new(),
    }
}
