//! Waits: for machines, members, API servers, checks.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use crate::facts::{Login, MemberFacts};
use crate::plan::{Action, RestoredCluster};
use crate::probe::{self, ProbeOptions};
use crate::rules;

use super::context::Context;
use super::error::StepError;
use super::{State, data_dir};

/// A cluster whose machines were away for a while needs so long for an election and a round of heartbeats; before
/// that, observations are not meaningful.
const SETTLE_AT_LEAST: Duration = Duration::from_secs(4);

/// How long to wait for a machine that the cluster can start without.
const DISPENSABLE: Duration = Duration::from_secs(60);

/// Whether all of these accept logins and have the right machine id. One that neither etcd nor the control plane
/// needs is waited for a minute only: the next observation reports it, and the cluster must not wait for it.
pub(super) async fn hosts(context: &Context<'_>, step: u32, hosts: &[String]) -> Result<State, StepError> {
    let refused = refused(context);
    let hosts: Vec<String> = hosts.iter().filter(|host| !refused.contains(host)).cloned().collect();
    let asked = hosts.iter().map(|name| async move {
        let Some(host) = context.access.hosts.get(name) else {
            return Ok(Some(format!("{name} is unknown")));
        };
        let facts = probe::host::collect(context.inventory, name, host.as_ref()).await;
        let expected = context.machine_id(name);
        match (facts.login.get(), facts.machine_id.get(), expected) {
            (Some(Login::Ok), Some(id), Some(expected)) if id != expected => Err(StepError::Fatal(format!(
                "another machine answers at {name}'s address: its machine id is {id}, not {expected}"
            ))),
            (Some(Login::Ok), ..) => Ok(None),
            (Some(Login::HostKeyChanged(why) | Login::Denied(why)), ..) => {
                Err(StepError::Fatal(format!("{name}: {why}")))
            }
            (Some(Login::Unreachable(why)), ..) => Ok(Some(format!("{name}: {why}"))),
            (None, ..) => Ok(Some(format!("{name}: no answer"))),
        }
    });
    let answers = join_all(asked).await;
    let waited = Timestamp::now().duration_since(begun(context, step)?).unsigned_abs();
    let missing = hosts.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(Some(_))));
    let are_dispensable = missing.map(|(host, _)| host).all(|host| !context.inventory.holds_cluster_up(host));
    let is_over = are_dispensable && waited >= DISPENSABLE;
    first(answers.into_iter().map(|answer| answer.map(|why| why.filter(|_| !is_over))).collect())
}

/// The machines that the cloud did not bring back in this run: there is nothing to wait for.
fn refused<'a>(context: &'a Context<'_>) -> Vec<&'a String> {
    let failed = context.failed_steps();
    let steps = context.plan.steps.iter().filter(|step| failed.contains(&step.number));
    let hosts = steps.filter_map(|step| match &step.action {
        Action::AttachNic { host, .. } | Action::StartVm { host, .. } => Some(host),
        _ => None,
    });
    hosts.collect()
}

/// Whether to stop waiting: all is well, the time is over, or a quorum of members is still not running.
pub(super) async fn stabilized(context: &Context<'_>, step: u32, seconds: u64) -> Result<State, StepError> {
    let since = begun(context, step)?;
    let waited = Timestamp::now().duration_since(since).unsigned_abs();
    if waited >= Duration::from_secs(seconds) {
        return Ok(State::Done);
    }
    let facts = probe::observe(context.inventory, context.access, &ProbeOptions::quick()).await;
    let diagnosis = rules::diagnose(&facts);
    if diagnosis.is_healthy() {
        // Partitioned leaders keep their leases for a while and look healthy.
        let led = !context.inventory.kubernetes.control_plane.is_empty();
        return if led { leaders(context, step).await } else { Ok(State::Done) };
    }
    let quorum = facts.members.values().any(MemberFacts::sees_quorum);
    let runs = |(name, spec): &(&String, &crate::inventory::MemberSpec)| {
        let services = facts.hosts.get(&spec.host).and_then(|host| host.services.get());
        let running = services
            .and_then(|all| all.get(&spec.service.key()))
            .is_some_and(crate::facts::ServiceState::is_running);
        running || facts.members.get(*name).is_some_and(|member| member.status.get().is_some())
    };
    let members = &context.inventory.etcd.members;
    let hopeless = !quorum && members.iter().filter(runs).count() <= members.len() / 2;
    if hopeless && waited >= SETTLE_AT_LEAST {
        return Ok(State::Done);
    }
    let wrong = diagnosis.causes.first().map(|cause| cause.summary.clone());
    let unknown = || diagnosis.unknown.first().map(|unknown| format!("{} is not known", unknown.what));
    Ok(State::NotYet(wrong.or_else(unknown).unwrap_or_default()))
}

/// When this step first began; noted, so that a resumed run does not wait again.
fn begun(context: &Context<'_>, step: u32) -> Result<Timestamp, StepError> {
    let notes = context.notes(step);
    if let Some(since) = notes.iter().find_map(|note| note.strip_prefix("since ")?.parse().ok()) {
        return Ok(since);
    }
    let now = Timestamp::now();
    context.note(step, format!("since {now}"))?;
    Ok(now)
}

/// Whether members are one cluster: one id, one leader, no CORRUPT alarm, equal data at an equal revision; the cluster and
/// the data that were written, if it was restored.
pub(super) async fn etcd(
    context: &Context<'_>,
    members: &[String],
    restored: Option<&RestoredCluster>,
) -> Result<State, StepError> {
    let facts = probe::etcd::members(context.inventory, context.access).await;
    let (mut cluster, mut hash) = (None, None);
    for name in members {
        let Some(member) = facts.get(name) else {
            return Err(StepError::Fatal(format!("the inventory has no etcd member {name}")));
        };
        let Some(status) = member.status.get() else {
            let why = member.status.why_unknown().unwrap_or_default();
            return Ok(State::NotYet(format!("{name} does not answer: {why}")));
        };
        if let Some(restored) = restored {
            data_dir::identity(context, name, status, restored)?;
        }
        let Some(leader) = &status.leader else {
            return Ok(State::NotYet(format!("{name} sees no leader")));
        };
        // One of NOSPACE is for the next observation to judge.
        let mut alarms = member.alarms.get().into_iter().flatten();
        let is_member =
            |id: &String| member.member_list.get().is_none_or(|list| list.iter().any(|it| it.id == *id));
        if let Some(alarm) = alarms.find(|alarm| alarm.kind == "CORRUPT" && is_member(&alarm.member_id)) {
            return Err(StepError::Fatal(format!(
                "etcd raised a CORRUPT alarm for member {}",
                alarm.member_id
            )));
        }
        let identity = (status.cluster_id.clone(), leader.clone());
        if *cluster.get_or_insert_with(|| identity.clone()) != identity {
            return Ok(State::NotYet(format!("{name} follows another leader than the others")));
        }
        let Some(its) = member.hash_kv.get() else {
            let why = member.hash_kv.why_unknown().unwrap_or_default();
            return Ok(State::NotYet(format!("{name} gives no HashKV: {why}")));
        };
        let first = hash.get_or_insert_with(|| its.clone());
        // A compaction that one has applied and another has not yet.
        if (first.revision, first.compact_revision) != (its.revision, its.compact_revision) {
            return Ok(State::NotYet(format!(
                "{name}'s data cannot be compared with the others' at this moment"
            )));
        }
        if first.hash != its.hash {
            return Err(StepError::Fatal(format!(
                "{name} has different data than the others at revision {}",
                its.revision
            )));
        }
    }
    if restored.is_some() {
        for name in members {
            data_dir::same_data(context, name).await?;
        }
    }
    Ok(State::Done)
}

/// Whether API servers are ready.
pub(super) async fn apiservers(context: &Context<'_>, hosts: &[String]) -> Result<State, StepError> {
    let asked = hosts.iter().map(|host| async move {
        let facts = probe::kubernetes::api_server(context.inventory, context.access, host).await;
        match (facts.readyz.get(), facts.readyz.why_unknown()) {
            (Some(health), _) if health.ok => Ok(None),
            (Some(health), _) => Ok(Some(format!("{host}: {}", health.detail))),
            (None, why) => Ok(Some(format!("{host}: {}", why.unwrap_or("no answer")))),
        }
    });
    first(join_all(asked).await)
}

/// Whether a controller-manager and a scheduler lead: whether their leases are renewed, seen twice to differ, so that
/// the clocks of their machines do not matter. Candidates wait until the lease of an earlier leader expires.
pub(super) async fn leaders(context: &Context<'_>, step: u32) -> Result<State, StepError> {
    let facts = probe::kubernetes::cluster(context.inventory, context.access).await;
    for (name, fact) in [("controller-manager", &facts.controller_manager), ("scheduler", &facts.scheduler)] {
        let Some(lease) = fact.get() else {
            return Ok(State::NotYet(format!("{name}: {}", fact.why_unknown().unwrap_or("no answer"))));
        };
        let renewed = lease.renewed_at.map(|at| at.to_string()).unwrap_or_default();
        let prefix = format!("lease of {name} renewed at ");
        match context.notes(step).iter().find_map(|note| note.strip_prefix(&prefix)) {
            None => context.note(step, format!("{prefix}{renewed}"))?,
            Some(noted) if noted != renewed => continue,
            Some(_) => {}
        }
        return Ok(State::NotYet(format!("no {name} has renewed its lease yet")));
    }
    Ok(State::Done)
}

/// Whether checks pass.
pub(super) async fn checks(context: &Context<'_>, checks: &[String]) -> Result<State, StepError> {
    let answers = probe::checks::all(context.inventory).await;
    let failing =
        answers.iter().filter(|(name, _)| checks.contains(name)).find_map(|(name, answer)| {
            match (answer.get(), answer.why_unknown()) {
                (Some(answer), _) if answer.ok => None,
                (Some(answer), _) => Some(format!("{name}: {}", answer.detail)),
                (None, why) => Some(format!("{name}: {}", why.unwrap_or("no answer"))),
            }
        });
    Ok(failing.map_or(State::Done, State::NotYet))
}

/// The first thing that stands in the way.
fn first(answers: Vec<Result<Option<String>, StepError>>) -> Result<State, StepError> {
    let reasons: Vec<Option<String>> = answers.into_iter().collect::<Result<_, _>>()?;
    Ok(reasons.into_iter().flatten().next().map_or(State::Done, State::NotYet))
}
