//! etcd while its quorum can be had without a restore: members to start, to replace, and alarms to clear.

use crate::facts::{self, MemberEntry};
use crate::finding::Remedy;
use crate::inventory::{MemberSpec, Service};
use crate::plan::{Action, Guard, HostService, aside};
use crate::quorum::{self, Margin, seats};

use super::preflight::{self, Room};
use super::{Draft, PlanError, Remedies};

const START_SECONDS: u64 = 90;
const WAIT_SECONDS: u64 = 60;
/// A learner of some gigabytes is sent its snapshot in minutes.
const CATCH_UP_SECONDS: u64 = 900;

/// Adds the steps for etcd; returns how many of the plan's first steps depend on each other in order.
pub(super) fn plan(draft: &mut Draft<'_>, remedies: &Remedies) -> Result<usize, PlanError> {
    start(draft, remedies);
    let mut in_order = draft.steps.count();
    // One at a time: the next replacement is planned from what the cluster looks like after the first.
    let replace = remedies.automatic.iter().find_map(|remedy| match remedy {
        Remedy::ReplaceMember { member } => Some(member),
        _ => None,
    });
    if let Some(member) = replace {
        let seats = seats(&draft.facts.inventory, &draft.facts.members);
        let margin = seats.as_deref().map(|seats| Margin::replacing(seats, member));
        match margin.filter(Margin::holds) {
            Some(margin) => in_order = replace_member(draft, member, &margin)?,
            None => {
                let margin = seats.as_deref().map(|seats| Margin::replacing(seats, member));
                draft.manual.push(quorum::keep(member, margin.as_ref()));
            }
        }
    }
    for remedy in &remedies.automatic {
        if let Remedy::DisarmCorrupt { id } = remedy {
            disarm(draft, id);
        }
        if let Remedy::ClearNospace { members } = remedy {
            let action = Action::ClearNospace { members: members.clone() };
            draft.steps.add(600, action);
            draft
                .steps
                .changing("superseded revisions are dropped; each member pauses while it is defragmented");
            draft.steps.irreversible();
        }
    }
    Ok(in_order)
}

/// Starts members that are stopped, and restarts those that run and keep silent. Whether that helped is seen in the
/// next round: one that does not come up is then known better.
fn start(draft: &mut Draft<'_>, remedies: &Remedies) {
    let (mut start, mut restart) = (Vec::new(), Vec::new());
    for member in draft.facts.inventory.etcd.members.values() {
        let service = HostService { host: member.host.clone(), service: member.service.clone() };
        let is = |host: &String, its: &Service| *host == member.host && *its == member.service;
        for remedy in &remedies.automatic {
            match remedy {
                Remedy::StartService { host, service: its } if is(host, its) => start.push(service.clone()),
                Remedy::RestartService { host, service: its } if is(host, its) => {
                    restart.push(service.clone());
                }
                _ => {}
            }
        }
    }
    if !start.is_empty() {
        draft.steps.add(START_SECONDS, Action::Start { services: start });
    }
    if !restart.is_empty() {
        let members = members_of(draft, &restart);
        let names: Vec<&str> = members.iter().map(String::as_str).collect();
        let seats = seats(&draft.facts.inventory, &draft.facts.members);
        let margin = seats.map(|seats| Margin::stopping(&seats, &names));
        if let Some(margin) = margin.as_ref().filter(|margin| !margin.holds()) {
            draft.manual.push(format!(
                "{} not restarted: {margin}; bring the others back first, then plan again",
                if let [one] = members.as_slice() {
                    format!("{one} is")
                } else {
                    format!("{} are", members.join(", "))
                },
            ));
            return;
        }
        draft.steps.add(START_SECONDS, Action::Restart { services: restart });
        draft.steps.guarded([Guard::QuorumKept { members }]);
        draft.established.extend(margin.map(|margin| format!("quorum: {margin}")));
    }
}

/// The members that these services are.
fn members_of(draft: &Draft<'_>, services: &[HostService]) -> Vec<String> {
    let is = |spec: &MemberSpec| services.iter().any(|it| it.host == spec.host && it.service == spec.service);
    let members = draft.facts.inventory.etcd.members.iter();
    members.filter(|(_, spec)| is(spec)).map(|(name, _)| name.clone()).collect()
}

/// Takes the broken member out before the new one comes in: both have the same peer URL, which etcd accepts once. Gives the
/// number of steps up to where the new one votes.
fn replace_member(draft: &mut Draft<'_>, name: &str, margin: &Margin) -> Result<usize, PlanError> {
    draft.established.push(format!("quorum: {margin}"));
    let quorum = || Guard::QuorumWithout { member: name.to_owned() };
    let Some(spec) = draft.facts.inventory.etcd.members.get(name) else { return Ok(draft.steps.count()) };
    let sizes = draft.facts.members.values().filter_map(|member| member.status.get());
    let room = sizes.map(|status| status.db_size).max().map(Room::to_replace);
    preflight::joinable(draft, name).map_err(PlanError::Preflight)?;
    let dirs = preflight::establish(draft, name, room).map_err(PlanError::Preflight)?;
    let member = || name.to_owned();
    let guards = [
        quorum(),
        Guard::Data { member: member(), dirs: dirs.clone() },
        Guard::Room { member: member(), source: None },
    ];
    let service = HostService { host: spec.host.clone(), service: spec.service.clone() };
    let beside = dependent_apiserver(draft, spec).map(|apiserver| {
        let fence = draft.steps.add(120, Action::Fence { services: vec![apiserver.clone()] });
        draft.steps.changing(format!("its only etcd is {name}; its clients use the other API servers"));
        draft.steps.guarded(guards.clone());
        draft.steps.guarded([Guard::ApiserverKept { hosts: vec![apiserver.host.clone()] }]);
        (apiserver, fence)
    });
    let fence = draft.steps.add(120, Action::Fence { services: vec![service] });
    draft.steps.guarded(guards);
    let aside = aside(&dirs.data, &draft.options.id);
    draft.steps.add(60, Action::MoveAside { member: member(), dirs: dirs.clone(), to: aside });
    draft.steps.guarded([
        quorum(),
        Guard::Data { member: member(), dirs: dirs.clone() },
        Guard::PortsFree { member: member() },
    ]);
    let old = listed(draft, &spec.peer_url);
    if let Some(old) = &old {
        let action = Action::RemoveMember { member: member(), id: old.id.clone() };
        draft.steps.add(60, action);
        draft.steps.changing("the others keep quorum; a removed member cannot return with its old data");
        draft.steps.guarded([quorum()]).irreversible();
    }
    let learner = Action::AddLearner { member: member(), dirs };
    draft.steps.add(180, learner);
    draft.steps.ends(fence);
    let promote = Action::PromoteLearner { member: member() };
    draft.steps.add(CATCH_UP_SECONDS, promote);
    let in_order = draft.steps.count();
    let members = draft.facts.inventory.etcd.members.keys().cloned().collect();
    draft.steps.add(WAIT_SECONDS, Action::WaitForEtcd { members, restored: None });
    if let Some(old) = old.filter(|old| has_corrupt_alarm(draft, &old.id)) {
        disarm(draft, &old.id);
    }
    if let Some((apiserver, fence)) = beside {
        let hosts = vec![apiserver.host.clone()];
        draft.steps.add(START_SECONDS, Action::Release { services: vec![apiserver] });
        draft.steps.ends(fence);
        draft.steps.add(WAIT_SECONDS, Action::WaitForApiservers { hosts });
    }
    Ok(in_order)
}

/// etcd keeps the alarm of a member that is removed, and refuses writes while it stands.
fn disarm(draft: &mut Draft<'_>, id: &str) {
    draft.steps.add(WAIT_SECONDS, Action::DisarmCorrupt { id: id.to_owned() });
    draft.steps.changing("etcd takes writes again");
}

fn has_corrupt_alarm(draft: &Draft<'_>, id: &str) -> bool {
    facts::has_corrupt_alarm(
        draft.facts.members.values().filter_map(|member| member.alarms.get()).flatten(),
        id,
    )
}

/// The API server that is a static pod beside a member that is one: kubeadm gives it no other etcd. While that is away
/// it answers nobody and keeps its connections, so its clients hang, and so does the kubelet that is to start the member.
fn dependent_apiserver(draft: &Draft<'_>, spec: &MemberSpec) -> Option<HostService> {
    let apiserver = draft.facts.inventory.kubernetes.control_plane.get(&spec.host)?.apiserver.clone();
    let pods = matches!((&spec.service, &apiserver), (Service::StaticPod(_), Service::StaticPod(_)));
    let ready = draft.facts.control_plane.get(&spec.host)?.readyz.get().is_some_and(|health| health.ok);
    (pods && !ready).then(|| HostService { host: spec.host.clone(), service: apiserver })
}

/// The entry with this peer URL in the list of a member that has a quorum.
fn listed(draft: &Draft<'_>, peer_url: &str) -> Option<MemberEntry> {
    let members = draft.facts.members.values();
    let mut lists = members.filter(|member| member.sees_quorum()).filter_map(|m| m.member_list.get());
    lists
        .find_map(|list| list.iter().find(|entry| entry.peer_urls.iter().any(|url| url == peer_url)).cloned())
}
