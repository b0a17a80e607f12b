//! The causality table: which finding explains which others, and where.

use crate::finding::FindingId::{self, *};
use crate::inventory::Service;
use crate::rules::facts_view::FactsView;
use crate::rules::symptom::Symptom;

/// `cause` explains `effects` within `scope`.
pub(super) struct Row {
    pub cause: FindingId,
    pub scope: Scope,
    pub effects: &'static [FindingId],
}

/// Where a cause has its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// On the same machine.
    Host,
    /// On the same machine, where the kubelet runs the component.
    StaticPod,
    /// Of the same service.
    Service,
    /// Everywhere, while the cause's service still runs: it takes requests that it does not answer.
    Clients,
    /// Everywhere, once nothing of the cause's kind is left that works.
    NoneLeft,
    /// Any place in the cluster.
    Everywhere,
}

/// Findings on a machine that its loss explains.
const ON_HOST: &[FindingId] = &[
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

/// Symptoms of a machine that lost its address: unreachable, or another machine answers.
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

/// Findings that a fence explains; a data dir is moved aside meanwhile.
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

const fn row(cause: FindingId, scope: Scope, effects: &'static [FindingId]) -> Row {
    Row { cause, scope, effects }
}

/// From the ground up: the first row that fits an effect wins.
pub(super) const CAUSALITY: &[Row] = &[
    row(VmMissing, Scope::Host, NO_LOGIN),
    row(VmMissing, Scope::Host, ON_HOST),
    row(NicMissing, Scope::Host, NO_LOGIN),
    row(NicMissing, Scope::Host, ON_HOST),
    row(NicChanged, Scope::Host, NO_LOGIN),
    row(NicChanged, Scope::Host, ON_HOST),
    row(VmStopped, Scope::Host, NO_LOGIN),
    row(VmStopped, Scope::Host, ON_HOST),
    row(HostKeyChanged, Scope::Host, &[HostWrongMachine]),
    row(HostKeyChanged, Scope::Host, ON_HOST),
    row(HostWrongMachine, Scope::Host, ON_HOST),
    row(HostDenied, Scope::Host, ON_HOST),
    row(HostUnreachable, Scope::Host, ON_HOST),
    row(VmMissing, Scope::Everywhere, CHECKS),
    row(NicMissing, Scope::Everywhere, CHECKS),
    row(NicChanged, Scope::Everywhere, CHECKS),
    row(VmStopped, Scope::Everywhere, CHECKS),
    row(HostKeyChanged, Scope::Everywhere, CHECKS),
    row(HostWrongMachine, Scope::Everywhere, CHECKS),
    row(HostUnreachable, Scope::Everywhere, CHECKS),
    row(ServiceFenced, Scope::Service, FENCED),
    row(HostReset, Scope::Host, ON_HOST),
    row(HostDiskReadOnly, Scope::Host, STOPS),
    row(HostDiskFull, Scope::Host, STOPS),
    row(NodeKubeletDown, Scope::Host, &[NodeNotReady, NodeMissing]),
    row(NodeKubeletHung, Scope::Host, &[NodeNotReady, NodeMissing]),
    row(NodeKubeletCertExpired, Scope::Host, &[NodeNotReady, NodeMissing]),
    row(NodeApiUnreachable, Scope::Host, &[NodeNotReady, NodeMissing]),
    row(NodeKubeletDown, Scope::StaticPod, STOPS_WITH_KUBELET),
    row(ApiserverCertExpired, Scope::Host, API),
    row(EtcdQuorumLost, Scope::Everywhere, NEEDS_WRITES),
    // Restarting what reads the wrong state would only write more into it.
    row(EtcdStateConflict, Scope::Everywhere, NEEDS_WRITES),
    row(EtcdStateConflict, Scope::Everywhere, &[EtcdStateLost, NodeMissing]),
    row(EtcdStateLost, Scope::Everywhere, GONE_WITH_STATE),
    row(EtcdNospace, Scope::Everywhere, NEEDS_WRITES),
    // With such an alarm every member refuses every write.
    row(EtcdCorruptAlarm, Scope::Everywhere, NEEDS_WRITES),
    row(EtcdMemberDiverged, Scope::Host, &[EtcdCorruptAlarm]),
    row(EtcdMemberDown, Scope::Host, API),
    // An API server asks all members in turn; one that is stopped refuses the connection, and the others are asked.
    row(EtcdMemberDown, Scope::Clients, &[ApiserverNotReady]),
    row(EtcdMemberCorrupt, Scope::Host, API),
    row(EtcdMemberDataMissing, Scope::Host, API),
    row(EtcdMemberForeign, Scope::Host, API),
    row(ApiserverDown, Scope::Host, CONTROLLERS),
    row(ApiserverNotReady, Scope::Host, CONTROLLERS),
    row(ApiserverDown, Scope::NoneLeft, NEEDS_API),
    row(ApiserverNotReady, Scope::NoneLeft, NEEDS_API),
    row(ControllerManagerDown, Scope::NoneLeft, &[ControllerManagerNoLeader]),
    row(SchedulerDown, Scope::NoneLeft, &[SchedulerNoLeader]),
    row(HostDiskFull, Scope::Everywhere, CHECKS),
    row(HostDiskReadOnly, Scope::Everywhere, CHECKS),
    row(NodeKubeletDown, Scope::Everywhere, CHECKS),
    row(NodeKubeletHung, Scope::Everywhere, CHECKS),
    row(NodeKubeletCertExpired, Scope::Everywhere, CHECKS),
    row(NodeApiUnreachable, Scope::Everywhere, CHECKS),
    row(NodeMissing, Scope::Everywhere, CHECKS),
    row(NodeNotReady, Scope::Everywhere, CHECKS),
    row(ControllerManagerNoLeader, Scope::Everywhere, CHECKS),
    row(SchedulerNoLeader, Scope::Everywhere, CHECKS),
];

/// Static pods that no kubelet starts again.
const STOPS_WITH_KUBELET: &[FindingId] =
    &[EtcdMemberDown, ApiserverDown, ControllerManagerDown, SchedulerDown];

impl Scope {
    /// Whether `effect` lies within this scope of `cause`.
    pub fn holds(self, view: &FactsView<'_>, all: &[Symptom], cause: &Symptom, effect: &Symptom) -> bool {
        let same_host =
            || !effect.hosts.is_empty() && effect.hosts.iter().all(|host| cause.hosts.contains(host));
        let is_static =
            || effect.services.iter().any(|(_, service)| matches!(service, Service::StaticPod(_)));
        match self {
            Self::Host => same_host(),
            Self::StaticPod => same_host() && is_static(),
            Self::Service => {
                !effect.services.is_empty() && effect.services.iter().all(|s| cause.services.contains(s))
            }
            Self::Clients => cause.services.iter().any(|(host, service)| {
                view.service(host, service).is_some_and(crate::facts::ServiceState::is_running)
            }),
            Self::NoneLeft => none_left(view, all, cause.id),
            Self::Everywhere => true,
        }
    }
}

fn none_left(view: &FactsView<'_>, all: &[Symptom], id: FindingId) -> bool {
    if API.contains(&id) {
        return !view.api_is_ready();
    }
    let is_hit = |host: &String| all.iter().any(|symptom| symptom.id == id && symptom.hosts.contains(host));
    view.control_plane_in_reach().all(is_hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cause of itself, over whatever way, would hang nowhere and be shown never.
    #[test]
    fn nothing_explains_itself() {
        for start in FindingId::ALL {
            let mut reached: Vec<FindingId> = vec![*start];
            let mut next = 0;
            while let Some(cause) = reached.get(next).copied() {
                next += 1;
                for effect in CAUSALITY.iter().filter(|row| row.cause == cause).flat_map(|row| row.effects) {
                    assert_ne!(effect, start, "{start} explains itself by way of {cause}");
                    if !reached.contains(effect) {
                        reached.push(*effect);
                    }
                }
            }
        }
    }
}
