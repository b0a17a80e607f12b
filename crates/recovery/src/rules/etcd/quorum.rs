//! Loss of quorum, and its remedies.

use crate::finding::{Evidence, FindingId, Remedy, listed};
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom::Symptom;

use super::cluster::{Cluster, Member, Quorum, State};

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Option<Symptom> {
    if cluster.quorum != Quorum::Lost {
        return None;
    }
    let serving = cluster.serving();
    let missing: Vec<&Member<'_>> = cluster.members.iter().filter(|m| m.state != State::Serving).collect();
    let (voters, needed) = (cluster.voters, cluster.majority());
    let summary = match serving {
        0 => format!("etcd has no quorum: 0 of {voters} members answer, {needed} are needed"),
        1 => format!("etcd has no quorum: 1 of {voters} members answers, {needed} are needed"),
        some if some < needed => {
            format!("etcd has no quorum: {some} of {voters} members answer, {needed} are needed")
        }
        some => format!("etcd has no quorum: {some} of {voters} members answer but do not agree on a leader"),
    };
    let subjects = if missing.is_empty() { cluster.members.iter().collect() } else { missing };
    let symptom = Symptom::new(FindingId::EtcdQuorumLost)
        .about(subjects.iter().map(|member| member.name.as_str()))
        .summary(summary)
        .shown_by(evidence(cluster));
    Some(remedy(view, cluster, symptom))
}

fn evidence(cluster: &Cluster<'_>) -> Vec<Evidence> {
    let mut shown: Vec<Evidence> = cluster.members.iter().map(|member| line(cluster, member)).collect();
    let inventory =
        |urls: &[String]| cluster.members.iter().any(|member| urls.contains(&member.spec.peer_url));
    for entry in cluster.list.into_iter().flatten() {
        if !entry.learner && !inventory(&entry.peer_urls) {
            let seen = format!(
                "a member that is not in the inventory counts for the quorum: {} ({})",
                entry.id,
                entry.peer_urls.join(", ")
            );
            shown.extend(cluster.members.first().map(|member| seen_in(&member.facts.member_list, seen)));
        }
    }
    shown
}

fn line(cluster: &Cluster<'_>, member: &Member<'_>) -> Evidence {
    let name = member.name;
    let what = match member.state {
        State::Serving | State::Partitioned => {
            return match member.facts.status.get() {
                Some(status) => {
                    seen_in(&member.facts.status, format!("{name} answers, at revision {}", status.revision))
                }
                None => seen_in(&member.facts.status, format!("{name} answers")),
            };
        }
        State::Unresponsive => "runs and does not answer",
        State::Stopped => "is stopped",
        State::Corrupt => "is damaged",
        State::DataMissing => "has no data",
        State::Foreign => "belongs to another cluster, or was removed from this one",
        State::Unreachable => "cannot be reached",
        State::Unknown => "could not be asked",
    };
    let unstarted = cluster.entry(member.spec).is_some_and(|entry| entry.name.is_empty());
    let added = if unstarted { ", and was added to the cluster without ever starting" } else { "" };
    let source = match member.state {
        State::Unresponsive | State::Unreachable | State::Unknown => &member.facts.status.source,
        _ => &member.facts.data_dir.source,
    };
    Evidence { seen: format!("{name} {what}{added}"), source: source.clone() }
}

/// Starting what is merely stopped comes before rebuilding the cluster, which loses what no member holds.
fn remedy(view: &FactsView<'_>, cluster: &Cluster<'_>, symptom: Symptom) -> Symptom {
    if cluster.within_reach() >= cluster.majority() {
        let cut_off: Vec<Evidence> =
            cluster.members.iter().flat_map(|member| cluster.unreached_by(member.name)).collect();
        let starts: Vec<Remedy> =
            cluster.members.iter().filter_map(|member| set_going(view, cluster, member)).collect();
        if starts.is_empty() && !cut_off.is_empty() {
            return symptom.shown_by(cut_off).manual(
                "the members cannot connect to each other's peer addresses: fix the network (firewall, route); a \
                 restart does not help",
            );
        }
        if starts.is_empty() && cluster.serving() >= cluster.majority() {
            return symptom.manual(
                "the members answer but do not connect to each other: check the network between their peer URLs and \
                 their peer certificates",
            );
        }
        if starts.is_empty() {
            return symptom.names_state(stuck(cluster));
        }
        return symptom.remedies(starts);
    }
    let untrusted: Vec<String> = view
        .inventory()
        .hosts
        .keys()
        .filter(|host| is_in_the_way(view, host) && !view.is_trusted(host))
        .cloned()
        .collect();
    if untrusted.is_empty() {
        return symptom.remedy(Remedy::RestoreCluster);
    }
    symptom.manual(format!(
        "etcd must be rebuilt, but not while {} may be another machine: resolve that first",
        listed(&untrusted)
    ))
}

/// Too few members are left that Lifeboat could start, and it is not known that the others are lost.
fn stuck(cluster: &Cluster<'_>) -> String {
    let missing = cluster.members.iter().filter(|member| member.state != State::Serving);
    let names: Vec<String> = missing.map(|member| member.name.clone()).collect();
    format!(
        "bring back {}, whose data may still be there; if it is lost, choose the state to rebuild the cluster from: \
         `lifeboat recover --source member:NAME`, or --source SNAPSHOT",
        listed(&names)
    )
}

fn is_in_the_way(view: &FactsView<'_>, host: &str) -> bool {
    let inventory = view.inventory();
    inventory.kubernetes.control_plane.contains_key(host)
        || inventory.etcd.members.values().any(|member| member.host == host)
}

fn set_going(view: &FactsView<'_>, cluster: &Cluster<'_>, member: &Member<'_>) -> Option<Remedy> {
    match member.state {
        State::Stopped => Some(member.start(view)),
        State::Unresponsive if cluster.unreached_by(member.name).is_empty() => Some(member.restart()),
        _ => None,
    }
}
