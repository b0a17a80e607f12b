//! Symptoms of one kind below one cause are one finding.

use std::collections::BTreeMap;

use crate::finding::{Finding, FindingId, Remedy, listed};
use crate::rules::facts_view::FactsView;
use crate::rules::impact;
use crate::rules::symptom::Symptom;

/// The findings below these symptoms, which are merged into one; `None`: those below nothing.
pub(super) fn findings(
    view: &FactsView<'_>,
    all: &[Symptom],
    parents: &[Option<usize>],
    below: Option<&[usize]>,
) -> Vec<Finding> {
    let mut groups: BTreeMap<(FindingId, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (index, (symptom, parent)) in all.iter().zip(parents).enumerate() {
        let is_below = match (below, parent) {
            (None, None) => true,
            (Some(below), Some(parent)) => below.contains(parent),
            _ => false,
        };
        if is_below {
            groups.entry((symptom.id, symptom.alone.then_some(index))).or_default().push(index);
        }
    }
    let finding = |((id, _), group): ((FindingId, Option<usize>), Vec<usize>)| {
        let symptoms: Vec<&Symptom> = group.iter().filter_map(|index| all.get(*index)).collect();
        one(view, id, &symptoms, findings(view, all, parents, Some(&group)))
    };
    let mut found: Vec<Finding> = groups.into_iter().map(finding).collect();
    if below.is_none() {
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
    found
}

fn one(view: &FactsView<'_>, id: FindingId, symptoms: &[&Symptom], consequences: Vec<Finding>) -> Finding {
    let subjects = union(symptoms, |symptom| &symptom.subjects);
    let hosts = union(symptoms, |symptom| &symptom.hosts);
    let mut evidence = Vec::new();
    for seen in symptoms.iter().flat_map(|symptom| &symptom.evidence) {
        if !evidence.contains(seen) {
            evidence.push(seen.clone());
        }
    }
    let own = match symptoms {
        [one] => one.summary.clone(),
        _ => None,
    };
    // A cause has at least the severity of its consequences.
    let severities = symptoms.iter().map(|symptom| symptom.severity);
    let severity = severities.chain(consequences.iter().map(|finding| finding.severity)).max();
    Finding {
        id,
        severity: severity.unwrap_or(crate::finding::Severity::Warning),
        summary: own.unwrap_or_else(|| id.summary(&subjects)),
        blocks: impact::of(view, id, &hosts),
        subjects,
        evidence,
        remedies: remedies(symptoms),
        consequences,
    }
}

fn union<'a>(symptoms: &[&'a Symptom], of: impl Fn(&'a Symptom) -> &'a Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = symptoms.iter().flat_map(|symptom| of(symptom)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// Each remedy once; those that take a list of machines or members as one.
fn remedies(symptoms: &[&Symptom]) -> Vec<Remedy> {
    let mut merged: Vec<Remedy> = Vec::new();
    let advice = |remedy: &Remedy| match remedy {
        Remedy::Manual(text) => Remedy::Manual(text.replace("{who}", &who(symptoms, remedy))),
        Remedy::NameState(text) => Remedy::NameState(text.replace("{who}", &who(symptoms, remedy))),
        other => other.clone(),
    };
    for remedy in symptoms.iter().flat_map(|symptom| &symptom.remedies).map(advice) {
        let joined = merged.iter_mut().any(|known| join(known, &remedy));
        if !joined && !merged.contains(&remedy) {
            merged.push(remedy);
        }
    }
    merged
}

/// The subjects of all symptoms that have this remedy.
fn who(symptoms: &[&Symptom], remedy: &Remedy) -> String {
    let with: Vec<&Symptom> =
        symptoms.iter().copied().filter(|symptom| symptom.remedies.contains(remedy)).collect();
    listed(&union(&with, |symptom| &symptom.subjects))
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
