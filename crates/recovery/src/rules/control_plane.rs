//! The control plane: API servers and their certificates, controller-managers, schedulers.

use jiff::SignedDuration;

use crate::facts::{ControlPlaneFacts, Fact, Health};
use crate::finding::{Evidence, FindingId, Remedy, Severity};
use crate::inventory::{ControlPlaneSpec, Service};

use super::etcd::{Cluster, Quorum};
use super::look::{Look, no_answer, seen_in};
use super::sighting::{Sighting, again_and_again, day, is_crash_loop, start, stopped};

/// From here on an API server's certificate is worth a warning.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) fn look(look: &Look<'_>, cluster: &Cluster<'_>) -> Vec<Sighting> {
    let mut found = Vec::new();
    for (host, spec) in &look.inventory().kubernetes.control_plane {
        found.extend(not_running(look, host, &spec.controller_manager, FindingId::ControllerManagerDown));
        found.extend(not_running(look, host, &spec.scheduler, FindingId::SchedulerDown));
        let Some(facts) = look.facts.control_plane.get(host) else { continue };
        found.extend(certificate(look, host, facts));
        found.extend(apiserver(look, cluster, host, spec, facts));
    }
    all_machines_make_it_critical(look, &mut found);
    found
}

/// A finding on every control plane machine leaves no other to stand in.
fn all_machines_make_it_critical(look: &Look<'_>, found: &mut [Sighting]) {
    let api = [FindingId::ApiserverDown, FindingId::ApiserverNotReady, FindingId::ApiserverCertExpired];
    for family in [&api[..], &[FindingId::ControllerManagerDown], &[FindingId::SchedulerDown]] {
        let has = |host: &String| found.iter().any(|f| family.contains(&f.id) && f.hosts.contains(host));
        if look.inventory().kubernetes.control_plane.keys().all(has) {
            let all = found.iter_mut().filter(|sighting| family.contains(&sighting.id));
            all.for_each(|sighting| sighting.severity = Severity::Critical);
        }
    }
}

fn not_running(look: &Look<'_>, host: &str, service: &Service, id: FindingId) -> Option<Sighting> {
    let state = look.service(host, service)?;
    if state.is_running() {
        return None;
    }
    let log = again_and_again(state, service);
    Some(
        Sighting::new(id, Severity::Error)
            .on(host)
            .with_service(host, service)
            .shown_by(look.service_evidence(host, service))
            .remedies((!is_crash_loop(state)).then(|| start(host, service, Some(state))))
            .remedies(log),
    )
}

fn certificate(look: &Look<'_>, host: &str, facts: &ControlPlaneFacts) -> Option<Sighting> {
    let certificate = facts.certificate.get()?;
    let left = certificate.not_after.duration_since(look.facts.observed_at);
    let day = day(certificate.not_after);
    let seen =
        |what: &str| [seen_in(&facts.certificate, format!("{host}: {} {what} {day}", certificate.subject))];
    let renew =
        "renew the API server's certificates (`kubeadm certs renew all`, or the way they were issued)";
    if left.is_negative() {
        return Some(
            Sighting::new(FindingId::ApiserverCertExpired, Severity::Error)
                .on(host)
                .summary(format!("The API server's certificate on {host} expired on {day}"))
                .shown_by(seen("expired on"))
                .manual(format!("{renew} on {{who}}, then restart the API server there")),
        );
    }
    (left < EXPIRES_SOON).then(|| {
        let days = left.as_hours() / 24;
        Sighting::new(FindingId::ApiserverCertExpiring, Severity::Warning)
            .on(host)
            .summary(format!("The API server's certificate on {host} expires in {days} days"))
            .shown_by(seen("expires on"))
            .manual(format!("{renew} on {{who}} before {day}"))
    })
}

fn apiserver(
    look: &Look<'_>,
    cluster: &Cluster<'_>,
    host: &str,
    spec: &ControlPlaneSpec,
    facts: &ControlPlaneFacts,
) -> Option<Sighting> {
    let service = &spec.apiserver;
    let state = look.service(host, service);
    let condition = condition(facts, state.map(crate::facts::ServiceState::is_running))?;
    let (id, summary) = match condition {
        Condition::Stopped => {
            let how = state.map_or("is stopped", stopped);
            (FindingId::ApiserverDown, format!("The API server on {host} {how}"))
        }
        Condition::Silent => (FindingId::ApiserverDown, format!("The API server on {host} does not answer")),
        Condition::NotReady => {
            (FindingId::ApiserverNotReady, format!("The API server on {host} is not ready"))
        }
    };
    let sighting = Sighting::new(id, Severity::Error)
        .on(host)
        .with_service(host, service)
        .summary(summary)
        .shown_by(look.service_evidence(host, service))
        .shown_by(health(host, facts));
    // Without etcd, and with an expired certificate, it comes up no better than before.
    let would_help = cluster.quorum != Quorum::Lost && !look.has_expired(facts);
    Some(match condition {
        Condition::Stopped => {
            let log = state.and_then(|state| again_and_again(state, service));
            let start = (!state.is_some_and(is_crash_loop)).then(|| start(host, service, state));
            sighting.remedies(start).remedies(log)
        }
        _ if state.is_some() && would_help => {
            sighting.remedy(Remedy::RestartService { host: host.into(), service: service.clone() })
        }
        _ => sighting,
    })
}

#[derive(Clone, Copy)]
enum Condition {
    Stopped,
    Silent,
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
    Some(if speaks { Condition::NotReady } else { Condition::Silent })
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
