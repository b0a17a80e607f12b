//! The machines of a lab, with their addresses and roles.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The cluster's Service addresses.
pub(crate) const SERVICE_CIDR: &str = "10.68.0.0/16";
/// The first Service address: the API's.
pub(crate) const API_SERVICE: &str = "10.68.0.1";
/// The Service address of CoreDNS.
pub(crate) const DNS_SERVICE: &str = "10.68.0.2";
/// The Pods' addresses. Each machine has a /24, by the last octet of its address.
pub(crate) const POD_CIDR: &str = "172.20.0.0/16";
/// The node port of the sample workload.
pub const WEB_PORT: u16 = 30080;

/// Which machines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// The incident's: m1 master, m2 and m3 master and etcd, e1 etcd only, an NFS server, nodes n1 and n2.
    Full,
    /// m1, m2 and m3, each master and etcd; no nodes.
    Small,
}

/// How the control plane is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// systemd units, with files where kubeasz puts them.
    Systemd,
    /// Static Pods, with files where kubeadm puts them.
    StaticPods,
}

/// As `lab up --topology` takes it.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Small => "small",
        })
    }
}

/// As `lab up --layout` takes it.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd",
            Self::StaticPods => "static-pods",
        })
    }
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// kube-apiserver, kube-controller-manager and kube-scheduler.
    Master,
    /// An etcd member.
    Etcd,
    /// Serves files over NFS.
    Nfs,
    /// Runs workloads.
    Node,
}

impl Role {
    /// The role's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Etcd => "etcd",
            Self::Nfs => "nfs",
            Self::Node => "node",
        }
    }
}

/// The specification of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Hostname, and node name.
    pub name: String,
    /// The cloud's id of it: 32 hex digits.
    pub uuid: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The static address of its NIC.
    pub ip: Ipv4Addr,
    /// The MAC of its NIC, which the address is bound to.
    pub mac: String,
    /// What it does.
    pub roles: Vec<Role>,
}

impl MachineSpec {
    fn new(name: &str, octet: u8, roles: &[Role]) -> Self {
        let id = || format!("{:032x}", fastrand::u128(..));
        Self {
            name: name.into(),
            uuid: id(),
            machine_id: id(),
            ip: Ipv4Addr::new(10, 123, 0, octet),
            mac: format!("52:54:00:7b:00:{octet:02x}"),
            roles: roles.to_vec(),
        }
    }

    /// Whether it has this role.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The address range of its Pods.
    pub(crate) fn pod_cidr(&self) -> String {
        format!("172.20.{}.0/24", self.ip.octets()[3])
    }

    /// The name of its etcd member.
    #[must_use]
    pub fn member_name(&self, layout: Layout) -> String {
        match layout {
            // As kubeasz and kubeadm name them.
            Layout::Systemd => format!("etcd-{}", self.ip),
            Layout::StaticPods => self.name.clone(),
        }
    }
}

/// The specification of a lab, saved in its state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Which machines there are.
    pub topology: Topology,
    /// How their control plane is run.
    pub layout: Layout,
    /// The machines.
    pub machines: Vec<MachineSpec>,
}

impl Blueprint {
    /// A new lab; each call generates new ids.
    pub(crate) fn new(topology: Topology, layout: Layout) -> Self {
        use Role::{Etcd, Master, Nfs, Node};
        let machines = match topology {
            Topology::Full => vec![
                MachineSpec::new("m1", 231, &[Master]),
                MachineSpec::new("m2", 232, &[Master, Etcd]),
                MachineSpec::new("m3", 233, &[Master, Etcd]),
                MachineSpec::new("e1", 230, &[Etcd]),
                MachineSpec::new("nfs", 240, &[Nfs]),
                MachineSpec::new("n1", 234, &[Node]),
                // Outside the range that the incident deletes.
                MachineSpec::new("n2", 222, &[Node]),
            ],
            Topology::Small => vec![
                MachineSpec::new("m1", 231, &[Master, Etcd]),
                MachineSpec::new("m2", 232, &[Master, Etcd]),
                MachineSpec::new("m3", 233, &[Master, Etcd]),
            ],
        };
        Self { topology, layout, machines }
    }

    /// The machine called `name`.
    pub fn machine(&self, name: &str) -> Result<&MachineSpec> {
        self.machines.iter().find(|machine| machine.name == name).with_context(|| {
            let names: Vec<&str> = self.machines.iter().map(|machine| machine.name.as_str()).collect();
            format!("no machine is called {name}; the machines are {}", names.join(", "))
        })
    }

    /// The machines with a role, in order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &MachineSpec> {
        self.machines.iter().filter(move |machine| machine.is(role))
    }

    /// Whether the machine runs containers.
    pub(crate) fn runs_kubelet(&self, machine: &MachineSpec) -> bool {
        machine.is(Role::Node)
            || self.layout == Layout::StaticPods && (machine.is(Role::Master) || machine.is(Role::Etcd))
    }

    /// Whether the machine is a Node of the cluster. The kubelet of a machine with only an etcd member uses no
    /// apiserver, as in kubeadm's guide to external etcd.
    pub(crate) fn is_kubernetes_node(&self, machine: &MachineSpec) -> bool {
        self.runs_kubelet(machine) && (machine.is(Role::Node) || machine.is(Role::Master))
    }

    /// The value of `--initial-cluster`.
    #[must_use]
    pub fn initial_cluster(&self) -> String {
        let peers: Vec<String> = self
            .with_role(Role::Etcd)
            .map(|machine| format!("{}=https://{}:2380", machine.member_name(self.layout), machine.ip))
            .collect();
        peers.join(",")
    }

    /// The client URLs of all etcd members.
    #[must_use]
    pub fn etcd_endpoints(&self) -> Vec<String> {
        self.with_role(Role::Etcd).map(|machine| format!("https://{}:2379", machine.ip)).collect()
    }

    /// The URL of a master's apiserver.
    #[must_use]
    pub fn api_url(master: &MachineSpec) -> String {
        format!("https://{}:6443", master.ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_topology_is_that_of_the_incident() {
        let lab = Blueprint::new(Topology::Full, Layout::Systemd);
        let octets = |role| lab.with_role(role).map(|machine| machine.ip.octets()[3]).collect::<Vec<_>>();
        assert_eq!(octets(Role::Master), [231, 232, 233]);
        assert_eq!(octets(Role::Etcd), [232, 233, 230]);
        // One node loses its NIC in the incident, the other does not.
        assert_eq!(octets(Role::Node), [234, 222]);
    }

    #[test]
    fn masters_run_a_kubelet_only_for_static_pods() {
        for (layout, expected) in [(Layout::Systemd, false), (Layout::StaticPods, true)] {
            let lab = Blueprint::new(Topology::Full, layout);
            assert_eq!(lab.runs_kubelet(lab.machine("m1").unwrap()), expected);
            assert!(!lab.is_kubernetes_node(lab.machine("e1").unwrap()));
            assert!(!lab.runs_kubelet(lab.machine("nfs").unwrap()));
        }
    }
}
