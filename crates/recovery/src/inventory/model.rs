//! The shape of `lifeboat.yaml`. Unknown fields are refused, so that a typing error is never a silent default.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use lifeboat_etcd::KubernetesIdentity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one cluster is meant to be: its machines, what runs on them, and how to reach it all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the cluster, for messages, the journal and the operator lock.
    pub cluster: String,
    /// SSH settings.
    #[serde(default, skip_serializing_if = "Ssh::is_default")]
    pub ssh: Ssh,
    /// The machines, by the name that the other sections use.
    pub hosts: BTreeMap<String, HostSpec>,
    /// The etcd cluster.
    pub etcd: Etcd,
    /// The Kubernetes control plane.
    pub kubernetes: Kubernetes,
    /// The cloud that runs the machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,
    /// Snapshots to fall back to: files, or directories of snapshot files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<PathBuf>,
    /// Checks that must pass at the end of every recovery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// SSH settings; everything else comes from OpenSSH's own configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ssh {
    /// Login user; default: from `ssh_config`. Must be root or have passwordless `sudo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// An `ssh_config` to use instead of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
}

impl Inventory {
    /// The services a machine has: its etcd members, control plane and kubelet.
    pub fn services_on(&self, host: &str) -> Vec<Service> {
        let members = self.etcd.members.values().filter(|member| member.host == host);
        let mut services: Vec<Service> = members.map(|member| member.service.clone()).collect();
        if let Some(spec) = self.kubernetes.control_plane.get(host) {
            services.extend([&spec.apiserver, &spec.controller_manager, &spec.scheduler].map(Clone::clone));
        }
        services.extend(self.kubernetes.nodes.get(host).map(|node| Service::Unit(node.kubelet.clone())));
        services
    }

    /// etcd's `--initial-cluster` of all members.
    pub fn initial_cluster(&self) -> String {
        let members = self.etcd.members.iter();
        members.map(|(name, member)| format!("{name}={}", member.peer_url)).collect::<Vec<_>>().join(",")
    }

    /// What the Node object of a machine is called.
    pub fn node_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.kubernetes.nodes.get(host).and_then(|node| node.name.as_deref()).unwrap_or(host)
    }

    /// The unit of a machine's kubelet; the usual name where the inventory does not list the machine as a node.
    pub fn kubelet_on(&self, host: &str) -> String {
        self.kubernetes.nodes.get(host).map_or_else(kubelet_unit, |node| node.kubelet.clone())
    }

    /// Whether a machine has an etcd member or a part of the control plane: without too many of these nothing works.
    pub fn holds_cluster_up(&self, host: &str) -> bool {
        self.kubernetes.control_plane.contains_key(host)
            || self.etcd.members.values().any(|member| member.host == host)
    }

    /// Whether a machine does more than run pods: it has an etcd member, a part of the control plane, or a role.
    pub fn has_role(&self, host: &str) -> bool {
        self.holds_cluster_up(host) || self.hosts.get(host).is_none_or(|spec| !spec.roles.is_empty())
    }
}

impl Kubernetes {
    /// The names of the Node objects that the cluster is meant to have.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|(host, node)| node.name.as_deref().unwrap_or(host))
    }

    /// Whether a state is this cluster's: by the UID of kube-system where that is known, else by its nodes. True where neither
    /// tells.
    pub fn owns(&self, identity: &KubernetesIdentity) -> bool {
        match (&self.uid, &identity.uid) {
            (Some(ours), Some(theirs)) => return ours == theirs,
            // It has no kube-system at all, and this cluster has had one.
            (Some(_), None) if identity.prefix.is_empty() => return false,
            // Encrypted at rest.
            _ => {}
        }
        let all_listed = identity.nodes.len() as u64 == identity.node_count;
        self.nodes.is_empty() || !all_listed || self.node_names().any(|name| identity.nodes.contains(name))
    }
}

impl Ssh {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A machine of the cluster, or one that the cluster depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// IP address or host name.
    pub address: String,
    /// Destination for `ssh`; default: the address. `local` is the machine Lifeboat runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// `/etc/machine-id`, to detect that another machine answers at the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Its VM and NICs in the cloud, to be restored if they are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Vm>,
    /// Services outside the control plane that others depend on, such as `nfs`. Lifeboat never reboots a machine with a role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// A VM in the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vm {
    /// The cloud's id of the VM.
    pub uuid: String,
    /// NICs that the VM must have.
    pub nics: Vec<NicSpec>,
}

/// The required settings of a NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NicSpec {
    /// The cloud's id of the L3 network.
    pub l3_network: String,
    /// IP address of the NIC.
    pub ip: String,
    /// Its MAC address; guests select the interface name and configuration by it.
    pub mac: String,
}

/// The etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etcd {
    /// TLS files for the client URLs, on the machine Lifeboat runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The members, by etcd's `--name`.
    pub members: BTreeMap<String, MemberSpec>,
}

/// Files of a TLS client, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientTls {
    /// CA of the servers' certificates.
    pub ca: PathBuf,
    /// Client certificate in PEM.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An etcd member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberSpec {
    /// Name of its machine.
    pub host: String,
    /// URL for clients.
    pub client_url: String,
    /// URL for other members: `--initial-advertise-peer-urls`.
    pub peer_url: String,
    /// `--data-dir` on its machine.
    pub data_dir: PathBuf,
    /// `--wal-dir` on its machine; default: in the data dir.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_dir: Option<PathBuf>,
    /// The service that runs it.
    pub service: Service,
    /// Owner of the data dir, user and group; default: those of the existing data dir, else the service's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// The service that runs a component on its machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Service {
    /// A systemd unit, such as `etcd.service`.
    Unit(String),
    /// A static pod, run by the kubelet.
    StaticPod(StaticPod),
}

impl Service {
    /// What names it on its machine: the unit, or the path of the manifest.
    pub fn key(&self) -> String {
        match self {
            Self::Unit(unit) => unit.clone(),
            Self::StaticPod(pod) => pod.manifest.display().to_string(),
        }
    }

    /// What people call it: the unit, or the program in the static pod.
    pub fn label(&self) -> &str {
        match self {
            Self::Unit(unit) => unit,
            Self::StaticPod(pod) => &pod.process,
        }
    }
}

/// A static pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticPod {
    /// The manifest, such as `/etc/kubernetes/manifests/etcd.yaml`.
    pub manifest: PathBuf,
    /// Name of the program, to see whether it runs: `etcd`, `kube-apiserver`.
    pub process: String,
}

/// The Kubernetes control plane and its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// A kubeconfig with cluster-admin rights, on the machine Lifeboat runs on. Its server is replaced by
    /// the `url` of each control plane machine.
    pub kubeconfig: PathBuf,
    /// UID of the namespace kube-system, by which a state of this cluster is told from another cluster's. `lifeboat init`
    /// writes it; `kubectl get namespace kube-system -o jsonpath={.metadata.uid}` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The machines of the control plane, by name. `masters` is the field's old name.
    #[serde(alias = "masters")]
    pub control_plane: BTreeMap<String, ControlPlaneSpec>,
    /// The nodes, by the name of their machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeSpec>,
}

/// A control plane machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneSpec {
    /// URL of its own API server, not of a load balancer.
    pub url: String,
    /// The service that runs the API server.
    pub apiserver: Service,
    /// The service that runs the controller-manager.
    pub controller_manager: Service,
    /// The service that runs the scheduler.
    pub scheduler: Service,
    /// The API server's serving certificate on its machine, checked for expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
}

/// A Kubernetes node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// Name of the Node object; default: the machine's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kubelet's unit.
    #[serde(default = "kubelet_unit")]
    pub kubelet: String,
}

fn kubelet_unit() -> String {
    "kubelet.service".into()
}

/// The cloud that runs the machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Cloud {
    /// A ZStack cloud.
    Zstack(Zstack),
}

/// Access to a ZStack management node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zstack {
    /// Its API, such as `https://10.0.0.2:8443`.
    pub endpoint: String,
    /// CAs to verify its certificate with, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Id of the AccessKey.
    pub access_key_id: SecretRef,
    /// Secret of the AccessKey.
    pub access_key_secret: SecretRef,
    /// The IP ranges the machines' addresses lie in: re-made when they are gone, since no NIC can be attached
    /// with an address outside of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_ranges: Vec<IpRangeSpec>,
}

impl Zstack {
    /// Whether what is sent to it can be read and changed on the way: ZStack's signature covers neither the body nor the
    /// query of a request.
    pub fn is_exposed(&self) -> bool {
        let Ok(url) = self.endpoint.parse::<http::Uri>() else { return false };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_here = host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
        url.scheme_str() == Some("http") && !is_here
    }
}

/// An IP range of an L3 network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IpRangeSpec {
    /// The cloud's id of the L3 network.
    pub l3_network: String,
    /// Name of the range.
    pub name: String,
    /// First address of the range.
    pub start_ip: String,
    /// Last address of the range.
    pub end_ip: String,
    /// Netmask, such as 255.255.255.0.
    pub netmask: String,
    /// Gateway of the range.
    pub gateway: String,
}

impl IpRangeSpec {
    /// Whether an address lies in it.
    pub fn contains(&self, ip: &str) -> bool {
        is_between(&self.start_ip, &self.end_ip, ip)
    }

    /// Whether another range of the same network lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.l3_network == other.l3_network && self.contains(&other.start_ip) && self.contains(&other.end_ip)
    }
}

/// Whether an address lies between two others, these included; nothing lies between texts that are not addresses.
pub(crate) fn is_between(start: &str, end: &str, ip: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    match (address(start), address(end), address(ip)) {
        (Some(start), Some(end), Some(ip)) => (start..=end).contains(&ip),
        _ => false,
    }
}

/// Where a secret is kept. Its text never stands in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file, without its last newline.
    File(PathBuf),
}

/// A URL that must answer when the cluster is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// Its name, for messages.
    pub name: String,
    /// A URL that must answer with a status below 400.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_without_kube_system_is_not_that_of_a_cluster_that_had_one() {
        let kubernetes = |uid: Option<&str>| Kubernetes {
            kubeconfig: PathBuf::new(),
            uid: uid.map(str::to_owned),
            control_plane: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        let identity = |prefix: &str, uid: Option<&str>| KubernetesIdentity {
            prefix: prefix.into(),
            uid: uid.map(str::to_owned),
            ..KubernetesIdentity::default()
        };
        for (ours, prefix, theirs, owns) in [
            (Some("a"), "/registry", Some("a"), true),
            (Some("a"), "/registry", Some("b"), false),
            (Some("a"), "", None, false),
            // Encrypted at rest, and an inventory that does not know.
            (Some("a"), "/registry", None, true),
            (None, "", None, true),
        ] {
            assert_eq!(
                kubernetes(ours).owns(&identity(prefix, theirs)),
                owns,
                "{ours:?} {prefix:?} {theirs:?}"
            );
        }
    }
}
