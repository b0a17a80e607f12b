//! API servers, controller-managers and schedulers.

use crate::facts::MemberFacts;
use crate::finding::Remedy;
use crate::inventory::Service;
use crate::plan::{Action, HostService};

use super::{Draft, Remedies};

const START_SECONDS: u64 = 90;
/// An API server waits for its post-start hooks, which on a big cluster take a minute.
const READY_SECONDS: u64 = 180;
const LEADER_SECONDS: u64 = 90;

/// Adds what the control plane needs, API servers before their clients.
pub(super) fn plan(draft: &mut Draft<'_>, remedies: &Remedies) {
    let specs = &draft.facts.inventory.kubernetes.control_plane;
    let is_apiserver =
        |host: &str, service: &Service| specs.get(host).is_some_and(|spec| spec.apiserver == *service);
    let is_controller = |host: &str, service: &Service| {
        specs.get(host).is_some_and(|m| m.controller_manager == *service || m.scheduler == *service)
    };
    let (start, restart) = (collect(remedies, is_apiserver, false), collect(remedies, is_apiserver, true));
    let hosts: Vec<String> = start.iter().chain(&restart).map(|service| service.host.clone()).collect();
    run(draft, start, restart);
    // Without etcd nothing gets ready or leads: whether etcd comes back is seen in the next round.
    let serves = draft.facts.members.values().any(MemberFacts::sees_quorum);
    if serves && !hosts.is_empty() {
        draft.steps.add(READY_SECONDS, Action::WaitForApiservers { hosts });
    }
    let (start, restart) = (collect(remedies, is_controller, false), collect(remedies, is_controller, true));
    if !start.is_empty() || !restart.is_empty() {
        run(draft, start, restart);
        if serves {
            leaders(draft);
        }
    }
}

/// Has units start at boot that run and do not.
pub(super) fn enable(draft: &mut Draft<'_>, remedies: &Remedies) {
    let services = remedies.automatic.iter().filter_map(|remedy| match remedy {
        Remedy::EnableService { host, service } => {
            Some(HostService { host: host.clone(), service: service.clone() })
        }
        _ => None,
    });
    let services: Vec<HostService> = services.collect();
    if !services.is_empty() {
        draft.steps.add(START_SECONDS, Action::Enable { services });
        draft.steps.changing("started at the next boot; the running service is not affected");
    }
}

/// Adds the wait for leaders. The lease of one that has died holds for another 15 s by default.
pub(super) fn leaders(draft: &mut Draft<'_>) {
    draft.steps.add(LEADER_SECONDS, Action::WaitForLeaders);
}

fn run(draft: &mut Draft<'_>, start: Vec<HostService>, restart: Vec<HostService>) {
    if !start.is_empty() {
        draft.steps.add(START_SECONDS, Action::Start { services: start });
    }
    if !restart.is_empty() {
        draft.steps.add(START_SECONDS, Action::Restart { services: restart });
    }
}

fn collect(remedies: &Remedies, wanted: impl Fn(&str, &Service) -> bool, restart: bool) -> Vec<HostService> {
    let services = remedies.automatic.iter().filter_map(|remedy| match remedy {
        Remedy::StartService { host, service } if !restart => Some((host, service)),
        Remedy::RestartService { host, service } if restart => Some((host, service)),
        _ => None,
    });
    services
        .filter(|(host, service)| wanted(host, service))
        .map(|(host, service)| HostService { host: host.clone(), service: service.clone() })
        .collect()
}
