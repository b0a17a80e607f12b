//! etcd while its quorum can be had without a restore: members to start, to replace, and alarms to clear.

use std::path::{Path, PathBuf};

use crate::facts::MemberEntry;
use crate::finding::Remedy;
use crate::inventory::{MemberSpec, Service};
use crate::plan::{Action, HostService};

use super::{Draft, Wants};

const START_SECONDS: u64 = 90;
const WAIT_SECONDS: u64 = 60;
/// A learner of some gigabytes is sent its snapshot in minutes.
const CATCH_UP_SECONDS: u64 = 900;

/// Adds what etcd needs.
pub(super) fn plan(draft: &mut Draft<'_>, wants: &Wants) {
    start(draft, wants);
    // One at a time: the next replacement is planned from what the cluster looks like after the first.
    let replace = wants.remedies.iter().find_map(|remedy| match remedy {
        Remedy::ReplaceMember { member } => Some(member),
        _ => None,
    });
    if let Some(member) = replace {
        replace_member(draft, member);
    }
    for remedy in &wants.remedies {
        if let Remedy::ClearNospace { members } = remedy {
            let action = Action::ClearNospace { members: members.clone() };
            draft.steps.add(600, action);
            draft
                .steps
                .changing("superseded revisions are dropped; each member pauses while it is defragmented");
            draft.steps.irreversible();
        }
    }
}

/// Starts members that are stopped, and restarts those that run and keep silent. Whether that helped is seen in the
/// next round: one that does not come up is then known better.
fn start(draft: &mut Draft<'_>, wants: &Wants) {
    let (mut start, mut restart) = (Vec::new(), Vec::new());
    for member in draft.facts.inventory.etcd.members.values() {
        let service = HostService { host: member.host.clone(), service: member.service.clone() };
        let is = |host: &String, its: &Service| *host == member.host && *its == member.service;
        for remedy in &wants.remedies {
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
        draft.steps.add(START_SECONDS, Action::Restart { services: restart });
    }
}

/// Takes the broken member out before the new one comes in: both have the same peer URL, which etcd accepts once.
fn replace_member(draft: &mut Draft<'_>, name: &str) {
    let Some(spec) = draft.facts.inventory.etcd.members.get(name) else { return };
    let service = HostService { host: spec.host.clone(), service: spec.service.clone() };
    let member = name.to_owned();
    let beside = dependent_apiserver(draft, spec).map(|apiserver| {
        let fence = draft.steps.add(120, Action::Fence { services: vec![apiserver.clone()] });
        draft
            .steps
            .changing(format!("it has no other etcd than {name}; its clients go to the other API servers"));
        (apiserver, fence)
    });
    let fence = draft.steps.add(120, Action::Fence { services: vec![service] });
    let aside = aside(&spec.data_dir, &draft.options.id);
    draft.steps.add(60, Action::MoveAside { member: member.clone(), to: aside });
    if let Some(old) = listed(draft, &spec.peer_url) {
        let action = Action::RemoveMember { member: member.clone(), id: old.id };
        draft.steps.add(60, action);
        draft.steps.changing(
            "the others keep their quorum; a member that is taken out cannot come back with its old data",
        );
        draft.steps.irreversible();
    }
    let learner = Action::AddLearner { member: member.clone() };
    draft.steps.add(180, learner);
    draft.steps.ends(fence);
    let promote = Action::PromoteLearner { member: member.clone() };
    draft.steps.add(CATCH_UP_SECONDS, promote);
    let members = draft.facts.inventory.etcd.members.keys().cloned().collect();
    draft.steps.add(WAIT_SECONDS, Action::WaitForEtcd { members });
    if let Some((apiserver, fence)) = beside {
        let hosts = vec![apiserver.host.clone()];
        draft.steps.add(START_SECONDS, Action::Release { services: vec![apiserver] });
        draft.steps.ends(fence);
        draft.steps.add(WAIT_SECONDS, Action::WaitForApiservers { hosts });
    }
}

/// The API server that is a static pod beside a member that is one: kubeadm gives it no other etcd. While that is away
/// it answers nobody and keeps its connections, so its clients hang, and so does the kubelet that is to start the member.
fn dependent_apiserver(draft: &Draft<'_>, spec: &MemberSpec) -> Option<HostService> {
    let apiserver = draft.facts.inventory.kubernetes.masters.get(&spec.host)?.apiserver.clone();
    let pods = matches!((&spec.service, &apiserver), (Service::StaticPod(_), Service::StaticPod(_)));
    let ready = draft.facts.masters.get(&spec.host)?.readyz.get().is_some_and(|health| health.ok);
    (pods && !ready).then(|| HostService { host: spec.host.clone(), service: apiserver })
}

/// The entry with this peer URL in the list of a member that has a quorum.
fn listed(draft: &Draft<'_>, peer_url: &str) -> Option<MemberEntry> {
    let members = draft.facts.members.values();
    let mut lists =
        members.filter(|member| member.linearizable.get() == Some(&true)).filter_map(|m| m.member_list.get());
    lists
        .find_map(|list| list.iter().find(|entry| entry.peer_urls.iter().any(|url| url == peer_url)).cloned())
}

/// The name an old data dir gets.
pub(crate) fn aside(data_dir: &Path, plan: &str) -> PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(format!(".lifeboat-{plan}"));
    name.into()
}
