//! Whether what etcd serves is this cluster's state. etcd itself is asked: an API server shows its cache for as long as it
//! runs, whatever etcd holds by then.

use lifeboat_etcd::KubernetesIdentity;

use crate::facts::{DataDir, Fact, FoundDir};
use crate::finding::{Evidence, FindingId, Severity};
use crate::inventory::MemberSpec;
use crate::rules::look::{Look, seen_in};
use crate::rules::sighting::{Sighting, listed};

use super::cluster::{Cluster, Member, Quorum, State};

/// So many names of nodes are shown.
const NAMES: usize = 5;

pub(super) fn look(look: &Look<'_>, cluster: &Cluster<'_>) -> Option<Sighting> {
    if cluster.quorum != Quorum::Held {
        return None;
    }
    let serving: Vec<&Member<'_>> =
        cluster.members.iter().filter(|member| member.state == State::Serving).collect();
    let identities: Vec<(&Member<'_>, &Fact<KubernetesIdentity>, &KubernetesIdentity)> = serving
        .iter()
        .filter_map(|member| {
            let fact = member.facts.identity.as_ref()?;
            Some((*member, fact, fact.get()?))
        })
        .collect();
    if identities.is_empty() {
        return shown_by_api(look, &serving);
    }
    let is_ours = |identity: &KubernetesIdentity| look.inventory().kubernetes.owns(identity);
    // One that lags behind may not have a node yet.
    let (_, _, served) = identities.first()?;
    if identities.iter().any(|(_, _, identity)| is_ours(identity)) {
        return None;
    }
    let summary = match (served.node_count, &served.uid, &look.inventory().kubernetes.uid) {
        (0, ..) => format!("etcd serves {} and has no nodes", revisions(&serving)),
        (_, Some(theirs), Some(ours)) => format!(
            "etcd serves another cluster's state: kube-system has UID {theirs}, the inventory says {ours}"
        ),
        _ => format!("etcd serves another cluster's state: its nodes are {}", names(served)),
    };
    let lines = identities.iter().map(|(member, fact, identity)| seen_in(fact, line(member, identity)));
    let sighting = Sighting::new(FindingId::EtcdStateLost, Severity::Critical)
        .about([look.inventory().cluster.as_str()])
        .summary(summary)
        .shown_by(lines)
        .shown_by(cached(look, served))
        .shown_by(serving.iter().flat_map(|member| dirs(member)));
    Some(advice(look, &serving).into_iter().fold(sighting, Sighting::manual))
}

/// Where etcd's own keys may not be read: an API server that knows no node has either just started or asked etcd.
fn shown_by_api(look: &Look<'_>, serving: &[&Member<'_>]) -> Option<Sighting> {
    let nodes = &look.facts.kubernetes.nodes;
    let expected = look.inventory().kubernetes.nodes.len();
    if expected == 0 || !nodes.get()?.is_empty() {
        return None;
    }
    let served = serving.iter().filter_map(|member| {
        let status = member.facts.status.get()?;
        Some(seen_in(&member.facts.status, format!("{} serves revision {}", member.name, status.revision)))
    });
    let sighting = Sighting::new(FindingId::EtcdStateLost, Severity::Critical)
        .about([look.inventory().cluster.as_str()])
        .shown_by([seen_in(nodes, format!("the API lists no nodes; the inventory has {expected}"))])
        .shown_by(served);
    Some(advice(look, serving).into_iter().fold(sighting, Sighting::manual))
}

fn revisions(serving: &[&Member<'_>]) -> String {
    let revision = serving.iter().filter_map(|member| member.facts.status.get()).map(|s| s.revision).max();
    revision.map_or("a state".into(), |revision| format!("revision {revision}"))
}

fn line(member: &Member<'_>, identity: &KubernetesIdentity) -> String {
    let at = member.facts.status.get().map_or(0, |status| status.revision);
    let cluster = match (&identity.uid, identity.prefix.is_empty()) {
        (Some(uid), _) => format!("kube-system has UID {uid}"),
        (None, true) => "no namespace kube-system".into(),
        (None, false) => "the UID of kube-system cannot be read".into(),
    };
    let nodes = match identity.node_count {
        0 => "no nodes".to_owned(),
        _ => format!("nodes {}", names(identity)),
    };
    format!("{} is at revision {at}: {nodes}, {cluster}", member.name)
}

fn names(identity: &KubernetesIdentity) -> String {
    let shown: Vec<String> = identity.nodes.iter().take(NAMES).cloned().collect();
    match identity.node_count.saturating_sub(shown.len() as u64) {
        0 => listed(&shown),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What the API servers still show of the state that is gone.
fn cached(look: &Look<'_>, served: &KubernetesIdentity) -> Option<Evidence> {
    let fact = &look.facts.kubernetes.nodes;
    let nodes: Vec<String> = fact
        .get()?
        .iter()
        .map(|node| node.name.clone())
        .filter(|name| !served.nodes.contains(name))
        .collect();
    (!nodes.is_empty()).then(|| {
        let shown = nodes.get(..NAMES).unwrap_or(&nodes);
        seen_in(
            fact,
            format!("the API servers show {} nodes from their cache: {}", nodes.len(), listed(shown)),
        )
    })
}

/// The data dirs on a member's machine: what it runs on, and what lies beside.
fn dirs(member: &Member<'_>) -> Vec<Evidence> {
    let Some(fact) = &member.facts.beside else { return Vec::new() };
    let line = |dir: &FoundDir| {
        let path = dir.path.display();
        let said = match &dir.holds {
            Some(DataDir::InUse(_)) => format!("{} runs on {path}", member.name),
            Some(DataDir::Sound(state)) => {
                let nodes = state
                    .kubernetes
                    .as_ref()
                    .map_or(String::new(), |identity| format!(", {} nodes", identity.node_count));
                let host = &member.spec.host;
                format!("{path} on {host} is sound at revision {}{nodes}", state.revision)
            }
            Some(DataDir::Damaged(damage)) => {
                format!("{path} on {} is damaged: {}", member.spec.host, damage.why.join("; "))
            }
            Some(DataDir::Absent) | None => return None,
        };
        Some(seen_in(fact, said))
    };
    fact.get().into_iter().flatten().filter_map(line).collect()
}

/// A data dir with this cluster's nodes, and the highest revision of such on its machine.
fn best_beside<'a>(look: &Look<'_>, member: &Member<'a>) -> Option<(&'a FoundDir, i64)> {
    let dirs = member.facts.beside.as_ref()?.get()?;
    let ours = dirs.iter().filter_map(|dir| match &dir.holds {
        Some(DataDir::Sound(state)) => {
            let identity = state.kubernetes.as_ref()?;
            let fits = identity.node_count > 0 && look.inventory().kubernetes.owns(identity);
            fits.then_some((dir, state.revision))
        }
        _ => None,
    });
    ours.max_by_key(|(_, revision)| *revision)
}

fn advice(look: &Look<'_>, serving: &[&Member<'_>]) -> Vec<String> {
    let mut advice = vec![
        "stop the API servers now, so that nothing more is written or killed; restart no kubelet and reboot no node: pods \
         that the state does not have would be removed"
            .to_owned(),
    ];
    let found: Vec<(&MemberSpec, &FoundDir, i64)> = serving
        .iter()
        .filter_map(|member| best_beside(look, member).map(|(dir, revision)| (member.spec, dir, revision)))
        .collect();
    for (spec, dir, revision) in &found {
        let (path, host) = (dir.path.display(), &spec.host);
        if dir.named {
            advice.push(format!(
                "{host}: etcd does not run on {path}, which is sound at revision {revision}: stop all etcd members, correct \
                 --data-dir in the unit or manifest (`systemctl cat {}`), and start them",
                spec.service.label()
            ));
        } else {
            advice.push(format!(
                "{host}: {path} is sound at revision {revision}: make a snapshot of it on {host} (`lifeboat save {path} \
                 FILE`), and restore it with `lifeboat recover --source FILE`"
            ));
        }
    }
    if found.is_empty() {
        advice.push(
            "find this cluster's state, a snapshot or a data dir that was moved aside, and restore it: `lifeboat recover \
             --source FILE`"
                .into(),
        );
    }
    advice
}
