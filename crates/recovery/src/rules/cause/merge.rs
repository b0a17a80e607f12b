//! Sightings of one kind below one cause are one finding.

use std::collections::BTreeMap;

use crate::finding::{Finding, FindingId, Remedy};
use crate::rules::look::Look;
use crate::rules::sighting::{Sighting, listed};
use crate::rules::words;

/// The findings below these sightings, which are merged into one; `None`: those below nothing.
pub(super) fn findings(
    look: &Look<'_>,
    all: &[Sighting],
    parents: &[Option<usize>],
    below: Option<&[usize]>,
) -> Vec<Finding> {
    let mut groups: BTreeMap<(FindingId, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (index, (sighting, parent)) in all.iter().zip(parents).enumerate() {
        let is_below = match (below, parent) {
            (None, None) => true,
            (Some(below), Some(parent)) => below.contains(parent),
            _ => false,
        };
        if is_below {
            groups.entry((sighting.id, sighting.alone.then_some(index))).or_default().push(index);
        }
    }
    let finding = |((id, _), group): ((FindingId, Option<usize>), Vec<usize>)| {
        let sightings: Vec<&Sighting> = group.iter().filter_map(|index| all.get(*index)).collect();
        one(look, id, &sightings, findings(look, all, parents, Some(&group)))
    };
    let mut found: Vec<Finding> = groups.into_iter().map(finding).collect();
    if below.is_none() {
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
    found
}

fn one(look: &Look<'_>, id: FindingId, sightings: &[&Sighting], consequences: Vec<Finding>) -> Finding {
    let subjects = union(sightings, |sighting| &sighting.subjects);
    let hosts = union(sightings, |sighting| &sighting.hosts);
    let mut evidence = Vec::new();
    for seen in sightings.iter().flat_map(|sighting| &sighting.evidence) {
        if !evidence.contains(seen) {
            evidence.push(seen.clone());
        }
    }
    let own = match sightings {
        [one] => one.summary.clone(),
        _ => None,
    };
    // A cause is as bad as the worst it brings about.
    let severities = sightings.iter().map(|sighting| sighting.severity);
    let severity = severities.chain(consequences.iter().map(|finding| finding.severity)).max();
    Finding {
        id,
        severity: severity.unwrap_or(crate::finding::Severity::Warning),
        summary: own.unwrap_or_else(|| words::summary(id, &subjects)),
        blocks: words::blocks(look, id, &hosts),
        subjects,
        evidence,
        remedies: remedies(sightings),
        consequences,
    }
}

fn union<'a>(sightings: &[&'a Sighting], of: impl Fn(&'a Sighting) -> &'a Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = sightings.iter().flat_map(|sighting| of(sighting)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// Each remedy once; those that take a list of machines or members as one.
fn remedies(sightings: &[&Sighting]) -> Vec<Remedy> {
    let mut merged: Vec<Remedy> = Vec::new();
    let advice = |remedy: &Remedy| match remedy {
        Remedy::Manual(text) => Remedy::Manual(text.replace("{who}", &who(sightings, remedy))),
        Remedy::NameState(text) => Remedy::NameState(text.replace("{who}", &who(sightings, remedy))),
        other => other.clone(),
    };
    for remedy in sightings.iter().flat_map(|sighting| &sighting.remedies).map(advice) {
        let joined = merged.iter_mut().any(|known| join(known, &remedy));
        if !joined && !merged.contains(&remedy) {
            merged.push(remedy);
        }
    }
    merged
}

/// The subjects of all sightings that have this remedy.
fn who(sightings: &[&Sighting], remedy: &Remedy) -> String {
    let with: Vec<&Sighting> =
        sightings.iter().copied().filter(|sighting| sighting.remedies.contains(remedy)).collect();
    listed(&union(&with, |sighting| &sighting.subjects))
}

fn join(known: &mut Remedy, remedy: &Remedy) -> bool {
    let ((Remedy::AttachNics { hosts: into }, Remedy::AttachNics { hosts: more })
    | (Remedy::ClearNospace { members: into }, Remedy::ClearNospace { members: more })) = (known, remedy)
    else {
        return false;
    };
    into.extend(more.iter().cloned());
    into.sort();
    into.dedup();
    true
}
