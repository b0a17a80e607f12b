//! What a machine says over SSH.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Certificate, Fact};
use crate::inventory::Service;

/// What a machine says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// Whether Lifeboat can log in. Everything below is unknown where it cannot.
    pub login: Fact<Login>,
    /// Content of `/etc/machine-id`.
    pub machine_id: Fact<String>,
    /// `/proc/sys/kernel/random/boot_id`: changes with every boot.
    pub boot_id: Fact<String>,
    /// Kernel and architecture, as `uname -sm` prints them: `Linux x86_64`; absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Fact<String>>,
    /// Its clock minus ours, in seconds, as far as it is sure: what the time of asking can explain is left out.
    pub clock_offset: Fact<f64>,
    /// The file systems that hold `/`, `/var/log` and the data dirs, by mount point.
    pub disks: Fact<BTreeMap<PathBuf, Disk>>,
    /// The inventory's services on it, by unit or manifest.
    pub services: Fact<BTreeMap<String, ServiceState>>,
    /// What recoveries left on it.
    #[serde(default, skip_serializing_if = "Leftovers::is_empty")]
    pub leftovers: Leftovers,
    /// The kubelet's own health, on machines that are nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<Fact<KubeletHealth>>,
    /// The kubelet's connection to the API; asked for only where its node is not Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_api: Option<Fact<KubeletApi>>,
    /// What services that do not run logged last; asked for only where one does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Fact<ServiceLogs>>,
}

/// The platform that this binary is built for, as `uname -sm` prints it there.
pub fn own_platform() -> String {
    let kernel = match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    };
    format!("{kernel} {}", std::env::consts::ARCH)
}

/// How a kubelet connects to the API, seen from its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeletApi {
    /// `server` in its kubeconfig.
    pub server: String,
    /// Whether a TCP connection to that server can be made.
    pub reach: Reach,
    /// Its client certificate; absent where it has none or it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// Whether a TCP connection can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// It was made.
    Connected,
    /// It was not, and why: `Connection refused`, `no answer within 2 s`.
    Failed(String),
}

/// The last errors that services logged, by [`Service::key`](crate::inventory::Service::key), the last one last. Values that
/// look like secrets are replaced on the machine.
pub type ServiceLogs = BTreeMap<String, Vec<String>>;

/// What recoveries left on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftovers {
    /// Whether an operation holds the operator lock: what it sent is in use.
    #[serde(default)]
    pub locked: bool,
    /// Directories with state that was sent there, which holds every Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<PathBuf>,
    /// Old data dirs that were moved aside. They are never removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<PathBuf>,
}

impl Leftovers {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a machine accepts our login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Login {
    /// A command ran there.
    Ok,
    /// No answer at the address: no route, timeout, connection refused.
    Unreachable(String),
    /// The host key is not the one in `known_hosts`: another machine, or one in between.
    HostKeyChanged(String),
    /// The machine accepted none of our credentials.
    Denied(String),
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that can still be written.
    pub available: u64,
    /// Files that can still be made; absent where the file system knows no such limit, or does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_inodes: Option<u64>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// A service on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// systemd's `ActiveState`, or `active`/`inactive` for the process of a static pod.
    pub active: String,
    /// systemd's `SubState`, such as `running`, `auto-restart`; its `LoadState` where that is not `loaded`, such as
    /// `not-found`, `masked`; empty for a static pod.
    pub sub: String,
    /// Whether it comes back by itself: the unit is enabled, or the manifest is in place.
    pub enabled: bool,
    /// Whether it is fenced.
    pub fenced: bool,
    /// How often systemd has restarted it since it was last started by hand.
    pub restarts: u32,
    /// The processes on the machine's own network that are called as a static pod's program is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<PodProcess>,
}

/// A process that is called as a static pod's program is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodProcess {
    /// How it compares with the pod of the manifest.
    pub told_by: ToldBy,
    /// Process id.
    pub pid: u32,
    /// Its pod or unit, and the flags that identify it.
    pub what: String,
}

/// What tells whether a process is the one of a static pod; the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToldBy {
    /// Its cgroup is that of the manifest's pod.
    Pod,
    /// Its flags, such as `--name` and `--data-dir`, equal the manifest's.
    Flags,
    /// Nothing: it may be the pod's.
    Unclear,
    /// It is another pod's, another instance, or run by a systemd unit.
    Other,
}

impl ServiceState {
    /// Whether the machine has no definition of the service: no such unit, or neither manifest nor a fenced one.
    pub fn is_undefined(&self, service: &Service) -> bool {
        match service {
            Service::Unit(_) => self.sub == "not-found",
            Service::StaticPod(_) => !self.enabled && !self.fenced,
        }
    }

    /// The processes that could each be the static pod's where nothing tells which is; empty where it is clear.
    pub fn ambiguous(&self) -> Vec<&PodProcess> {
        let surest = self.processes.iter().map(|process| process.told_by).min();
        match surest {
            Some(way @ (ToldBy::Flags | ToldBy::Unclear)) => {
                let same: Vec<_> = self.processes.iter().filter(|process| process.told_by == way).collect();
                if same.len() > 1 { same } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// Whether it runs and is past its start.
    pub fn is_running(&self) -> bool {
        self.active == "active"
    }
}

/// What the kubelet says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeletHealth {
    /// Whether `/healthz` said ok.
    pub ok: bool,
    /// What it said, or why it said nothing.
    pub detail: String,
}

/// Whether systemd starts a unit at boot, by its `UnitFileState`.
pub(crate) fn starts_at_boot(unit_file_state: &str) -> bool {
    matches!(unit_file_state, "enabled" | "enabled-runtime" | "alias" | "static" | "generated")
}
