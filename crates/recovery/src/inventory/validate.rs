//! Semantic checks of an inventory that matches the schema.

pub(crate) mod text;

use std::collections::BTreeMap;
use std::path::Path;

use super::{Cloud, Etcd, HostSpec, Inventory, Kubernetes, Problem, SecretRef, Service, Zstack};

/// Everything wrong with it.
pub(super) fn problems(inventory: &Inventory) -> Vec<Problem> {
    let mut check = Check { hosts: &inventory.hosts, seen: BTreeMap::new(), found: Vec::new() };
    check.that(&["cluster"], text::is_name(&inventory.cluster), NAME);
    let user = inventory.ssh.user.as_deref().is_none_or(text::is_argument);
    check.that(&["ssh", "user"], user, ARGUMENT);
    check.filled(&["hosts"], inventory.hosts.is_empty());
    for (name, host) in &inventory.hosts {
        check.host(name, host);
    }
    check.etcd(&inventory.etcd);
    check.kubernetes(&inventory.kubernetes);
    if let Some(Cloud::Zstack(zstack)) = &inventory.cloud {
        check.zstack(zstack);
    }
    for (index, probe) in inventory.checks.iter().enumerate() {
        let index = index.to_string();
        check.that(&["checks", &index, "name"], !probe.name.is_empty(), "must not be empty");
        check.once(&["checks", &index, "name"], "check", &probe.name);
        check.url(&["checks", &index, "url"], &probe.url, &["http", "https"], true);
    }
    check.found
}

const NAME: &str = "must be letters, digits, - _ and ., and start with a letter or digit";
const ARGUMENT: &str = "must not be empty, start with - or contain spaces";

struct Check<'a> {
    hosts: &'a BTreeMap<String, HostSpec>,
    /// Path of the first use of each unique value, by kind and value.
    seen: BTreeMap<(&'static str, String), String>,
    found: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, path: &[&str], message: impl Into<String>) {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        self.found.push(Problem::at(None, &path, message));
    }

    fn that(&mut self, path: &[&str], is_so: bool, otherwise: &str) {
        if !is_so {
            self.report(path, otherwise);
        }
    }

    fn filled(&mut self, path: &[&str], is_empty: bool) {
        self.that(path, !is_empty, "must not be empty");
    }

    /// Refuses a duplicate of a unique value.
    fn once(&mut self, path: &[&str], kind: &'static str, value: &str) {
        let here = path.join(".");
        match self.seen.get(&(kind, value.to_owned())) {
            Some(first) => {
                let message = format!("{kind} {value} is also {first}");
                self.report(path, message);
            }
            None => drop(self.seen.insert((kind, value.to_owned()), here)),
        }
    }

    fn known_host(&mut self, path: &[&str], name: &str) {
        if !self.hosts.contains_key(name) {
            let known = self.hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.report(path, format!("no such host: {name}; hosts has {known}"));
        }
    }

    fn url(&mut self, path: &[&str], url: &str, schemes: &[&str], with_path: bool) {
        if let Err(why) = text::check_url(url, schemes, with_path) {
            self.report(path, why);
        }
    }

    fn absolute(&mut self, path: &[&str], file: &Path) {
        self.that(path, file.is_absolute(), "must be an absolute path on the machine");
        let plain = !file.to_string_lossy().contains(char::is_control);
        self.that(path, plain, "must not contain control characters");
    }

    fn ip(&mut self, path: &[&str], ip: &str) {
        self.that(path, ip.parse::<std::net::IpAddr>().is_ok(), "must be an IP address");
    }

    fn host(&mut self, name: &str, host: &HostSpec) {
        let at = |field| ["hosts", name, field];
        self.that(&["hosts", name], text::is_name(name), NAME);
        self.that(&at("address"), text::is_host(&host.address), "must be an IP address or a name");
        self.once(&at("address"), "address", &host.address);
        if let Some(ssh) = &host.ssh {
            self.that(&at("ssh"), text::is_argument(ssh), ARGUMENT);
            self.once(&at("ssh"), "destination", ssh);
        }
        if let Some(id) = &host.machine_id {
            self.that(
                &at("machineId"),
                text::is_machine_id(id),
                "must be the 32 hexadecimal digits of /etc/machine-id",
            );
            self.once(&at("machineId"), "machine id", id);
        }
        for (index, role) in host.roles.iter().enumerate() {
            self.that(&["hosts", name, "roles", &index.to_string()], text::is_name(role), NAME);
        }
        let Some(vm) = &host.vm else { return };
        let at = |field| ["hosts", name, "vm", field];
        self.filled(&at("uuid"), vm.uuid.is_empty());
        self.once(&at("uuid"), "VM", &vm.uuid);
        self.filled(&at("nics"), vm.nics.is_empty());
        for (index, nic) in vm.nics.iter().enumerate() {
            let index = index.to_string();
            let at = |field| ["hosts", name, "vm", "nics", &index, field];
            self.filled(&at("l3Network"), nic.l3_network.is_empty());
            self.ip(&at("ip"), &nic.ip);
            self.once(&at("ip"), "NIC address", &format!("{} on {}", nic.ip, nic.l3_network));
            self.that(&at("mac"), text::is_mac(&nic.mac), "must be a MAC such as fa:16:3e:00:00:01");
            self.once(&at("mac"), "MAC", &nic.mac.to_lowercase());
        }
    }

    fn etcd(&mut self, etcd: &Etcd) {
        self.filled(&["etcd", "members"], etcd.members.is_empty());
        for (name, member) in &etcd.members {
            let at = |field| ["etcd", "members", name, field];
            self.that(&["etcd", "members", name], text::is_name(name), NAME);
            self.known_host(&at("host"), &member.host);
            for (field, url) in [("clientUrl", &member.client_url), ("peerUrl", &member.peer_url)] {
                self.url(&at(field), url, &["http", "https"], false);
                self.once(&at(field), "URL", url);
            }
            self.absolute(&at("dataDir"), &member.data_dir);
            let place = format!("{} of {}", member.data_dir.display(), member.host);
            self.once(&at("dataDir"), "data dir", &place);
            if let Some(wal_dir) = &member.wal_dir {
                self.absolute(&at("walDir"), wal_dir);
                let place = format!("{} of {}", wal_dir.display(), member.host);
                self.once(&at("walDir"), "data dir", &place);
                self.that(
                    &at("walDir"),
                    !wal_dir.starts_with(&member.data_dir),
                    "must be outside the data dir; omit it if the WAL is in its default place",
                );
            }
            self.service(&at("service"), &member.service);
            if let Some(owner) = &member.owner {
                let named = owner.split(':').count() <= 2 && owner.split(':').all(text::is_name);
                self.that(&at("owner"), named, "must be user or user:group");
            }
        }
    }

    fn kubernetes(&mut self, kubernetes: &Kubernetes) {
        self.filled(&["kubernetes", "controlPlane"], kubernetes.control_plane.is_empty());
        for (name, spec) in &kubernetes.control_plane {
            let at = |field| ["kubernetes", "controlPlane", name, field];
            self.known_host(&["kubernetes", "controlPlane", name], name);
            self.url(&at("url"), &spec.url, &["https"], false);
            self.once(&at("url"), "URL", &spec.url);
            self.service(&at("apiserver"), &spec.apiserver);
            self.service(&at("controllerManager"), &spec.controller_manager);
            self.service(&at("scheduler"), &spec.scheduler);
            if let Some(certificate) = &spec.certificate {
                self.absolute(&at("certificate"), certificate);
            }
        }
        for (name, node) in &kubernetes.nodes {
            self.known_host(&["kubernetes", "nodes", name], name);
            self.unit(&["kubernetes", "nodes", name, "kubelet"], &node.kubelet);
            let object = node.name.as_deref().unwrap_or(name);
            self.that(&["kubernetes", "nodes", name, "name"], text::is_name(object), NAME);
            self.once(&["kubernetes", "nodes", name, "name"], "node", object);
        }
    }

    fn service(&mut self, path: &[&str], service: &Service) {
        match service {
            Service::Unit(unit) => self.unit(&[path, &["unit"]].concat(), unit),
            Service::StaticPod(pod) => {
                let path = [path, &["staticPod"]].concat();
                self.absolute(&[path.as_slice(), &["manifest"]].concat(), &pod.manifest);
                let program = text::is_argument(&pod.process) && !pod.process.contains('/');
                self.that(
                    &[path.as_slice(), &["process"]].concat(),
                    program,
                    "must be the name of a program",
                );
            }
        }
    }

    fn unit(&mut self, path: &[&str], unit: &str) {
        self.that(path, text::is_unit(unit), "must be a systemd unit, such as etcd.service");
    }

    fn zstack(&mut self, zstack: &Zstack) {
        let at = |field| ["cloud", "zstack", field];
        self.url(&at("endpoint"), &zstack.endpoint, &["http", "https"], true);
        let secrets =
            [("accessKeyId", &zstack.access_key_id), ("accessKeySecret", &zstack.access_key_secret)];
        for (field, secret) in secrets {
            let (kind, is_empty) = match secret {
                SecretRef::Env(name) => ("env", name.is_empty()),
                SecretRef::File(path) => ("file", path.as_os_str().is_empty()),
            };
            self.filled(&["cloud", "zstack", field, kind], is_empty);
        }
        for (index, range) in zstack.ip_ranges.iter().enumerate() {
            let index = index.to_string();
            let at = |field| ["cloud", "zstack", "ipRanges", &index, field];
            self.filled(&at("l3Network"), range.l3_network.is_empty());
            let addresses = [
                ("startIp", &range.start_ip),
                ("endIp", &range.end_ip),
                ("netmask", &range.netmask),
                ("gateway", &range.gateway),
            ];
            for (field, address) in addresses {
                self.ip(&at(field), address);
            }
            if let Some(why) = text::wrong_range(&range.start_ip, &range.end_ip, &range.netmask) {
                self.report(&["cloud", "zstack", "ipRanges", &index], why);
            }
        }
    }
}
