//! Builds the inventory from the scans.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::Command;
use crate::inventory::{
    ClientTls, Cloud, ControlPlaneSpec, HostSpec, Inventory, MemberSpec, NodeSpec, Service, StaticPod,
    check_url, is_name,
};

use super::address::{of_url, valid};
use super::host_scan::{Machine, Process};
use super::output::{CA, CERT, CREDENTIALS, Credential, KEY, KUBECONFIG};
use super::{DiscoverError, Discovered, Found, Request, cloud, empty, etcd, kubernetes};

/// Builds the inventory, with notes on what was not found.
pub(super) async fn build(request: Request<'_>, mut found: Found) -> Result<Discovered, DiscoverError> {
    let notes = std::mem::take(&mut found.notes);
    let inventory = empty(request.cluster, request.ssh);
    let mut builder = InventoryBuilder { found, names: Vec::new(), inventory, notes };
    builder.hosts();
    builder.members().await;
    builder.control_plane();
    builder.nodes();
    let InventoryBuilder { found, mut inventory, mut notes, .. } = builder;
    if inventory.etcd.members.is_empty() || inventory.kubernetes.control_plane.is_empty() {
        let why = [("etcd", &found.no_members), ("API", &found.no_api)];
        notes.extend(
            why.iter().filter(|(_, why)| !why.is_empty()).map(|(what, why)| format!("{what}: {why}")),
        );
        return Err(DiscoverError::Incomplete(notes));
    }
    if let Some((mut zstack, provider)) = request.cloud {
        (request.watch)("asking the cloud for its NICs");
        zstack.ip_ranges = cloud::add(provider.as_ref(), &mut inventory.hosts, &mut notes).await;
        inventory.cloud = Some(Cloud::Zstack(zstack));
    }
    let mut credentials = Vec::new();
    if let Some(etcd::Credentials { ca, cert, key }) = found.credentials {
        let file = |name: &str| Path::new(CREDENTIALS).join(name);
        inventory.etcd.tls = Some(ClientTls { ca: file(CA), cert: file(CERT), key: file(KEY) });
        credentials
            .extend([(CA, ca), (CERT, cert), (KEY, key)].map(|(name, bytes)| Credential { name, bytes }));
    }
    match found.api {
        Some(api) => credentials.push(Credential { name: KUBECONFIG, bytes: api.kubeconfig }),
        None => notes.push(format!(
            "no kubeconfig was taken ({}): put one with cluster-admin rights at kubernetes.kubeconfig",
            found.no_api
        )),
    }
    Ok(Discovered::new(inventory, &notes, credentials))
}

struct InventoryBuilder {
    found: Found,
    /// The hosts' names, in the order of the machines.
    names: Vec<String>,
    inventory: Inventory,
    notes: Vec<String>,
}

impl InventoryBuilder {
    fn hosts(&mut self) {
        for machine in &self.found.machines {
            let address = self.found.address_of(machine);
            let name = unused(&self.inventory.hosts, &machine.scan.hostname, &address);
            let seen = &machine.scan;
            if let Some(bundle) =
                seen.processes.iter().map(|process| process.program.as_str()).find(is_bundle)
            {
                self.notes.push(format!("{name}: components inside {bundle} are not visible"));
            }
            if seen.processes.is_empty() && seen.roles.is_empty() {
                self.notes
                    .push(format!("{name}: no cluster component runs there: set roles to what it provides"));
            }
            let spec = HostSpec {
                ssh: Some(machine.destination.clone()).filter(|destination| *destination != address),
                address,
                machine_id: seen.machine_id.clone(),
                vm: None,
                roles: seen.roles.iter().cloned().collect(),
            };
            self.inventory.hosts.insert(name.clone(), spec);
            self.names.push(name);
        }
    }

    /// The host with an address; one that could not be looked at is added as far as it is known.
    fn host_at(&mut self, address: &str, name: &str, machine_id: Option<String>) -> String {
        let machines = self.found.machines.iter().zip(&self.names);
        if let Some((_, name)) = machines.clone().find(|(machine, _)| machine.has_address(address)) {
            return name.clone();
        }
        let hosts = &mut self.inventory.hosts;
        if let Some((name, _)) = hosts.iter().find(|(_, host)| host.address == address) {
            return name.clone();
        }
        let name = unused(hosts, name, address);
        let spec = HostSpec { address: address.into(), ssh: None, machine_id, vm: None, roles: Vec::new() };
        hosts.insert(name.clone(), spec);
        name
    }

    async fn members(&mut self) {
        let mut processes = Vec::new();
        for (index, machine) in self.found.machines.iter().enumerate() {
            for process in machine.running("etcd") {
                processes.push((
                    index,
                    etcd::settings(machine, process).await,
                    place(machine, process).await,
                ));
            }
        }
        let listed = self.found.members.clone().unwrap_or_else(|| {
            if !processes.is_empty() {
                let why = &self.found.no_members;
                self.notes
                    .push(format!("cannot list etcd members, so those not found are missing here: {why}"));
            }
            let member =
                |(_, settings, _): &(usize, etcd::Settings, Place)| lifeboat_client::messages::Member {
                    name: settings.name.clone(),
                    peer_urls: settings.peer_urls.clone(),
                    client_urls: settings.client_urls.clone(),
                    ..Default::default()
                };
            processes.iter().map(member).collect()
        });
        for member in listed {
            if !member.name.is_empty() && !is_name(&member.name) {
                self.notes.push(format!(
                    "etcd member {:?} has a name that is not valid in an inventory: left out",
                    member.name
                ));
                continue;
            }
            let is_usable =
                |url: &&String| of_url(url).is_some() && check_url(url, &["http", "https"], false).is_ok();
            let url = |urls: &[String]| urls.iter().find(is_usable).cloned();
            let (Some(client_url), Some(peer_url)) = (url(&member.client_urls), url(&member.peer_urls))
            else {
                let whom = if member.name.is_empty() { member.peer_urls.join(",") } else { member.name };
                self.notes.push(format!("etcd member {whom} never started or has no peer URL: left out"));
                continue;
            };
            let own = |(_, settings, _): &(usize, etcd::Settings, Place)| {
                settings.peer_urls.iter().any(|url| member.peer_urls.contains(url))
            };
            let spec = match processes.iter().position(own).map(|index| processes.swap_remove(index)) {
                Some((machine, _, place)) => {
                    let host = self.names.get(machine).cloned().unwrap_or_default();
                    let service = self.known(place.service, &host, "etcd");
                    MemberSpec {
                        host,
                        client_url,
                        peer_url,
                        data_dir: place.data_dir,
                        wal_dir: place.wal_dir,
                        service,
                        owner: place.owner,
                    }
                }
                None => self.unseen_member(&member.name, client_url, peer_url),
            };
            self.inventory.etcd.members.insert(member.name, spec);
        }
        for (machine, settings, _) in processes {
            let host = self.names.get(machine).cloned().unwrap_or_default();
            self.notes
                .push(format!("{host}: the etcd {} belongs to another cluster: left out", settings.name));
        }
    }

    fn unseen_member(&mut self, name: &str, client_url: String, peer_url: String) -> MemberSpec {
        let address = of_url(&peer_url).unwrap_or_default();
        let host = self.host_at(&address, name, None);
        self.notes.push(format!(
            "{host}: etcd member {name} was not found running: dataDir /var/lib/etcd and service etcd.service are \
             guesses; verify them"
        ));
        let service = Service::Unit("etcd.service".into());
        let data_dir = "/var/lib/etcd".into();
        MemberSpec { host, client_url, peer_url, data_dir, wal_dir: None, service, owner: None }
    }

    fn control_plane(&mut self) {
        let Self { found, names, inventory, notes } = self;
        for (machine, name) in found.machines.iter().zip(names.iter()) {
            let Some(process) = machine.running("kube-apiserver").next() else { continue };
            let Some(url) = kubernetes::url(machine, &found.address_of(machine)) else { continue };
            let mut service = |program: &str| known(notes, service(machine, program), name, program);
            let spec = ControlPlaneSpec {
                url,
                apiserver: service("kube-apiserver"),
                controller_manager: service("kube-controller-manager"),
                scheduler: service("kube-scheduler"),
                certificate: process.flag("tls-cert-file").map(|path| machine.path_of(process, path)),
            };
            inventory.kubernetes.control_plane.insert(name.clone(), spec);
        }
        for address in found.api.iter().flat_map(|api| &api.apiservers) {
            if !found.machines.iter().any(|machine| machine.has_address(address)) {
                notes.push(format!(
                    "the API server at {address} was not found: add its machine to kubernetes.controlPlane"
                ));
            }
        }
    }

    fn nodes(&mut self) {
        self.inventory.kubernetes.uid = self.found.api.as_ref().and_then(|api| api.uid.clone());
        let nodes = match &self.found.api {
            Some(api) => api.nodes.clone(),
            None => Vec::new(),
        };
        for node in nodes {
            let address = node.address.as_deref().and_then(valid).filter(|_| is_name(&node.name));
            let Some(address) = &address else {
                self.notes.push(format!("node {} has no usable InternalIP: left out", node.name));
                continue;
            };
            let host = self.host_at(address, &node.name, node.machine_id);
            self.node(&host, &node.name);
        }
        if self.found.api.is_none() {
            let kubelet = |(machine, host): (&Machine, &String)| {
                let process = machine.running("kubelet").next()?;
                let name = process.flag("hostname-override").filter(|name| is_name(name));
                Some((host.clone(), name.unwrap_or(&machine.scan.hostname).to_owned()))
            };
            let seen: Vec<_> = self.found.machines.iter().zip(&self.names).filter_map(kubelet).collect();
            seen.iter().for_each(|(host, name)| self.node(host, name));
        }
    }

    fn node(&mut self, host: &str, name: &str) {
        let machine = self.names.iter().position(|known| known == host);
        let machine = machine.and_then(|index| self.found.machines.get(index));
        let unit =
            machine.and_then(|machine| machine.running("kubelet").next()).and_then(|it| it.unit.clone());
        if unit.is_none() {
            self.notes.push(format!("{host}: kubelet not found: its unit is a guess"));
        }
        let kubelet = unit.unwrap_or_else(|| "kubelet.service".into());
        let name = Some(name.to_owned()).filter(|name| name != host);
        self.inventory.kubernetes.nodes.insert(host.into(), NodeSpec { name, kubelet });
    }

    fn known(&mut self, service: Option<Service>, host: &str, program: &str) -> Service {
        known(&mut self.notes, service, host, program)
    }
}

/// Whether a program bundles a control plane in one process, such as k3s.
fn is_bundle(program: &&str) -> bool {
    ["k3s", "rke2"].contains(program)
}

/// The service that was seen, or a guess that is noted.
fn known(notes: &mut Vec<String>, service: Option<Service>, host: &str, program: &str) -> Service {
    service.unwrap_or_else(|| {
        let unit = format!("{program}.service");
        notes.push(format!("{host}: {program} not found in a systemd unit or static pod: {unit} is a guess"));
        Service::Unit(unit)
    })
}

/// What runs a program: seen running, or made to be run by the kubelet or systemd and stopped just now.
fn service(machine: &Machine, program: &str) -> Option<Service> {
    let running = machine.running(program).next();
    if let Some(unit) = running.filter(|process| !process.in_pod).and_then(|process| process.unit.clone()) {
        return Some(Service::Unit(unit));
    }
    if let Some(manifest) = machine.manifest_for(program) {
        let manifest = manifest.path.clone();
        return Some(Service::StaticPod(StaticPod { manifest, process: program.into() }));
    }
    let unit = format!("{program}.service");
    (running.is_none() && machine.scan.units.contains(&unit)).then_some(Service::Unit(unit))
}

/// Paths and service of a member on its machine.
struct Place {
    data_dir: PathBuf,
    wal_dir: Option<PathBuf>,
    owner: Option<String>,
    service: Option<Service>,
}

async fn place(machine: &Machine, process: &Process) -> Place {
    let settings = etcd::settings(machine, process).await;
    let data_dir = machine.path_of(process, &settings.data_dir);
    let wal_dir = settings.wal_dir.as_deref().map(|dir| machine.path_of(process, dir));
    let wal_dir = wal_dir.filter(|dir| *dir != data_dir.join("member/wal"));
    let stat = Command::new(["stat", "-c", "%U:%G", "--", &data_dir.display().to_string()]);
    let owner = machine.host.run_ok(&stat).await.ok().map(|output| output.text().trim().to_owned());
    let owner = owner.filter(|owner| owner != "root:root" && !owner.contains("UNKNOWN"));
    Place { data_dir, wal_dir, owner, service: service(machine, &process.program) }
}

/// A name no other host has: this one, or the address, which no two have.
fn unused(hosts: &BTreeMap<String, HostSpec>, name: &str, address: &str) -> String {
    let usable = is_name(name) && name != "localhost" && !hosts.contains_key(name);
    if usable { name.to_owned() } else { address.replace(':', "-") }
}

#[cfg(test)]
mod tests {
    use lifeboat_client::messages::Member;

    use super::super::kubernetes::{ApiInfo, NodeInfo};
    use super::*;

    fn member(name: &str, host: &str) -> Member {
        Member {
            name: name.into(),
            peer_urls: vec![format!("https://{host}:2380")],
            client_urls: vec![format!("https://{host}:2379")],
            ..Member::default()
        }
    }

    fn node(name: &str, address: &str) -> NodeInfo {
        NodeInfo { name: name.into(), address: Some(address.into()), machine_id: None }
    }

    /// What a cluster says of its members and nodes becomes commands, paths and unit lines later.
    #[tokio::test]
    async fn names_and_addresses_of_another_form_are_left_out() {
        let members = [
            ("good", "10.0.0.1"),
            ("x|e id", "10.0.0.2"),
            ("x\u{1b}]52;c;aWQ=\u{7}", "10.0.0.3"),
            ("-x", "10.0.0.4"),
            ("../x", "10.0.0.5"),
            ("local-one", "local"),
            ("loopback", "127.0.0.1"),
            ("option", "-oProxyCommand=id"),
            ("user", "root@10.0.0.6"),
        ];
        let nodes = [
            ("good", "10.0.0.1"),
            ("second", "10.0.0.7"),
            ("x\ny", "10.0.0.8"),
            ("option", "-oProxyCommand=id"),
            ("local", "local"),
        ];
        let api = ApiInfo {
            kubeconfig: Vec::new(),
            uid: None,
            nodes: nodes.map(|(name, address)| node(name, address)).to_vec(),
            apiservers: Vec::new(),
        };
        let members = members.map(|(name, host)| member(name, host)).to_vec();
        let found = Found { members: Some(members), api: Some(api), ..Found::default() };
        let inventory = empty("prod".into(), crate::inventory::Ssh::default());
        let mut builder = InventoryBuilder { found, names: Vec::new(), inventory, notes: Vec::new() };
        builder.members().await;
        builder.nodes();
        let InventoryBuilder { inventory, notes, .. } = builder;
        assert_eq!(inventory.etcd.members.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(inventory.kubernetes.nodes.keys().collect::<Vec<_>>(), ["good", "second"]);
        assert_eq!(inventory.hosts.keys().collect::<Vec<_>>(), ["good", "second"]);
        assert_eq!(notes.iter().filter(|note| note.ends_with("left out")).count(), 8 + 3, "{notes:?}");
    }
}
