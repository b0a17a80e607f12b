//! Actions of steps. Each action can be checked for completion and is idempotent.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StateSource;
use crate::facts::DataDirs;
use crate::inventory::{IpRangeSpec, NicSpec, Service};

/// Something done to the cloud, a machine or etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Check all guards of the plan before anything is touched.
    Preflight,
    /// Recreate a missing IP range of the cloud.
    CreateIpRange {
        /// Range, as in the inventory.
        range: IpRangeSpec,
    },
    /// Attach a NIC with its address and MAC.
    AttachNic {
        /// Inventory name of the machine.
        host: String,
        /// The cloud's id of its VM.
        vm: String,
        /// NIC, as in the inventory.
        nic: NicSpec,
    },
    /// Power on a VM.
    StartVm {
        /// Inventory name of the machine.
        host: String,
        /// The cloud's id of its VM.
        vm: String,
    },
    /// Wait until machines accept logins and have the right machine id.
    WaitForHosts {
        /// Inventory names of the machines.
        hosts: Vec<String>,
    },
    /// Wait for dependents to recover; ends early once all is well, or clearly will not be. Never fails: the next
    /// round decides from its own observation.
    #[serde(rename = "settle")]
    Stabilize {
        /// Longest wait in seconds.
        seconds: u64,
    },
    /// Stop services and prevent any start, even across reboots.
    Fence {
        /// Machine and service.
        services: Vec<HostService>,
    },
    /// Remove the fence and start services.
    Release {
        /// Machine and service.
        services: Vec<HostService>,
    },
    /// Start services that are stopped.
    Start {
        /// Machine and service.
        services: Vec<HostService>,
    },
    /// Restart services, one after the other.
    Restart {
        /// Machine and service.
        services: Vec<HostService>,
    },
    /// Enable services at boot.
    Enable {
        /// Machine and service.
        services: Vec<HostService>,
    },
    /// Send the state to restore to the machines, as a snapshot file verified by its digest.
    Distribute {
        /// Where it comes from.
        source: StateSource,
        /// Revision it must have at least; less means that the facts were wrong.
        revision: Option<i64>,
        /// Machines that get it.
        hosts: Vec<String>,
    },
    /// Verify, once everything is fenced, that the source of a distributed state is unchanged.
    ConfirmState {
        /// Where it comes from.
        source: StateSource,
        /// Revision it must have at least.
        revision: Option<i64>,
        /// Machines that get it.
        hosts: Vec<String>,
    },
    /// Rename a member's old data dir, and its WAL dir.
    MoveAside {
        /// Name of the etcd member.
        member: String,
        /// What is renamed.
        dirs: DataDirs,
        /// The data dir's new name.
        to: PathBuf,
    },
    /// Write a member's data dir from the distributed state.
    RestoreMember {
        /// Name of the etcd member.
        member: String,
        /// Where it is written.
        dirs: DataDirs,
        /// The cluster that it becomes a member of.
        cluster: RestoredCluster,
    },
    /// Wait until members form a cluster with one leader, equal HashKV and no CORRUPT alarm.
    WaitForEtcd {
        /// Names of the etcd members.
        members: Vec<String>,
        /// What they must serve, where a restore has written it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<RestoredCluster>,
    },
    /// Remove an old member from the cluster.
    RemoveMember {
        /// Name of the etcd member.
        member: String,
        /// Its id in hexadecimal.
        id: String,
    },
    /// Add a member as a learner and start it with an empty data dir.
    AddLearner {
        /// Name of the etcd member.
        member: String,
        /// Its data dir, and where its old one was moved from.
        dirs: DataDirs,
    },
    /// Make a learner that has caught up a voting member.
    PromoteLearner {
        /// Name of the etcd member.
        member: String,
    },
    /// Compact history, defragment members one after the other, and clear the NOSPACE alarms.
    ClearNospace {
        /// Names of the etcd members.
        members: Vec<String>,
    },
    /// Disarm the CORRUPT alarm of an id that is no longer in the cluster, or of none, where all members hold the same data.
    DisarmCorrupt {
        /// The id, in hexadecimal.
        id: String,
    },
    /// Wait until API servers are ready.
    WaitForApiservers {
        /// Inventory names of their machines.
        hosts: Vec<String>,
    },
    /// Release the leader leases of the fenced controller-managers and schedulers.
    ReleaseLeases {
        /// The services that could hold one, with their machines.
        candidates: Vec<HostService>,
    },
    /// Wait until a controller-manager and a scheduler lead.
    WaitForLeaders,
    /// Wait until nodes are Ready; kubelets that do not recover by themselves are restarted. Remaining nodes do not
    /// block other steps.
    RecoverNodes {
        /// Inventory names of their machines.
        hosts: Vec<String>,
    },
    /// Cordon and drain a node that is still not Ready, reboot its machine, and uncordon it. Only with an operator's
    /// consent, and never a machine that has a role.
    RebootNode {
        /// Inventory name of its machine.
        host: String,
    },
    /// Wait until the inventory's checks pass.
    WaitForChecks {
        /// Names of the checks.
        checks: Vec<String>,
    },
    /// Remove the distributed state and Lifeboat's program from machines.
    CleanUp {
        /// Inventory names of the machines.
        hosts: Vec<String>,
    },
}

/// Input of the ids of a restored cluster and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoredCluster {
    /// Value of etcd's `--initial-cluster`.
    pub initial_cluster: String,
    /// `--initial-cluster-token`; its own for every restore.
    pub token: String,
}

/// A service on a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostService {
    /// Inventory name of the machine.
    pub host: String,
    /// Unit or static pod.
    pub service: Service,
}

/// The name an old data dir gets.
pub(crate) fn aside(data_dir: &Path, plan: &str) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(format!(".lifeboat-{plan}"));
    name.into()
}
