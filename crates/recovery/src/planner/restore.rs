//! Building the etcd cluster anew from the freshest state there is, in the order etcd's and Kubernetes' people
//! recommend: fence, bring the state, move the old aside, restore, etcd, API servers, their clients, nodes.

use lifeboat_etcd::EntryId;

use crate::facts::{DataDir, Facts, Login, MemberFacts};
use crate::plan::{Action, Candidate, HostService, StateSource};

use super::steps::services;
use super::{Draft, PlanError, Snapshot, nodes};

const FENCE_SECONDS: u64 = 180;
const COPY_SECONDS: u64 = 1800;
const RESTORE_SECONDS: u64 = 900;
const START_SECONDS: u64 = 120;
const WAIT_SECONDS: u64 = 120;

/// Adds every step of a restore.
pub(super) fn plan(draft: &mut Draft<'_>) -> Result<(), PlanError> {
    let facts = draft.facts;
    reachable(facts)?;
    if draft.options.source.is_none() {
        unheld(facts)?;
    }
    draft.candidates = candidates(facts, &draft.options.snapshots);
    let (source, revision) = choose(draft)?;
    let fences = fence(draft);
    distribute(draft, source, revision);
    restore_members(draft);
    start(draft, fences);
    Ok(())
}

/// A restored cluster must not meet a process of the old one: every machine that could start one must be held.
fn reachable(facts: &Facts) -> Result<(), PlanError> {
    let inventory = &facts.inventory;
    let hosts = inventory.etcd.members.values().map(|member| &member.host);
    for host in hosts.chain(inventory.kubernetes.masters.keys()) {
        let login = facts.hosts.get(host).and_then(|host| host.login.get());
        if login != Some(&Login::Ok) {
            return Err(PlanError::CannotFence(host.clone()));
        }
    }
    Ok(())
}

/// Data dirs that are gone because an earlier recovery moved them aside are not gone.
fn unheld(facts: &Facts) -> Result<(), PlanError> {
    for HostService { host, service } in members(facts) {
        let states = facts.hosts.get(&host).and_then(|host| host.services.get());
        if states.and_then(|states| states.get(&service.key())).is_some_and(|state| state.fenced) {
            return Err(PlanError::Fenced(format!("{} on {host}", service.label())));
        }
    }
    Ok(())
}

/// Every place the state could come from, the freshest first.
///
/// Members of one cluster order as raft elects: their whole logs are taken, and what the end of one adds to its revision
/// is not known here. A snapshot is always older than the member it was taken from, so members go first.
fn candidates(facts: &Facts, snapshots: &[Snapshot]) -> Vec<Candidate> {
    let mut members: Vec<(EntryId, Candidate)> =
        facts.members.keys().filter_map(|name| member_candidate(facts, name)).collect();
    members.sort_by_key(|(last, candidate)| std::cmp::Reverse((candidate.revision.is_some(), *last)));
    let mut snapshots: Vec<Candidate> = snapshots.iter().map(snapshot_candidate).collect();
    snapshots.sort_by_key(|candidate| std::cmp::Reverse((candidate.revision, candidate.newest)));
    let mut all: Vec<Candidate> = members.into_iter().map(|(_, candidate)| candidate).collect();
    all.append(&mut snapshots);
    let newest = all.iter().filter_map(|candidate| candidate.revision).max();
    let damaged = damaged(facts);
    for candidate in &mut all {
        if let (Some(revision), Some(newest)) = (candidate.revision, newest) {
            candidate.remark = loss(revision, newest, &candidate.source, &damaged);
        }
    }
    all
}

/// Members whose data cannot be read as it is: what they hold may be newer than all that can.
fn damaged(facts: &Facts) -> Vec<&str> {
    let is_damaged = |member: &&MemberFacts| matches!(member.data_dir.get(), Some(DataDir::Damaged(_)));
    facts.members.iter().filter(|(_, member)| is_damaged(member)).map(|(name, _)| name.as_str()).collect()
}

fn member_candidate(facts: &Facts, name: &str) -> Option<(EntryId, Candidate)> {
    let member = facts.members.get(name)?;
    let none = EntryId::default();
    let candidate = |last, revision, remark: String| {
        let source = StateSource::Member(name.into());
        (last, Candidate { source, revision, newest: None, chosen: false, remark })
    };
    if let Some(status) = member.status.get() {
        // Its data dir is read once it is fenced; the revision it serves now is the least that must be found.
        let learner = status.learner.then(|| "a learner".to_owned());
        let revision = learner.is_none().then_some(status.revision);
        let last = EntryId { term: status.raft_term, index: status.raft_index };
        return Some(candidate(last, revision, learner.unwrap_or_default()));
    }
    Some(match (member.data_dir.get(), member.data_dir.why_unknown()) {
        (Some(DataDir::Sound(state)), _) if state.keys == 0 => {
            candidate(none, None, "holds no keys: it was begun anew".into())
        }
        (Some(DataDir::Sound(state)), _) => {
            let last = EntryId { term: state.last_term, index: state.last_index };
            candidate(last, Some(state.revision), String::new())
        }
        (Some(DataDir::Damaged(why)), _) => candidate(none, None, format!("damaged: {}", why.join("; "))),
        (Some(DataDir::Absent), _) => candidate(none, None, "its data dir is gone".into()),
        (Some(DataDir::InUse(_)), _) => candidate(none, None, "in use and not answering".into()),
        (None, why) => candidate(none, None, format!("unknown: {}", why.unwrap_or("not asked"))),
    })
}

fn snapshot_candidate(snapshot: &Snapshot) -> Candidate {
    let source = StateSource::Snapshot(snapshot.path.clone());
    let (revision, remark) = match &snapshot.revision {
        Ok(revision) => (Some(*revision), String::new()),
        Err(why) => (None, why.clone()),
    };
    Candidate { source, revision, newest: snapshot.written, chosen: false, remark }
}

fn loss(revision: i64, newest: i64, source: &StateSource, damaged: &[&str]) -> String {
    match (newest.saturating_sub(revision), source) {
        (0, StateSource::Member(_)) if !damaged.is_empty() => {
            format!("loses what {} may hold beyond it: lifeboat salvage tells", damaged.join(", "))
        }
        (0, StateSource::Member(_)) => "loses nothing that is known".into(),
        (0, StateSource::Snapshot(_)) => "loses every write after it was taken".into(),
        (lost, _) => format!("loses {lost} revisions"),
    }
}

/// Marks the candidate a person has named, else the freshest.
fn choose(draft: &mut Draft<'_>) -> Result<(StateSource, Option<i64>), PlanError> {
    let wanted = draft.options.source.as_ref();
    let fits = |candidate: &&mut Candidate| match wanted {
        Some(source) => candidate.source == *source,
        None => candidate.revision.is_some(),
    };
    if wanted.is_none() {
        undecided(&draft.candidates)?;
    }
    let chosen = draft.candidates.iter_mut().find(fits);
    match (chosen, wanted) {
        (Some(candidate), _) if candidate.revision.is_some() => {
            candidate.chosen = true;
            Ok((candidate.source.clone(), candidate.revision))
        }
        (Some(candidate), Some(source)) => {
            Err(PlanError::BadSource(source.clone(), candidate.remark.clone()))
        }
        (None, Some(source)) => {
            Err(PlanError::BadSource(source.clone(), "no such member or snapshot".into()))
        }
        (_, None) => Err(PlanError::NoSource),
    }
}

/// A member holds all that its snapshots do. One that holds less was begun anew, or restored from something older still:
/// which state is right then, only people know.
fn undecided(candidates: &[Candidate]) -> Result<(), PlanError> {
    let first = |of: fn(&Candidate) -> bool| {
        candidates.iter().filter(|candidate| of(candidate)).find_map(|c| Some((c, c.revision?)))
    };
    let member = first(|candidate| matches!(candidate.source, StateSource::Member(_)));
    let snapshot = first(|candidate| matches!(candidate.source, StateSource::Snapshot(_)));
    match (member, snapshot) {
        (Some((member, held)), Some((snapshot, saved))) if saved > held => Err(PlanError::Undecided {
            member: member.source.clone(),
            held,
            snapshot: snapshot.source.clone(),
            saved,
        }),
        _ => Ok(()),
    }
}

/// The two fences.
#[derive(Clone, Copy)]
struct Fences {
    control_plane: u32,
    etcd: u32,
}

/// API servers first, so that no client writes to an etcd that is about to stop.
fn fence(draft: &mut Draft<'_>) -> Fences {
    let mut add = |what: &str, services: Vec<HostService>| {
        let title = format!("Stop and fence {what}: {}", super::steps::services(&services));
        let number = draft.steps.add(title, FENCE_SECONDS, Action::Fence { services });
        draft.steps.changing("stopped, and kept from starting until Lifeboat releases it, reboots included");
        number
    };
    let facts = draft.facts;
    let mut clients = apiservers(facts);
    clients.extend(controllers(facts));
    Fences { control_plane: add("the control plane", clients), etcd: add("etcd", members(facts)) }
}

fn distribute(draft: &mut Draft<'_>, source: StateSource, revision: Option<i64>) {
    let mut hosts: Vec<String> = members(draft.facts).into_iter().map(|service| service.host).collect();
    hosts.dedup();
    let at = revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    let title = format!("Bring the state of {source}{at} to {}", hosts.join(", "));
    draft.steps.add(title, COPY_SECONDS, Action::Distribute { source, revision, hosts });
}

fn restore_members(draft: &mut Draft<'_>) {
    let inventory = &draft.facts.inventory;
    let members = &inventory.etcd.members;
    let peers = members.iter().map(|(name, member)| format!("{name}={}", member.peer_url));
    let initial_cluster = peers.collect::<Vec<_>>().join(",");
    for (name, member) in members {
        let to = super::aside(&member.data_dir, &draft.options.id);
        let title = format!("Move {name}'s data dir aside to {}", to.display());
        draft.steps.add(title, 60, Action::MoveAside { member: name.clone(), to });
    }
    for name in members.keys() {
        let action = Action::RestoreMember {
            member: name.clone(),
            initial_cluster: initial_cluster.clone(),
            token: format!("lifeboat-{}", draft.options.id),
        };
        draft.steps.add(format!("Restore {name}"), RESTORE_SECONDS, action);
        draft.steps.changing(
            "a new data dir; revisions jump by 1000000000 and all before are compacted, so that every client reads anew",
        );
    }
}

/// etcd, API servers, their clients, nodes, checks.
fn start(draft: &mut Draft<'_>, fences: Fences) {
    let facts = draft.facts;
    let etcd = members(facts);
    draft.steps.add(format!("Start {}", services(&etcd)), START_SECONDS, Action::Release { services: etcd });
    draft.steps.changing("from the first write on, the old data dirs are history").irreversible();
    draft.steps.ends(fences.etcd);
    let names = facts.inventory.etcd.members.keys().cloned().collect();
    draft.steps.add("Wait for a leader and equal data", WAIT_SECONDS, Action::WaitForEtcd { members: names });

    let apiservers = apiservers(facts);
    let hosts: Vec<String> = apiservers.iter().map(|service| service.host.clone()).collect();
    let title = format!("Start {}", services(&apiservers));
    draft.steps.add(title, START_SECONDS, Action::Release { services: apiservers });
    draft.steps.changing("kubelets remove at once every pod that the restored state does not know");
    draft.steps.ends(fences.control_plane);
    let title = format!("Wait until the API servers on {} are ready", hosts.join(", "));
    draft.steps.add(title, 180, Action::WaitForApiservers { hosts });

    let controllers = controllers(facts);
    let leases = draft.steps.add(
        "Give up the leader leases that the restored state knows",
        START_SECONDS,
        Action::ReleaseLeases { candidates: controllers.clone() },
    );
    draft.steps.changing("a new controller-manager and scheduler can lead at once: all old ones are fenced");
    let title = format!("Start {}", services(&controllers));
    draft.steps.add(title, START_SECONDS, Action::Release { services: controllers });
    draft.steps.ends(leases);
    let nodes: Vec<String> = facts.inventory.kubernetes.nodes.keys().cloned().collect();
    if !nodes.is_empty() {
        nodes::recover(draft, nodes);
    }
    super::control_plane::leaders(draft);
    nodes::checks(draft);
    let hosts = facts.inventory.etcd.members.values().map(|member| member.host.clone()).collect();
    draft.steps.add("Clean up what was sent to the machines", 60, Action::CleanUp { hosts });
}

fn members(facts: &Facts) -> Vec<HostService> {
    let members = facts.inventory.etcd.members.values();
    members.map(|m| HostService { host: m.host.clone(), service: m.service.clone() }).collect()
}

fn apiservers(facts: &Facts) -> Vec<HostService> {
    let masters = facts.inventory.kubernetes.masters.iter();
    masters.map(|(host, m)| HostService { host: host.clone(), service: m.apiserver.clone() }).collect()
}

fn controllers(facts: &Facts) -> Vec<HostService> {
    let masters = facts.inventory.kubernetes.masters.iter();
    let both = |(host, master): (&String, &crate::inventory::Master)| {
        [&master.controller_manager, &master.scheduler]
            .map(|service| HostService { host: host.clone(), service: service.clone() })
    };
    masters.flat_map(both).collect()
}
