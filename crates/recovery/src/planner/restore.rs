//! Building the etcd cluster anew from the freshest state there is, in the order etcd's and Kubernetes' people
//! recommend: fence, bring the state, move the old aside, restore, etcd, API servers, their clients, nodes.

use crate::facts::{Facts, Login};
use crate::plan::{Action, HostService, StateSource};
use crate::rules::look::Look;

use super::candidates::{candidates, choose};
use super::{Draft, PlanError, nodes};

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

/// A restored cluster must not meet a process of the old one: every machine that could start one must be held, and
/// be the one that is meant.
fn reachable(facts: &Facts) -> Result<(), PlanError> {
    let inventory = &facts.inventory;
    let hosts = inventory.etcd.members.values().map(|member| &member.host);
    let look = Look::new(facts);
    for host in hosts.chain(inventory.kubernetes.masters.keys()) {
        if !look.is_trusted(host) {
            return Err(PlanError::WrongMachine(host.clone()));
        }
        if look.login(host) != Some(&Login::Ok) {
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

/// The two fences.
#[derive(Clone, Copy)]
struct Fences {
    control_plane: u32,
    etcd: u32,
}

/// API servers first, so that no client writes to an etcd that is about to stop.
fn fence(draft: &mut Draft<'_>) -> Fences {
    let mut add = |services: Vec<HostService>| {
        let number = draft.steps.add(FENCE_SECONDS, Action::Fence { services });
        draft.steps.changing("stopped, and kept from starting until Lifeboat releases it, reboots included");
        number
    };
    let facts = draft.facts;
    let mut clients = apiservers(facts);
    clients.extend(controllers(facts));
    Fences { control_plane: add(clients), etcd: add(members(facts)) }
}

fn distribute(draft: &mut Draft<'_>, source: StateSource, revision: Option<i64>) {
    let mut hosts: Vec<String> = members(draft.facts).into_iter().map(|service| service.host).collect();
    hosts.dedup();
    draft.steps.add(COPY_SECONDS, Action::Distribute { source, revision, hosts });
}

fn restore_members(draft: &mut Draft<'_>) {
    let inventory = &draft.facts.inventory;
    let members = &inventory.etcd.members;
    let initial_cluster = inventory.initial_cluster();
    for (name, member) in members {
        let to = super::aside(&member.data_dir, &draft.options.id);
        draft.steps.add(60, Action::MoveAside { member: name.clone(), to });
    }
    for name in members.keys() {
        let action = Action::RestoreMember {
            member: name.clone(),
            initial_cluster: initial_cluster.clone(),
            token: format!("lifeboat-{}", draft.options.id),
        };
        draft.steps.add(RESTORE_SECONDS, action);
        draft.steps.changing(
            "a new data dir; revisions jump by 1000000000 and all before are compacted, so that every client reads anew",
        );
    }
}

/// etcd, API servers, their clients, nodes, checks.
fn start(draft: &mut Draft<'_>, fences: Fences) {
    let facts = draft.facts;
    let etcd = members(facts);
    draft.steps.add(START_SECONDS, Action::Release { services: etcd });
    draft.steps.changing("from the first write on, the old data dirs are history").irreversible();
    draft.steps.ends(fences.etcd);
    let names = facts.inventory.etcd.members.keys().cloned().collect();
    draft.steps.add(WAIT_SECONDS, Action::WaitForEtcd { members: names });

    let apiservers = apiservers(facts);
    let hosts: Vec<String> = apiservers.iter().map(|service| service.host.clone()).collect();
    draft.steps.add(START_SECONDS, Action::Release { services: apiservers });
    draft.steps.changing("kubelets remove at once every pod that the restored state does not know");
    draft.steps.ends(fences.control_plane);
    draft.steps.add(180, Action::WaitForApiservers { hosts });

    let controllers = controllers(facts);
    let leases = draft.steps.add(START_SECONDS, Action::ReleaseLeases { candidates: controllers.clone() });
    draft.steps.changing("a new controller-manager and scheduler can lead at once: all old ones are fenced");
    draft.steps.add(START_SECONDS, Action::Release { services: controllers });
    draft.steps.ends(leases);
    let look = Look::new(facts);
    let nodes = facts.inventory.kubernetes.nodes.keys().filter(|host| !look.is_behind(host));
    let nodes: Vec<String> = nodes.cloned().collect();
    if !nodes.is_empty() {
        nodes::recover(draft, nodes);
    }
    super::control_plane::leaders(draft);
    nodes::checks(draft);
    let hosts = facts.inventory.etcd.members.values().map(|member| member.host.clone()).collect();
    draft.steps.add(60, Action::CleanUp { hosts });
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
