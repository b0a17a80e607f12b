//! The leases by which one controller-manager and one scheduler lead.

use jiff::SignedDuration;

use crate::facts::{Fact, Lease};
use crate::finding::{FindingId, Remedy};
use crate::inventory::{ControlPlaneSpec, Service};

use super::facts_view::{FactsView, seen_in};
use super::host::clocks_agree;
use super::symptom::Symptom;

/// A lease is renewed every few seconds: later than this after its end nobody renews it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn evaluate(view: &FactsView<'_>) -> Vec<Symptom> {
    let kubernetes = &view.facts.kubernetes;
    let controllers = |spec: &ControlPlaneSpec| spec.controller_manager.clone();
    let schedulers = |spec: &ControlPlaneSpec| spec.scheduler.clone();
    [
        judge(view, FindingId::ControllerManagerNoLeader, &kubernetes.controller_manager, &controllers),
        judge(view, FindingId::SchedulerNoLeader, &kubernetes.scheduler, &schedulers),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn judge(
    view: &FactsView<'_>,
    id: FindingId,
    fact: &Fact<Lease>,
    service: &dyn Fn(&ControlPlaneSpec) -> Service,
) -> Option<Symptom> {
    let seen = without_leader(view, fact.get()?)?;
    let specs = &view.inventory().kubernetes.control_plane;
    let running = specs.iter().filter(|(host, spec)| {
        view.service(host, &service(spec)).is_some_and(crate::facts::ServiceState::is_running)
    });
    let restarts =
        running.map(|(host, spec)| Remedy::RestartService { host: host.clone(), service: service(spec) });
    Some(Symptom::new(id).about(specs.keys()).shown_by([seen_in(fact, seen)]).remedies(restarts))
}

/// What shows that nobody leads. Times of renewal are by the holder's clock: they tell nothing when clocks differ.
fn without_leader(view: &FactsView<'_>, lease: &Lease) -> Option<String> {
    let renewed = match lease.renewed_at {
        _ if lease.holder.is_empty() => return Some("its lease has no holder".into()),
        None => return Some("its lease was never renewed".into()),
        Some(at) => at,
    };
    let holds = SignedDuration::from_secs(lease.duration_seconds.into());
    let since = view.facts.observed_at.duration_since(renewed);
    (clocks_agree(view) && since > holds.saturating_add(GRACE)).then(|| {
        let since = since.as_secs();
        format!("held by {}, renewed {since} s ago for {} s", lease.holder, lease.duration_seconds)
    })
}
