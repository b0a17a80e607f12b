//! The catalog: one row for each kind of finding. Its page is `docs/findings/ID.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Severity, listed};
use FindingId::*;
use Severity::{Critical, Error, Warning};

/// What is the same for all findings of a kind.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Unless the facts make it worse or less bad.
    pub severity: Severity,
    pub summary: Summary,
    pub impact: Impact,
    /// Findings that it explains, and where.
    pub explains: &'static [(Scope, &'static [FindingId])],
}

/// What is wrong, in one sentence. `{who}` stands for the subjects.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Of one subject.
    pub one: &'static str,
    /// Of several.
    pub many: &'static str,
}

/// What fails, or cannot be relied on, until a finding is fixed.
#[derive(Debug)]
pub(crate) enum Impact {
    /// Nothing yet.
    Nothing,
    /// A function of the cluster.
    Function(&'static str),
    /// What runs on the machine.
    Machine,
}

/// Where a cause has its effects, relative to its machine and service.
///
/// An effect that several causes explain is attached to the first by scope, then to the first of the catalog: what is
/// wrong on its own machine before what is wrong elsewhere, and the lower layer before the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The same service.
    Service,
    /// The same machine.
    Machine,
    /// The same machine, where its kubelet runs the component.
    StaticPod,
    /// The whole cluster.
    Cluster,
    /// Components on the same machine that use the broken one.
    Dependents,
    /// The whole cluster, while the cause's service still runs: it accepts requests that it does not answer.
    Clients,
    /// The whole cluster, if no other instance works.
    LastInstance,
    /// The whole cluster, if nothing above explains the effect.
    Otherwise,
}

const fn always(summary: &'static str) -> Summary {
    Summary { one: summary, many: summary }
}

const fn numbered(one: &'static str, many: &'static str) -> Summary {
    Summary { one, many }
}

/// Findings on a machine that its loss explains.
const ON_MACHINE: &[FindingId] = &[
    EtcdMemberDown,
    EtcdMemberDataMissing,
    ApiserverDown,
    ApiserverNotReady,
    ControllerManagerDown,
    SchedulerDown,
    NodeNotReady,
    NodeKubeletDown,
    NodeKubeletHung,
    NodeApiUnreachable,
    NodeMissing,
];

/// Findings of a machine that lost its address: it is unreachable, or another machine answers.
const NO_LOGIN: &[FindingId] = &[HostUnreachable, HostDenied, HostKeyChanged, HostWrongMachine];

/// Findings of processes that a full or read-only disk stops.
const STOPS: &[FindingId] = &[
    EtcdMemberDown,
    ApiserverDown,
    ApiserverNotReady,
    ControllerManagerDown,
    SchedulerDown,
    NodeKubeletDown,
    NodeKubeletHung,
    NodeNotReady,
];

/// Static pods that no kubelet starts again.
const STOPS_WITH_KUBELET: &[FindingId] =
    &[EtcdMemberDown, ApiserverDown, ControllerManagerDown, SchedulerDown];

/// Findings of services that a fence stops; a data dir is moved aside meanwhile.
const FENCED: &[FindingId] = &[
    EtcdMemberDown,
    EtcdMemberDataMissing,
    ApiserverDown,
    ApiserverNotReady,
    ControllerManagerDown,
    SchedulerDown,
    NodeKubeletDown,
];

/// Findings that a wrong state explains. Restarts do not fix them.
const GONE_WITH_STATE: &[FindingId] =
    &[NodeMissing, NodeNotReady, ControllerManagerNoLeader, SchedulerNoLeader, CheckFailing];

/// Findings of components that need etcd writes.
const NEEDS_WRITES: &[FindingId] = &[
    ApiserverDown,
    ApiserverNotReady,
    ControllerManagerNoLeader,
    ControllerManagerDown,
    SchedulerNoLeader,
    SchedulerDown,
    NodeNotReady,
    CheckFailing,
];

/// Findings of components that need an API server.
const NEEDS_API: &[FindingId] = &[
    ControllerManagerNoLeader,
    SchedulerNoLeader,
    NodeApiUnreachable,
    NodeNotReady,
    NodeMissing,
    CheckFailing,
];

const API: &[FindingId] = &[ApiserverDown, ApiserverNotReady];
const CONTROLLERS: &[FindingId] = &[ControllerManagerDown, SchedulerDown];
const CHECKS: &[FindingId] = &[CheckFailing];

/// What the loss of a machine explains.
const LOSS: &[(Scope, &[FindingId])] = &[(Scope::Machine, ON_MACHINE), (Scope::Cluster, CHECKS)];
/// What the loss of a machine's VM or address explains.
const LOSS_BELOW: &[(Scope, &[FindingId])] =
    &[(Scope::Machine, NO_LOGIN), (Scope::Machine, ON_MACHINE), (Scope::Cluster, CHECKS)];
const DISK: &[(Scope, &[FindingId])] = &[(Scope::Machine, STOPS), (Scope::Otherwise, CHECKS)];
const LEADERLESS: &[(Scope, &[FindingId])] = &[(Scope::Otherwise, CHECKS)];
/// What a kubelet that does not work explains.
const KUBELET: &[(Scope, &[FindingId])] =
    &[(Scope::Machine, &[NodeNotReady, NodeMissing]), (Scope::Otherwise, CHECKS)];
const NODE: &[(Scope, &[FindingId])] = &[(Scope::Otherwise, CHECKS)];
const MEMBER: &[(Scope, &[FindingId])] = &[(Scope::Dependents, API)];
const APISERVER: &[(Scope, &[FindingId])] =
    &[(Scope::Dependents, CONTROLLERS), (Scope::LastInstance, NEEDS_API)];
const NO_WRITES: &[(Scope, &[FindingId])] = &[(Scope::Cluster, NEEDS_WRITES)];

const CLIENTS: Impact = Impact::Function("kubectl and all other clients of these API servers");
const CONTROL: Impact = Impact::Function("pod replacement, endpoint updates, node health checks");
const SCHEDULING: Impact = Impact::Function("scheduling of new pods");
const PODS: Impact = Impact::Function("starting, stopping and monitoring of pods there");

macro_rules! catalog {
    ($($(#[$doc:meta])* $name:ident = $id:literal { $severity:expr, $summary:expr, $impact:expr, $explains:expr $(,)? })+) => {
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

            /// Its page in `docs/findings`, in Markdown.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../../docs/findings/", $id, ".md"))),+ }
            }

            /// Its row of the catalog.
            pub(crate) const fn kind(self) -> &'static Kind {
                match self {
                    $(Self::$name => {
                        const { &Kind { severity: $severity, summary: $summary, impact: $impact, explains: $explains } }
                    })+
                }
            }
        }
    };
}

catalog! {
    /// The cloud's API is unavailable.
    CloudUnreachable = "cloud.unreachable" {
        Warning, always("The cloud's API is unavailable: {who}"),
        Impact::Function("repair of NICs and VMs"), &[],
    }
    /// The cloud does not know a machine's VM.
    VmMissing = "vm.missing" {
        Error, numbered("The cloud does not know the VM of {who}", "The cloud does not know the VMs of {who}"),
        Impact::Machine, LOSS_BELOW,
    }
    /// The cloud has no NIC with a machine's address.
    NicMissing = "nic.missing" {
        Error, always("The cloud has no NIC for {who}"),
        Impact::Machine, LOSS_BELOW,
    }
    /// A NIC has another MAC or address than in the inventory.
    NicChanged = "nic.changed" {
        Error, numbered("The NIC of {who} does not match the inventory", "The NICs of {who} do not match the inventory"),
        Impact::Machine, LOSS_BELOW,
    }
    /// A VM is powered off.
    VmStopped = "vm.stopped" {
        Error, numbered("The VM of {who} is powered off", "The VMs of {who} are powered off"),
        Impact::Machine, LOSS_BELOW,
    }
    /// A machine does not answer on SSH.
    HostUnreachable = "host.unreachable" {
        Error, always("{who} cannot be reached"),
        Impact::Machine, LOSS,
    }
    /// A machine shows another host key than the known one.
    HostKeyChanged = "host.key-changed" {
        Critical, always("The SSH host key of {who} has changed"),
        Impact::Machine,
        &[(Scope::Machine, &[HostWrongMachine]), (Scope::Machine, ON_MACHINE), (Scope::Cluster, CHECKS)],
    }
    /// Another machine answers at a machine's address.
    HostWrongMachine = "host.wrong-machine" {
        Critical, always("Another machine answers at the address of {who}"),
        Impact::Machine, LOSS,
    }
    /// The inventory has no machine id for a machine.
    HostNoMachineId = "host.no-machine-id" {
        Warning, always("The inventory has no machineId for {who}"),
        Impact::Function("detection of another machine at the address"), &[],
    }
    /// A machine has another platform than the Lifeboat binary.
    HostArchitecture = "host.architecture" {
        Warning, always("This Lifeboat binary cannot run on {who}"),
        Impact::Function("reading and restoring data dirs on these machines"), &[],
    }
    /// Access to a machine is denied.
    HostDenied = "host.denied" {
        Error, always("Access to {who} is denied"),
        Impact::Machine, &[(Scope::Machine, ON_MACHINE)],
    }
    /// A machine's clock is off.
    HostClockSkew = "host.clock-skew" {
        Warning, numbered("The clock of {who} is off", "The clocks of {who} are off"),
        Impact::Function("validity of certificates, tokens and leases"), &[],
    }
    /// A file system a control plane writes to is full.
    HostDiskFull = "host.disk-full" {
        Error, numbered("The disk of {who} is full", "The disks of {who} are full"),
        Impact::Machine, DISK,
    }
    /// A file system a control plane writes to is mounted read-only.
    HostDiskReadOnly = "host.disk-read-only" {
        Error, numbered("The disk of {who} is read-only", "The disks of {who} are read-only"),
        Impact::Machine, DISK,
    }
    /// A machine has lost its units and data.
    HostReset = "host.reset" {
        Error, numbered("{who} has lost its units and data", "{who} have lost their units and data"),
        Impact::Machine, &[(Scope::Machine, ON_MACHINE)],
    }
    /// A service runs but is not enabled at boot.
    ServiceDisabled = "service.disabled" {
        Warning, always("Services on {who} do not start at the next boot"),
        Impact::Nothing, &[],
    }
    /// A Lifeboat operation is unfinished.
    OperationPending = "operation.pending" {
        Warning, always("Operation {who} is unfinished"),
        Impact::Function("further recoveries of this cluster"), &[],
    }
    /// A service is fenced by an unfinished recovery.
    ServiceFenced = "service.fenced" {
        Error, always("Services on {who} are fenced by an unfinished recovery"),
        Impact::Function("everything that depends on these services"), &[(Scope::Service, FENCED)],
    }
    /// A finished recovery left the cluster's state on a machine.
    HostLeftovers = "host.leftovers" {
        Warning, always("A finished recovery left the cluster's state, including all Secrets, on {who}"),
        Impact::Nothing, &[],
    }
    /// etcd has no quorum: no writes, and no linearizable reads.
    EtcdQuorumLost = "etcd.quorum-lost" {
        Critical, always("etcd has no quorum"),
        Impact::Function("all etcd writes, and so all Kubernetes changes"), NO_WRITES,
    }
    /// A member outside the cluster has more data than the cluster. Restarts of what reads the wrong state would only
    /// write more into it.
    EtcdStateConflict = "etcd.state-conflict" {
        Critical, numbered("{who} has more data than the etcd cluster", "{who} have more data than the etcd cluster"),
        Impact::Function("trust in etcd's data: the cluster's state may be elsewhere"),
        &[(Scope::Cluster, NEEDS_WRITES), (Scope::Cluster, &[EtcdStateLost, NodeMissing])],
    }
    /// etcd serves data without this cluster's nodes, or less than a member had committed.
    EtcdStateLost = "etcd.state-lost" {
        Critical, always("etcd serves data that contains none of this cluster's nodes"),
        Impact::Function("trust in etcd's data: some or all of the cluster's state is missing"),
        &[(Scope::Cluster, GONE_WITH_STATE)],
    }
    /// An etcd member is stopped, does not answer or is partitioned from the others, and its data is sound or not
    /// known to be damaged. An API server asks all members in turn: one that is stopped refuses the connection, and the
    /// others are asked; one that hangs does not.
    EtcdMemberDown = "etcd.member.down" {
        Error, numbered("etcd member {who} does not serve", "etcd members {who} do not serve"),
        Impact::Nothing, &[(Scope::Dependents, API), (Scope::Clients, &[ApiserverNotReady])],
    }
    /// An etcd member's data is damaged.
    EtcdMemberCorrupt = "etcd.member.corrupt" {
        Error, numbered("The data of etcd member {who} is damaged", "The data of etcd members {who} is damaged"),
        Impact::Nothing, MEMBER,
    }
    /// An etcd member's data dir is gone.
    EtcdMemberDataMissing = "etcd.member.data-missing" {
        Error, numbered("The data dir of etcd member {who} is gone", "The data dirs of etcd members {who} are gone"),
        Impact::Nothing, MEMBER,
    }
    /// An etcd member's service keeps its data in another directory than the inventory says.
    EtcdMemberWrongDataDir = "etcd.member.wrong-data-dir" {
        Error,
        numbered("etcd member {who} does not use the inventory's data dir", "etcd members {who} do not use the inventory's data dir"),
        Impact::Nothing, &[],
    }
    /// An etcd member has different data than the others at the same revision.
    EtcdMemberDiverged = "etcd.member.diverged" {
        Error,
        numbered("etcd member {who} has different data than the others", "etcd members {who} have different data than the others"),
        Impact::Nothing, &[(Scope::Machine, &[EtcdCorruptAlarm])],
    }
    /// An etcd member belongs to another cluster, or the others do not count it as a member.
    EtcdMemberForeign = "etcd.member.foreign" {
        Error, numbered("etcd member {who} does not belong to the cluster", "etcd members {who} do not belong to the cluster"),
        Impact::Nothing, MEMBER,
    }
    /// An etcd member has the data but no vote.
    EtcdMemberLearner = "etcd.member.learner" {
        Warning, numbered("etcd member {who} has the data but no vote", "etcd members {who} have the data but no vote"),
        Impact::Nothing, &[],
    }
    /// Etcd has a member that is not in the inventory.
    EtcdMemberUnlisted = "etcd.member.unlisted" {
        Error, numbered("etcd member {who} is not in the inventory", "etcd members {who} are not in the inventory"),
        Impact::Nothing, &[],
    }
    /// The db has reached its quota; etcd refuses writes.
    EtcdNospace = "etcd.nospace" {
        Critical, always("etcd refuses writes: its db has reached its quota"),
        Impact::Function("all etcd writes except deletes"), NO_WRITES,
    }
    /// etcd itself found a member with different data than the others. Every member refuses every write then.
    EtcdCorruptAlarm = "etcd.corrupt-alarm" {
        Critical,
        numbered("etcd found that {who} has different data than the others", "etcd found that {who} have different data than the others"),
        Impact::Function("trust in etcd's data"), NO_WRITES,
    }
    /// An API server does not answer.
    ApiserverDown = "apiserver.down" {
        Error, numbered("The API server on {who} does not answer", "The API servers on {who} do not answer"),
        CLIENTS, APISERVER,
    }
    /// An API server answers but is not ready.
    ApiserverNotReady = "apiserver.not-ready" {
        Error, numbered("The API server on {who} is not ready", "The API servers on {who} are not ready"),
        CLIENTS, APISERVER,
    }
    /// An API server's certificate has expired.
    ApiserverCertExpired = "apiserver.cert-expired" {
        Error,
        numbered("The API server certificate on {who} has expired", "The API server certificates on {who} have expired"),
        CLIENTS, &[(Scope::Machine, API)],
    }
    /// An API server's certificate expires within 30 days.
    ApiserverCertExpiring = "apiserver.cert-expiring" {
        Warning,
        numbered("The API server certificate on {who} expires soon", "The API server certificates on {who} expire soon"),
        Impact::Nothing, &[],
    }
    /// No controller-manager holds a valid leader lease.
    ControllerManagerNoLeader = "controller-manager.no-leader" {
        Critical, always("No controller-manager leads"),
        CONTROL, LEADERLESS,
    }
    /// A controller-manager is stopped.
    ControllerManagerDown = "controller-manager.down" {
        Error, numbered("The controller-manager on {who} is stopped", "The controller-managers on {who} are stopped"),
        CONTROL, &[(Scope::LastInstance, &[ControllerManagerNoLeader])],
    }
    /// No scheduler holds a valid leader lease.
    SchedulerNoLeader = "scheduler.no-leader" {
        Critical, always("No scheduler leads"),
        SCHEDULING, LEADERLESS,
    }
    /// A scheduler is stopped.
    SchedulerDown = "scheduler.down" {
        Error, numbered("The scheduler on {who} is stopped", "The schedulers on {who} are stopped"),
        SCHEDULING, &[(Scope::LastInstance, &[SchedulerNoLeader])],
    }
    /// A kubelet is stopped.
    NodeKubeletDown = "node.kubelet-down" {
        Error, numbered("The kubelet on {who} is stopped", "The kubelets on {who} are stopped"),
        PODS,
        &[
            (Scope::Machine, &[NodeNotReady, NodeMissing]),
            (Scope::StaticPod, STOPS_WITH_KUBELET),
            (Scope::Otherwise, CHECKS),
        ],
    }
    /// A kubelet runs but does not answer.
    NodeKubeletHung = "node.kubelet-hung" {
        Error, numbered("The kubelet on {who} runs but does not answer", "The kubelets on {who} run but do not answer"),
        PODS, KUBELET,
    }
    /// A kubelet's client certificate has expired.
    NodeKubeletCertExpired = "node.kubelet-cert-expired" {
        Error,
        numbered(
            "The client certificate of the kubelet on {who} has expired",
            "The client certificates of the kubelets on {who} have expired",
        ),
        PODS, KUBELET,
    }
    /// A kubelet cannot reach its API server.
    NodeApiUnreachable = "node.api-unreachable" {
        Error, numbered("The kubelet on {who} cannot reach the API", "The kubelets on {who} cannot reach the API"),
        PODS, KUBELET,
    }
    /// A Node object is missing; its kubelet may still renew its lease.
    NodeMissing = "node.missing" {
        Error, numbered("The Node object of {who} is missing", "The Node objects of {who} are missing"),
        PODS, NODE,
    }
    /// A node is not Ready.
    NodeNotReady = "node.not-ready" {
        Error, numbered("Node {who} is not Ready", "Nodes {who} are not Ready"),
        PODS, NODE,
    }
    /// A check of the inventory fails.
    CheckFailing = "check.failing" {
        Error, numbered("Check {who} fails", "Checks {who} fail"),
        Impact::Nothing, &[],
    }
}

impl FindingId {
    /// The id that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text)
    }

    /// Its page's first sentence.
    pub fn title(self) -> &'static str {
        self.page().lines().nth(2).unwrap_or_default()
    }

    /// What is wrong with these subjects, in one sentence.
    pub(crate) fn summary(self, subjects: &[String]) -> String {
        let Summary { one, many } = self.kind().summary;
        let summary = if subjects.len() > 1 { many } else { one };
        summary.replace("{who}", &listed(subjects))
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
