//! The ids of findings.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! finding_ids {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)+) => {
        /// Id of a kind of finding. An id never changes its meaning; `docs/findings` has a page for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FindingId {
            $($(#[$doc])* #[serde(rename = $id)] $name,)+
        }

        impl FindingId {
            /// All ids, from the ground up.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The id as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// The id that is written so.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|id| id.as_str() == text)
            }

            /// Its page's first sentence.
            pub fn title(self) -> &'static str {
                self.page().lines().nth(2).unwrap_or_default()
            }

            /// Its page in `docs/findings`, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../../docs/findings/", $id, ".md"))),+ }
            }
        }
    };
}

finding_ids! {
    /// The cloud's API is unavailable.
    CloudUnreachable = "cloud.unreachable",
    /// The cloud has no NIC with a machine's address.
    NicMissing = "nic.missing",
    /// A NIC has another MAC or address than in the inventory.
    NicChanged = "nic.changed",
    /// A VM is powered off.
    VmStopped = "vm.stopped",
    /// The cloud does not know a machine's VM.
    VmMissing = "vm.missing",
    /// A machine does not answer on SSH.
    HostUnreachable = "host.unreachable",
    /// A machine shows another host key than the known one.
    HostKeyChanged = "host.key-changed",
    /// Another machine answers at a machine's address.
    HostWrongMachine = "host.wrong-machine",
    /// The inventory has no machine id for a machine.
    HostNoMachineId = "host.no-machine-id",
    /// Access to a machine is denied.
    HostDenied = "host.denied",
    /// A machine's clock is off.
    HostClockSkew = "host.clock-skew",
    /// A file system a control plane writes to is full.
    HostDiskFull = "host.disk-full",
    /// A file system a control plane writes to is mounted read-only.
    HostDiskReadOnly = "host.disk-read-only",
    /// A machine has lost its units and data.
    HostReset = "host.reset",
    /// A service runs but is not enabled at boot.
    ServiceDisabled = "service.disabled",
    /// A Lifeboat operation is unfinished.
    OperationPending = "operation.pending",
    /// A service is fenced by an unfinished recovery.
    ServiceFenced = "service.fenced",
    /// A finished recovery left the cluster's state on a machine.
    HostLeftovers = "host.leftovers",
    /// etcd has no quorum: no writes, and no linearizable reads.
    EtcdQuorumLost = "etcd.quorum-lost",
    /// etcd serves data without this cluster's nodes, or less than a member had committed.
    EtcdStateLost = "etcd.state-lost",
    /// A member outside the cluster has more data than the cluster.
    EtcdStateConflict = "etcd.state-conflict",
    /// An etcd member is stopped, does not answer or is partitioned from the others, and its data is sound or not
    /// known to be damaged.
    EtcdMemberDown = "etcd.member.down",
    /// An etcd member's data is damaged.
    EtcdMemberCorrupt = "etcd.member.corrupt",
    /// An etcd member's data dir is gone.
    EtcdMemberDataMissing = "etcd.member.data-missing",
    /// An etcd member's service keeps its data in another directory than the inventory says.
    EtcdMemberWrongDataDir = "etcd.member.wrong-data-dir",
    /// An etcd member has different data than the others at the same revision.
    EtcdMemberDiverged = "etcd.member.diverged",
    /// An etcd member belongs to another cluster, or the others do not count it as a member.
    EtcdMemberForeign = "etcd.member.foreign",
    /// An etcd member has the data but no vote.
    EtcdMemberLearner = "etcd.member.learner",
    /// Etcd has a member that is not in the inventory.
    EtcdMemberUnlisted = "etcd.member.unlisted",
    /// The db has reached its quota; etcd refuses writes.
    EtcdNospace = "etcd.nospace",
    /// etcd itself found a member with different data than the others.
    EtcdCorruptAlarm = "etcd.corrupt-alarm",
    /// An API server does not answer.
    ApiserverDown = "apiserver.down",
    /// An API server answers but is not ready.
    ApiserverNotReady = "apiserver.not-ready",
    /// An API server's certificate has expired.
    ApiserverCertExpired = "apiserver.cert-expired",
    /// An API server's certificate expires within 30 days.
    ApiserverCertExpiring = "apiserver.cert-expiring",
    /// No controller-manager holds a valid leader lease.
    ControllerManagerNoLeader = "controller-manager.no-leader",
    /// A controller-manager is stopped.
    ControllerManagerDown = "controller-manager.down",
    /// No scheduler holds a valid leader lease.
    SchedulerNoLeader = "scheduler.no-leader",
    /// A scheduler is stopped.
    SchedulerDown = "scheduler.down",
    /// A node is not Ready.
    NodeNotReady = "node.not-ready",
    /// A kubelet is stopped.
    NodeKubeletDown = "node.kubelet-down",
    /// A kubelet runs but does not answer.
    NodeKubeletHung = "node.kubelet-hung",
    /// A kubelet's client certificate has expired.
    NodeKubeletCertExpired = "node.kubelet-cert-expired",
    /// A kubelet cannot reach its API server.
    NodeApiUnreachable = "node.api-unreachable",
    /// A Node object is missing; its kubelet may still renew its lease.
    NodeMissing = "node.missing",
    /// A check of the inventory fails.
    CheckFailing = "check.failing",
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
