//! Rebuilds the etcd cluster from the most recent usable state, in the order that etcd and Kubernetes recommend:
//! fence, send the state, move old data aside, restore, etcd, API servers, their clients, nodes.

use crate::facts::{DataDir, DataDirs, Facts, Login, MemberFacts};
use crate::inventory::Service;
use crate::plan::{Action, Guard, HostService, RestoredCluster, StateSource, aside};
use crate::rules::facts_view::FactsView;
use crate::transfer_time;

use super::candidates::{candidates, choose};
use super::preflight::{self, Room};
use super::{Draft, PlanError, nodes};

const FENCE_SECONDS: u64 = 180;
/// The largest db that etcd is made for.
const LARGEST_STATE: u64 = 8 << 30;
const RESTORE_SECONDS: u64 = 900;
const START_SECONDS: u64 = 120;
const WAIT_SECONDS: u64 = 120;

/// Adds every step of a restore.
pub(super) fn plan(draft: &mut Draft<'_>) -> Result<(), PlanError> {
    let facts = draft.facts;
    reachable(facts)?;
    defined(facts)?;
    if draft.options.source.is_none() {
        ensure_not_fenced(facts)?;
    }
    draft.candidates = candidates(facts);
    let (source, revision) = choose(draft)?;
    let dirs = establish(draft, &source)?;
    // What cannot change meanwhile is brought to the machines while the cluster still runs as far as it does.
    let early = is_at_rest(facts, &source);
    let distributed = early.then(|| distribute(draft, &source, revision));
    let fences = fence(draft, &source, &dirs);
    let confirmed = early && source.member().is_some();
    let confirmed = confirmed.then(|| confirm(draft, &source, revision));
    let distributed = distributed.unwrap_or_else(|| distribute(draft, &source, revision));
    move_aside(draft, &dirs, confirmed);
    let cluster = restore_members(draft, &dirs);
    // Each machine drops the state once its members are restored.
    draft.steps.ends(distributed);
    start(draft, fences, cluster);
    Ok(())
}

/// Every member with the directories its data is moved aside from and written to.
fn establish(draft: &mut Draft<'_>, source: &StateSource) -> Result<Vec<(String, DataDirs)>, PlanError> {
    let state = preflight::state_bytes(draft, source);
    let (mut dirs, mut wrong) = (Vec::new(), Vec::new());
    for name in draft.facts.inventory.etcd.members.keys() {
        let room = state.map(|state| Room::to_restore(state, source, name));
        match preflight::establish(draft, name, room) {
            Ok(its) => dirs.push((name.clone(), its)),
            Err(why) => wrong.extend(why),
        }
    }
    if wrong.is_empty() { Ok(dirs) } else { Err(PlanError::Preflight(wrong)) }
}

/// A restored cluster must not meet a process of the old one: every machine that could start one must be held, and
/// be the one that is meant.
fn reachable(facts: &Facts) -> Result<(), PlanError> {
    let inventory = &facts.inventory;
    let hosts = inventory.etcd.members.values().map(|member| &member.host);
    let view = FactsView::new(facts);
    for host in hosts.chain(inventory.kubernetes.control_plane.keys()) {
        if !view.is_trusted(host) {
            return Err(PlanError::WrongMachine(host.clone()));
        }
        if view.login(host) != Some(&Login::Ok) {
            return Err(PlanError::CannotFence(host.clone()));
        }
    }
    Ok(())
}

/// A service that is not defined cannot be fenced: once its definition is back, it would start beside the restored cluster.
fn defined(facts: &Facts) -> Result<(), PlanError> {
    let mut services = apiservers(facts);
    services.extend(controllers(facts));
    services.extend(members(facts));
    let view = FactsView::new(facts);
    let wrong = services.iter().filter_map(|HostService { host, service }| {
        let is_undefined = view.service(host, service)?.is_undefined(service);
        let what = match service {
            Service::Unit(unit) => format!("unit {unit}"),
            Service::StaticPod(pod) => format!("manifest {}", pod.manifest.display()),
        };
        is_undefined.then(|| {
            format!("{host}: there is no {what} to fence; restore it, or correct {host} in the inventory")
        })
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(PlanError::Preflight(wrong)) }
}

/// Data dirs that are gone because an earlier recovery moved them aside are not gone.
fn ensure_not_fenced(facts: &Facts) -> Result<(), PlanError> {
    for HostService { host, service } in members(facts) {
        let states = facts.hosts.get(&host).and_then(|host| host.services.get());
        if states.and_then(|states| states.get(&service.key())).is_some_and(|state| state.fenced) {
            return Err(PlanError::Fenced(format!("{} on {host}", service.label())));
        }
    }
    Ok(())
}

/// The two fences.
#[derive(Clone, Copy)]
struct Fences {
    control_plane: u32,
    etcd: u32,
}

/// API servers first, so that no client writes to an etcd that is about to stop.
fn fence(draft: &mut Draft<'_>, source: &StateSource, dirs: &[(String, DataDirs)]) -> Fences {
    let serves = draft.facts.members.values().any(MemberFacts::sees_quorum);
    // A person who named the state has seen that etcd serves another one.
    let mut guards: Vec<Guard> = if serves { Vec::new() } else { vec![Guard::QuorumLost] };
    if !serves {
        draft.established.push("quorum: already lost, so the fence stops nothing that works".into());
    }
    for (member, dirs) in dirs {
        guards.push(Guard::Data { member: member.clone(), dirs: dirs.clone() });
        guards.push(Guard::Room { member: member.clone(), source: Some(source.clone()) });
    }
    let mut add = |services: Vec<HostService>| {
        let number = draft.steps.add(FENCE_SECONDS, Action::Fence { services });
        draft.steps.guarded(guards.clone());
        draft.steps.changing("stopped and fenced until Lifeboat releases it, even across reboots");
        number
    };
    let facts = draft.facts;
    let mut clients = apiservers(facts);
    clients.extend(controllers(facts));
    Fences { control_plane: add(clients), etcd: add(members(facts)) }
}

/// Whether a source stays as it is without a fence: a snapshot file, or the data dirs of members that do not run.
fn is_at_rest(facts: &Facts, source: &StateSource) -> bool {
    let is_stopped = |name: &str| {
        let member = facts.members.get(name);
        member.is_some_and(|member| {
            let dir = member.data_dir.get();
            let is_read = matches!(dir, Some(DataDir::Sound(_) | DataDir::Damaged(_)));
            is_read && member.status.get().is_none()
        })
    };
    source.members().all(is_stopped)
}

fn state_hosts(draft: &Draft<'_>) -> Vec<String> {
    let mut hosts: Vec<String> = members(draft.facts).into_iter().map(|service| service.host).collect();
    hosts.dedup();
    hosts
}

fn distribute(draft: &mut Draft<'_>, source: &StateSource, revision: Option<i64>) -> u32 {
    let hosts = state_hosts(draft);
    let seconds = copy_seconds(draft, source, hosts.len());
    let source = source.clone();
    draft.steps.add(seconds, Action::Distribute { source, revision, hosts })
}

/// Enough for the size and the slowest link that is still of use; a member's state is reckoned at what etcd is made for.
fn copy_seconds(draft: &Draft<'_>, source: &StateSource, machines: usize) -> u64 {
    let snapshot = match source {
        StateSource::Snapshot(_) => preflight::state_bytes(draft, source),
        StateSource::Member(_) | StateSource::Log { .. } => None,
    };
    transfer_time::seconds(snapshot.unwrap_or(LARGEST_STATE), machines)
}

fn confirm(draft: &mut Draft<'_>, source: &StateSource, revision: Option<i64>) -> u32 {
    let hosts = state_hosts(draft);
    let seconds = copy_seconds(draft, source, hosts.len());
    let source = source.clone();
    draft.steps.add(seconds, Action::ConfirmState { source, revision, hosts })
}

/// Moves every old data dir aside; the first ends what was confirmed of one.
fn move_aside(draft: &mut Draft<'_>, dirs: &[(String, DataDirs)], confirmed: Option<u32>) {
    let mut confirmed = confirmed;
    for (name, dirs) in dirs {
        let to = aside(&dirs.data, &draft.options.id);
        draft.steps.add(60, Action::MoveAside { member: name.clone(), dirs: dirs.clone(), to });
        draft.steps.guarded([
            Guard::Data { member: name.clone(), dirs: dirs.clone() },
            Guard::PortsFree { member: name.clone() },
        ]);
        if let Some(step) = confirmed.take() {
            draft.steps.ends(step);
        }
    }
}

fn restore_members(draft: &mut Draft<'_>, dirs: &[(String, DataDirs)]) -> RestoredCluster {
    let cluster = RestoredCluster {
        initial_cluster: draft.facts.inventory.initial_cluster(),
        token: format!("lifeboat-{}", draft.options.id),
    };
    for (name, dirs) in dirs {
        let action =
            Action::RestoreMember { member: name.clone(), dirs: dirs.clone(), cluster: cluster.clone() };
        draft.steps.add(RESTORE_SECONDS, action);
        draft.steps.changing(
            "new data dir; revisions jump by 1000000000 and older ones are compacted, so that clients list again",
        );
    }
    cluster
}

/// etcd, API servers, their clients, nodes, checks.
fn start(draft: &mut Draft<'_>, fences: Fences, cluster: RestoredCluster) {
    let facts = draft.facts;
    let etcd = members(facts);
    draft.steps.add(START_SECONDS, Action::Release { services: etcd });
    draft.steps.changing("after the first write the old data dirs are outdated").irreversible();
    draft.steps.ends(fences.etcd);
    let names = facts.inventory.etcd.members.keys().cloned().collect();
    let action = Action::WaitForEtcd { members: names, restored: Some(cluster) };
    draft.steps.add(WAIT_SECONDS, action);

    let apiservers = apiservers(facts);
    let hosts: Vec<String> = apiservers.iter().map(|service| service.host.clone()).collect();
    draft.steps.add(START_SECONDS, Action::Release { services: apiservers });
    draft.steps.changing("kubelets immediately remove pods that are not in the restored state");
    draft.steps.ends(fences.control_plane);
    draft.steps.add(180, Action::WaitForApiservers { hosts });

    let controllers = controllers(facts);
    let leases = draft.steps.add(START_SECONDS, Action::ReleaseLeases { candidates: controllers.clone() });
    draft.steps.changing("a new controller-manager and scheduler can lead at once: all old ones are fenced");
    draft.steps.add(START_SECONDS, Action::Release { services: controllers });
    draft.steps.ends(leases);
    let restored = draft.steps.count();
    let view = FactsView::new(facts);
    let nodes = facts.inventory.kubernetes.nodes.keys().filter(|host| !view.is_behind(host));
    let nodes: Vec<String> = nodes.cloned().collect();
    if !nodes.is_empty() {
        nodes::recover(draft, nodes);
    }
    super::control_plane::leaders(draft);
    nodes::checks(draft);
    let hosts = facts.inventory.etcd.members.values().map(|member| member.host.clone()).collect();
    draft.steps.add(60, Action::CleanUp { hosts });
    draft.steps.independent_behind(restored);
}

fn members(facts: &Facts) -> Vec<HostService> {
    let members = facts.inventory.etcd.members.values();
    members.map(|m| HostService { host: m.host.clone(), service: m.service.clone() }).collect()
}

fn apiservers(facts: &Facts) -> Vec<HostService> {
    let specs = facts.inventory.kubernetes.control_plane.iter();
    specs.map(|(host, m)| HostService { host: host.clone(), service: m.apiserver.clone() }).collect()
}

fn controllers(facts: &Facts) -> Vec<HostService> {
    let specs = facts.inventory.kubernetes.control_plane.iter();
    let both = |(host, spec): (&String, &crate::inventory::ControlPlaneSpec)| {
        [&spec.controller_manager, &spec.scheduler]
            .map(|service| HostService { host: host.clone(), service: service.clone() })
    };
    specs.flat_map(both).collect()
}
