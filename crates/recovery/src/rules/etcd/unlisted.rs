//! Members that the cluster lists and the inventory does not have. A voter counts for the quorum whether it runs or not.

use crate::facts::MemberEntry;
use crate::finding::{FindingId, Severity};
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom::Symptom;

use super::cluster::Cluster;

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    let inventory = &view.inventory().etcd.members;
    let ours = |entry: &MemberEntry| {
        inventory.iter().any(|(name, spec)| *name == entry.name || entry.peer_urls.contains(&spec.peer_url))
            || cluster.by_id(&entry.id).is_some()
    };
    let unlisted = cluster.list.into_iter().flatten().filter(|entry| !ours(entry));
    unlisted.filter_map(|entry| symptom(view, cluster, entry)).collect()
}

fn symptom(view: &FactsView<'_>, cluster: &Cluster<'_>, entry: &MemberEntry) -> Option<Symptom> {
    let MemberEntry { id, name, peer_urls, learner } = entry;
    let called = if name.is_empty() { id } else { name };
    let at = peer_urls.join(", ");
    let never = if name.is_empty() { ", and never started" } else { "" };
    let known = view.inventory().etcd.members.len();
    let (severity, summary) = match learner {
        true => (
            Severity::Warning,
            format!("etcd has a learner that is not in the inventory: {called} at {at}{never}"),
        ),
        false => (
            Severity::Error,
            format!(
                "etcd has {} voters, the inventory has {known}: {called} at {at} is not in it{never}; {} of {} are needed",
                cluster.voters,
                cluster.majority(),
                cluster.voters
            ),
        ),
    };
    let teller = cluster.members.iter().find(|member| {
        member.facts.member_list.get().is_some_and(|list| list.iter().any(|listed| listed.id == *id))
    })?;
    let kind = if *learner { "learner" } else { "voter" };
    let seen = format!("{} lists the {kind} {id} {name:?} at {at}", teller.name);
    Some(
        Symptom::new(FindingId::EtcdMemberUnlisted).severity(severity)
            .about([called])
            .summary(summary)
            .shown_by([seen_in(&teller.facts.member_list, seen)])
            .manual(format!(
                "if {called} is yours, add it to the inventory; if it was added by mistake or is permanently gone, \
                 remove it: `etcdctl member remove {id}`"
            )),
    )
}
