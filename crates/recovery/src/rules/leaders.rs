//! The leases by which one controller-manager and one scheduler lead.

use jiff::SignedDuration;

use crate::facts::{Fact, Lease};
use crate::finding::{FindingId, Remedy, Severity};
use crate::inventory::{ControlPlaneSpec, Service};

use super::host::clocks_agree;
use super::look::{Look, seen_in};
use super::sighting::Sighting;

/// A lease is renewed every few seconds: later than this after its end nobody renews it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn look(look: &Look<'_>) -> Vec<Sighting> {
    let kubernetes = &look.facts.kubernetes;
    let controllers = |spec: &ControlPlaneSpec| spec.controller_manager.clone();
    let schedulers = |spec: &ControlPlaneSpec| spec.scheduler.clone();
    [
        judge(look, FindingId::ControllerManagerNoLeader, &kubernetes.controller_manager, &controllers),
        judge(look, FindingId::SchedulerNoLeader, &kubernetes.scheduler, &schedulers),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn judge(
    look: &Look<'_>,
    id: FindingId,
    fact: &Fact<Lease>,
    service: &dyn Fn(&ControlPlaneSpec) -> Service,
) -> Option<Sighting> {
    let seen = without_leader(look, fact.get()?)?;
    let specs = &look.inventory().kubernetes.control_plane;
    let running = specs.iter().filter(|(host, spec)| {
        look.service(host, &service(spec)).is_some_and(crate::facts::ServiceState::is_running)
    });
    let restarts =
        running.map(|(host, spec)| Remedy::RestartService { host: host.clone(), service: service(spec) });
    Some(
        Sighting::new(id, Severity::Critical)
            .about(specs.keys())
            .shown_by([seen_in(fact, seen)])
            .remedies(restarts),
    )
}

/// What shows that nobody leads. Times of renewal are by the holder's clock: they tell nothing when clocks differ.
fn without_leader(look: &Look<'_>, lease: &Lease) -> Option<String> {
    let renewed = match lease.renewed_at {
        _ if lease.holder.is_empty() => return Some("its lease has no holder".into()),
        None => return Some("its lease was never renewed".into()),
        Some(at) => at,
    };
    let holds = SignedDuration::from_secs(lease.duration_seconds.into());
    let since = look.facts.observed_at.duration_since(renewed);
    (clocks_agree(look) && since > holds.saturating_add(GRACE)).then(|| {
        let since = since.as_secs();
        format!("held by {}, renewed {since} s ago for {} s", lease.holder, lease.duration_seconds)
    })
}
