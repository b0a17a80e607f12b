//! The control plane: API servers and their certificates, controller-managers, schedulers.

use jiff::SignedDuration;

use crate::facts::{ControlPlaneFacts, Fact, Health};
use crate::finding::{Evidence, FindingId, Remedy, Severity};
use crate::inventory::{ControlPlaneSpec, Service};

use super::etcd::{Cluster, Quorum};
use super::facts_view::{FactsView, no_answer, seen_in};
use super::symptom::{Symptom, again_and_again, day, is_crash_loop, start, stopped};

/// From here on an API server's certificate is worth a warning.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    let mut found = Vec::new();
    for (host, spec) in &view.inventory().kubernetes.control_plane {
        found.extend(not_running(view, host, &spec.controller_manager, FindingId::ControllerManagerDown));
        found.extend(not_running(view, host, &spec.scheduler, FindingId::SchedulerDown));
        let Some(facts) = view.facts.control_plane.get(host) else { continue };
        found.extend(certificate(view, host, facts));
        found.extend(apiserver(view, cluster, host, spec, facts));
    }
    all_machines_make_it_critical(view, &mut found);
    found
}

/// A finding on every control plane machine leaves no other to stand in.
fn all_machines_make_it_critical(view: &FactsView<'_>, found: &mut [Symptom]) {
    let api = [FindingId::ApiserverDown, FindingId::ApiserverNotReady, FindingId::ApiserverCertExpired];
    for family in [&api[..], &[FindingId::ControllerManagerDown], &[FindingId::SchedulerDown]] {
        let has = |host: &String| found.iter().any(|f| family.contains(&f.id) && f.hosts.contains(host));
        if view.inventory().kubernetes.control_plane.keys().all(has) {
            let all = found.iter_mut().filter(|symptom| family.contains(&symptom.id));
            all.for_each(|symptom| symptom.severity = Severity::Critical);
        }
    }
}

fn not_running(view: &FactsView<'_>, host: &str, service: &Service, id: FindingId) -> Option<Symptom> {
    let state = view.service(host, service)?;
    if state.is_running() {
        return None;
    }
    let log = again_and_again(state, service);
    Some(
        Symptom::new(id)
            .on(host)
            .with_service(host, service)
            .shown_by(view.service_evidence(host, service))
            .remedies((!is_crash_loop(state)).then(|| start(host, service, Some(state))))
            .remedies(log),
    )
}

fn certificate(view: &FactsView<'_>, host: &str, facts: &ControlPlaneFacts) -> Option<Symptom> {
    let certificate = facts.certificate.get()?;
    let left = certificate.not_after.duration_since(view.facts.observed_at);
    let day = day(certificate.not_after);
    let seen =
        |what: &str| [seen_in(&facts.certificate, format!("{host}: {} {what} {day}", certificate.subject))];
    let renew =
        "renew the API server's certificates (`kubeadm certs renew all`, or the way they were issued)";
    if left.is_negative() {
        return Some(
            Symptom::new(FindingId::ApiserverCertExpired)
                .on(host)
                .summary(format!("The API server's certificate on {host} expired on {day}"))
                .shown_by(seen("expired on"))
                .manual(format!("{renew} on {{who}}, then restart the API server there")),
        );
    }
    (left < EXPIRES_SOON).then(|| {
        let days = left.as_hours() / 24;
        Symptom::new(FindingId::ApiserverCertExpiring)
            .on(host)
            .summary(format!("The API server's certificate on {host} expires in {days} days"))
            .shown_by(seen("expires on"))
            .manual(format!("{renew} on {{who}} before {day}"))
    })
}

fn apiserver(
    view: &FactsView<'_>,
    cluster: &Cluster<'_>,
    host: &str,
    spec: &ControlPlaneSpec,
    facts: &ControlPlaneFacts,
) -> Option<Symptom> {
    let service = &spec.apiserver;
    let state = view.service(host, service);
    let condition = condition(facts, state.map(crate::facts::ServiceState::is_running))?;
    let (id, summary) = match condition {
        Condition::Stopped => {
            let how = state.map_or("is stopped", stopped);
            (FindingId::ApiserverDown, format!("The API server on {host} {how}"))
        }
        Condition::Unresponsive => {
            (FindingId::ApiserverDown, format!("The API server on {host} does not answer"))
        }
        Condition::NotReady => {
            (FindingId::ApiserverNotReady, format!("The API server on {host} is not ready"))
        }
    };
    let symptom = Symptom::new(id)
        .on(host)
        .with_service(host, service)
        .summary(summary)
        .shown_by(view.service_evidence(host, service))
        .shown_by(health(host, facts));
    // Without etcd, and with an expired certificate, it comes up no better than before.
    let would_help = cluster.quorum != Quorum::Lost && !view.has_expired(facts);
    Some(match condition {
        Condition::Stopped => {
            let log = state.and_then(|state| again_and_again(state, service));
            let start = (!state.is_some_and(is_crash_loop)).then(|| start(host, service, state));
            symptom.remedies(start).remedies(log)
        }
        _ if state.is_some() && would_help => {
            symptom.remedy(Remedy::RestartService { host: host.into(), service: service.clone() })
        }
        _ => symptom,
    })
}

#[derive(Clone, Copy)]
enum Condition {
    Stopped,
    Unresponsive,
    NotReady,
}

/// What is wrong with an API server; `None` when nothing is, or nothing is known.
fn condition(facts: &ControlPlaneFacts, running: Option<bool>) -> Option<Condition> {
    let (livez, readyz) = (facts.livez.get(), facts.readyz.get());
    if readyz.is_some_and(|health| health.ok) {
        return None;
    }
    if running == Some(false) {
        return Some(Condition::Stopped);
    }
    // Where it could not even be asked, as without a kubeconfig, nothing is known of it.
    if readyz.or(livez)?.ok {
        return None;
    }
    let speaks =
        [livez, readyz].into_iter().flatten().any(|health| health.ok || is_own_account(&health.detail));
    Some(if speaks { Condition::NotReady } else { Condition::Unresponsive })
}

/// Whether this is what a health endpoint says of itself, `etcd failed, ping failed` or a status, and not why it said
/// nothing.
fn is_own_account(detail: &str) -> bool {
    let is_check = |part: &str| part.strip_suffix(" failed").is_some_and(|check| !check.contains(' '));
    let status = detail.split(' ').next().unwrap_or_default();
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    is_status || detail.split(", ").all(is_check)
}

/// What its health endpoints say; once, when both say the same.
fn health(host: &str, facts: &ControlPlaneFacts) -> Vec<Evidence> {
    let line = |what: &str, fact: &Fact<Health>| match fact.get() {
        Some(health) if health.ok => None,
        Some(health) => Some(seen_in(fact, format!("{host} {what}: {}", health.detail))),
        None => no_answer(fact, &format!("{host} {what}")),
    };
    if facts.livez.answer == facts.readyz.answer {
        return line("livez and readyz", &facts.livez).into_iter().collect();
    }
    [line("livez", &facts.livez), line("readyz", &facts.readyz)].into_iter().flatten().collect()
}
