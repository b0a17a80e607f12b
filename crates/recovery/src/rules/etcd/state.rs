//! Whether what etcd serves is this cluster's state. etcd itself is asked: an API server shows its cache for as long as it
//! runs, whatever etcd holds by then.

use lifeboat_etcd::KubernetesIdentity;

use crate::facts::{DataDir, Fact, FoundDir};
use crate::finding::{Evidence, FindingId, Remedy, listed};
use crate::inventory::MemberSpec;
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom::Symptom;

use super::ahead::{self, Ahead};
use super::cluster::{Cluster, Member, Quorum, State};

/// So many names of nodes are shown.
const NAMES: usize = 5;

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Option<Symptom> {
    if cluster.quorum != Quorum::Held {
        return None;
    }
    let serving: Vec<&Member<'_>> =
        cluster.members.iter().filter(|member| member.state == State::Serving).collect();
    let ahead = ahead::ahead(cluster, &serving);
    let symptom = || Symptom::new(FindingId::EtcdStateLost);
    let (symptom, advice) = if let Some(summary) = of_another_cluster(view, &serving) {
        (symptom().summary(summary).shown_by(asked(view, &serving)), advice(view, &serving, ahead.is_empty()))
    } else if let Some(summary) = ahead::summary(&serving, &ahead) {
        (symptom().summary(summary).shown_by(asked(view, &serving)), Vec::new())
    } else {
        let evidence = shown_by_api(view, &serving)?;
        (symptom().shown_by(evidence), advice(view, &serving, true))
    };
    let symptom = symptom
        .about([view.inventory().cluster.as_str()])
        .shown_by(ahead.iter().map(Ahead::evidence))
        .shown_by(serving.iter().flat_map(|member| dirs(member)));
    Some(symptom.remedies(advice).remedies(ahead::advice(cluster, &ahead)))
}

/// The Kubernetes clusters that the members say they hold.
fn identities<'a>(serving: &[&Member<'a>]) -> Vec<(&'a Fact<KubernetesIdentity>, &'a KubernetesIdentity)> {
    let known = |member: &&Member<'a>| {
        let fact = member.facts.identity.as_ref()?;
        Some((fact, fact.get()?))
    };
    serving.iter().filter_map(known).collect()
}

/// What is served instead, where no member holds this cluster's state. One that lags behind may not have a node yet.
fn of_another_cluster(view: &FactsView<'_>, serving: &[&Member<'_>]) -> Option<String> {
    let ours = &view.inventory().kubernetes;
    let identities = identities(serving);
    let (_, served) = identities.first()?;
    if identities.iter().any(|(_, identity)| ours.owns(identity)) {
        return None;
    }
    Some(match (served.node_count, &served.uid, &ours.uid) {
        _ if served.prefix.is_empty() && ours.nodes.is_empty() => {
            format!("etcd serves {} and has no namespace kube-system", revisions(serving))
        }
        (0, ..) => format!("etcd serves {} and has no nodes", revisions(serving)),
        (_, Some(theirs), Some(ours)) => format!(
            "etcd serves another cluster's state: kube-system has UID {theirs}, the inventory says {ours}"
        ),
        _ => format!("etcd serves another cluster's state: its nodes are {}", names(served)),
    })
}

/// What the members that serve say, and the API servers beside them.
fn asked(view: &FactsView<'_>, serving: &[&Member<'_>]) -> Vec<Evidence> {
    let mut shown: Vec<Evidence> = (serving.iter())
        .filter_map(|member| {
            let Some(fact) = &member.facts.identity else { return at_revision(member) };
            Some(seen_in(fact, line(member, fact.get()?)))
        })
        .collect();
    shown.extend(identities(serving).first().and_then(|(_, served)| cached(view, served)));
    shown
}

fn at_revision(member: &Member<'_>) -> Option<Evidence> {
    let status = member.facts.status.get()?;
    Some(seen_in(&member.facts.status, format!("{} serves revision {}", member.name, status.revision)))
}

/// Where etcd's own keys may not be read: an API server that knows no node has either just started or asked etcd.
fn shown_by_api(view: &FactsView<'_>, serving: &[&Member<'_>]) -> Option<Vec<Evidence>> {
    let nodes = &view.facts.kubernetes.nodes;
    let expected = view.inventory().kubernetes.nodes.len();
    if !identities(serving).is_empty() || expected == 0 || !nodes.get()?.is_empty() {
        return None;
    }
    let listed = seen_in(nodes, format!("the API lists no nodes; the inventory has {expected}"));
    Some([listed].into_iter().chain(serving.iter().filter_map(|member| at_revision(member))).collect())
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
fn cached(view: &FactsView<'_>, served: &KubernetesIdentity) -> Option<Evidence> {
    let fact = &view.facts.kubernetes.nodes;
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
fn best_beside<'a>(view: &FactsView<'_>, member: &Member<'a>) -> Option<(&'a FoundDir, i64)> {
    let dirs = member.facts.beside.as_ref()?.get()?;
    let ours = dirs.iter().filter_map(|dir| match &dir.holds {
        Some(DataDir::Sound(state)) => {
            let identity = state.kubernetes.as_ref()?;
            let is_told = identity.node_count > 0 || identity.uid.is_some();
            let fits = is_told && view.inventory().kubernetes.owns(identity);
            fits.then_some((dir, state.revision))
        }
        _ => None,
    });
    ours.max_by_key(|(_, revision)| *revision)
}

/// What to do about a state that is not this cluster's; `is_only` where no member is known to hold it.
fn advice(view: &FactsView<'_>, serving: &[&Member<'_>], is_only: bool) -> Vec<Remedy> {
    let mut advice = vec![Remedy::Manual(
        "stop the API servers now, so that nothing more is written or removed; do not restart kubelets or reboot \
         nodes: pods that are not in the state would be removed"
            .to_owned(),
    )];
    let found: Vec<(&MemberSpec, &FoundDir, i64)> = serving
        .iter()
        .filter_map(|member| best_beside(view, member).map(|(dir, revision)| (member.spec, dir, revision)))
        .collect();
    for (spec, dir, revision) in &found {
        let (path, host) = (dir.path.display(), &spec.host);
        advice.push(match dir.named {
            true => Remedy::Manual(format!(
                "{host}: etcd does not run on {path}, which is sound at revision {revision}: stop all etcd members, correct \
                 --data-dir in the unit or manifest (`systemctl cat {}`), and start them",
                spec.service.label()
            )),
            false => Remedy::NameState(format!(
                "{host}: {path} is sound at revision {revision}: make a snapshot of it on {host} (`lifeboat save {path} \
                 FILE`), and restore it with `lifeboat recover --source FILE`"
            )),
        });
    }
    if is_only && !advice.iter().any(|remedy| matches!(remedy, Remedy::NameState(_))) {
        let text = match found.is_empty() {
            true => {
                "find this cluster's state, a snapshot or a data dir that was moved aside, and restore it"
            }
            false => {
                "or restore another state of this cluster, a snapshot or a data dir that was moved aside"
            }
        };
        advice.push(Remedy::NameState(format!("{text}: `lifeboat recover --source FILE`")));
    }
    advice
}
