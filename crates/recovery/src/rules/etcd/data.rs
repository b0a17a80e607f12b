//! Whether the members that answer hold the same data: HashKV at one revision, since one compaction.

use std::collections::BTreeMap;

use crate::facts::HashKv;
use crate::finding::{Evidence, FindingId, Severity, listed};
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom::Symptom;

use super::cluster::{Cluster, Member, State};

pub(super) fn evaluate(_: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    let mut comparable: BTreeMap<(i64, i64), Vec<(&Member<'_>, u32)>> = BTreeMap::new();
    for member in cluster.members.iter().filter(|member| member.state == State::Serving) {
        if let Some(HashKv { revision, hash, compact_revision }) = member.facts.hash_kv.get() {
            comparable.entry((*revision, *compact_revision)).or_default().push((member, *hash));
        }
    }
    comparable.into_values().flat_map(|members| diverged(cluster, &members)).collect()
}

fn diverged(cluster: &Cluster<'_>, members: &[(&Member<'_>, u32)]) -> Vec<Symptom> {
    let mut by_hash: BTreeMap<u32, usize> = BTreeMap::new();
    members.iter().for_each(|(_, hash)| *by_hash.entry(*hash).or_default() += 1);
    if by_hash.len() < 2 {
        return Vec::new();
    }
    match by_hash.iter().find(|(_, count)| **count * 2 > cluster.members.len()) {
        Some((right, _)) => members
            .iter()
            .filter(|(_, hash)| hash != right)
            .map(|(member, hash)| minority(cluster, member, *hash, *right))
            .collect(),
        None => vec![undecided(members)],
    }
}

fn minority(cluster: &Cluster<'_>, member: &Member<'_>, hash: u32, right: u32) -> Symptom {
    Symptom::new(FindingId::EtcdMemberDiverged)
        .of(member.name, &member.spec.host)
        .with_service(&member.spec.host, &member.spec.service)
        .summary(format!("etcd member {} has different data than the others", member.name))
        .shown_by([
            line(member, hash),
            Evidence { seen: format!("the others: {right:08x}"), ..line(member, hash) },
        ])
        .remedies(cluster.replacement(member.name))
}

fn undecided(members: &[(&Member<'_>, u32)]) -> Symptom {
    let names: Vec<String> = members.iter().map(|(member, _)| member.name.clone()).collect();
    let symptom = Symptom::new(FindingId::EtcdMemberDiverged).severity(Severity::Critical)
        .summary(format!("etcd members {} hold different data, and none has a majority", listed(&names)))
        .shown_by(members.iter().map(|(member, hash)| line(member, *hash)))
        .names_state(format!(
            "save a snapshot of each of {} (`lifeboat save`), find out which holds the truth, and rebuild the cluster \
             from it: `lifeboat recover --source member:NAME`",
            listed(&names)
        ));
    members.iter().fold(symptom, |symptom, (member, _)| symptom.of(member.name, &member.spec.host))
}

fn line(member: &Member<'_>, hash: u32) -> Evidence {
    let at = member.facts.hash_kv.get().map_or(0, |kv| kv.revision);
    seen_in(&member.facts.hash_kv, format!("{}: HashKV {hash:08x} at revision {at}", member.name))
}
