//! The alarms members have raised.

use std::collections::BTreeSet;

use crate::facts::NO_MEMBER;
use crate::finding::{Evidence, FindingId, Remedy, listed};
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom::Symptom;

use super::cluster::{Cluster, Member};

pub(super) fn evaluate(_: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    let mut found: Vec<Symptom> = nospace(cluster).into_iter().collect();
    found.extend(corrupt(cluster));
    found
}

/// Who raised an alarm of a kind, by name where it is known, and who told.
fn raised(cluster: &Cluster<'_>, kind: &str) -> (Vec<String>, Vec<Evidence>) {
    let mut names = BTreeSet::new();
    let mut evidence = Vec::new();
    for member in &cluster.members {
        for alarm in member.facts.alarms.get().into_iter().flatten().filter(|alarm| alarm.kind == kind) {
            let by = cluster.by_id(&alarm.member_id).map_or(&alarm.member_id, |member| member.name);
            if names.insert(by.clone()) {
                evidence.push(seen_in(&member.facts.alarms, format!("{kind} raised by {by}")));
            }
        }
    }
    (names.into_iter().collect(), evidence)
}

fn nospace(cluster: &Cluster<'_>) -> Option<Symptom> {
    let (names, mut evidence) = raised(cluster, "NOSPACE");
    if names.is_empty() {
        return None;
    }
    for member in &cluster.members {
        if let Some(status) = member.facts.status.get() {
            let (size, used) = (status.db_size / 1_000_000, status.db_size_in_use / 1_000_000);
            let quota = status.quota.map_or(String::new(), |quota| format!(", quota {}", bytes(quota)));
            evidence.push(seen_in(
                &member.facts.status,
                format!("{}: db {size} MB, {used} MB in use{quota}", member.name),
            ));
        }
    }
    let small = smaller_quotas(cluster, &names);
    let symptom = Symptom::new(FindingId::EtcdNospace)
        .about(&names)
        .summary(format!("etcd refuses writes: the db of {} has reached its quota", listed(&names)))
        .shown_by(evidence);
    Some(match small.is_empty() {
        true => symptom.remedy(Remedy::ClearNospace { members: names }),
        // Cleared now, the alarm would be raised again by the next writes.
        false => small.into_iter().fold(symptom, Symptom::manual),
    })
}

/// What to do about members that raised the alarm with a smaller quota than the others have.
fn smaller_quotas(cluster: &Cluster<'_>, raised: &[String]) -> Vec<String> {
    let quotas =
        || cluster.members.iter().filter_map(|member| Some((member, member.facts.status.get()?.quota?)));
    let Some(largest) = quotas().map(|(_, quota)| quota).max() else { return Vec::new() };
    let small = quotas().filter(|(member, quota)| raised.contains(member.name) && *quota < largest);
    let advice = |(member, quota): (&Member<'_>, u64)| {
        format!(
            "{} has a quota of {}, others have {}: raise --quota-backend-bytes in its unit or manifest on {}, restart it, and then \
             run `lifeboat recover`, which clears the alarm",
            member.name,
            bytes(quota),
            bytes(largest),
            member.spec.host
        )
    };
    small.map(advice).collect()
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// etcd could not tell which member is wrong. Where all hold the same data by now, the alarm alone is left.
fn unknown_member(cluster: &Cluster<'_>, symptom: Symptom) -> Symptom {
    let hash = |member: &Member<'_>| {
        let hash = member.facts.hash_kv.get()?;
        Some((hash.revision, hash.compact_revision, hash.hash))
    };
    let hashes: BTreeSet<_> = cluster.members.iter().map(hash).collect();
    let is_same = hashes.len() == 1 && !hashes.contains(&None);
    let symptom = symptom.about([NO_MEMBER.to_owned()]).summary(
        "etcd refuses writes: it found members with different data and cannot tell which one is wrong",
    );
    match is_same {
        true => symptom.remedy(Remedy::DisarmCorrupt { id: NO_MEMBER.into() }),
        false => symptom.manual(
            "compare the members: `lifeboat save` of each, with --allow-unhealthy, and `lifeboat inspect ONE TWO THREE`; replace the \
             one that is wrong, and then `etcdctl alarm disarm`",
        ),
    }
}

fn corrupt(cluster: &Cluster<'_>) -> Vec<Symptom> {
    let (names, evidence) = raised(cluster, "CORRUPT");
    let symptom = |(name, evidence): (String, Evidence)| {
        let symptom = Symptom::new(FindingId::EtcdCorruptAlarm).shown_by([evidence]);
        if name == NO_MEMBER {
            return unknown_member(cluster, symptom);
        }
        let member = cluster.members.iter().find(|member| *member.name == name);
        // By its id, since no member has it.
        if member.is_none() && cluster.is_removed(&name) {
            return symptom
                .about([name.clone()])
                .summary(format!(
                    "etcd refuses writes: the CORRUPT alarm of {name}, which is no longer a member, is still raised"
                ))
                .remedy(Remedy::DisarmCorrupt { id: name });
        }
        let symptom = symptom
            .summary(format!("etcd refuses writes: it found that {name} has different data than the others"));
        let symptom = match member {
            Some(member) => symptom.of(&name, &member.spec.host),
            None => symptom.about([name.clone()]),
        };
        match member.and_then(|_| cluster.replacement(&name)) {
            // The alarm is disarmed behind it.
            Some(replacement @ Remedy::ReplaceMember { .. }) => symptom.remedy(replacement),
            other => symptom.manual("once the member is replaced: `etcdctl alarm disarm`").remedies(other),
        }
    };
    names.into_iter().zip(evidence).map(symptom).collect()
}
