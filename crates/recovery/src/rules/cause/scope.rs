//! Where a cause has its effects.

use crate::finding::{FindingId, Scope};
use crate::inventory::Service;
use crate::rules::facts_view::FactsView;
use crate::rules::symptom::Symptom;

/// Whether `effect` lies within this scope of `cause`.
pub(super) fn holds(
    scope: Scope,
    view: &FactsView<'_>,
    all: &[Symptom],
    cause: &Symptom,
    effect: &Symptom,
) -> bool {
    let same_machine =
        || !effect.hosts.is_empty() && effect.hosts.iter().all(|host| cause.hosts.contains(host));
    let is_static = || effect.services.iter().any(|(_, service)| matches!(service, Service::StaticPod(_)));
    match scope {
        Scope::Machine | Scope::Dependents => same_machine(),
        Scope::StaticPod => same_machine() && is_static(),
        Scope::Service => {
            !effect.services.is_empty() && effect.services.iter().all(|s| cause.services.contains(s))
        }
        Scope::Clients => cause.services.iter().any(|(host, service)| {
            view.service(host, service).is_some_and(crate::facts::ServiceState::is_running)
        }),
        Scope::LastInstance => none_left(view, all, cause.id),
        Scope::Cluster | Scope::Otherwise => true,
    }
}

fn none_left(view: &FactsView<'_>, all: &[Symptom], id: FindingId) -> bool {
    if matches!(id, FindingId::ApiserverDown | FindingId::ApiserverNotReady) {
        return !view.api_is_ready();
    }
    let is_hit = |host: &String| all.iter().any(|symptom| symptom.id == id && symptom.hosts.contains(host));
    view.control_plane_in_reach().all(is_hit)
}
