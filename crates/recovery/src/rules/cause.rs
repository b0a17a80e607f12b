//! Causality: builds the tree of findings from symptoms.
//!
//! A symptom is attached to the first cause that is present, explains it by the catalog, and has it in its scope. Two
//! things are not in the catalog. A lost quorum follows from the cause that keeps most members from serving. And findings of members are the
//! parts of a lost quorum: they are shown below it if it has no other cause, or the same one.

mod merge;
mod scope;

use std::collections::BTreeMap;

use crate::finding::{Finding, FindingId, Remedy};

use super::etcd::Cluster;
use super::facts_view::FactsView;
use super::symptom::Symptom;

/// Findings of members that add up to a lost quorum.
const PARTS_OF_QUORUM_LOST: &[FindingId] = &[
    FindingId::EtcdMemberDown,
    FindingId::EtcdMemberCorrupt,
    FindingId::EtcdMemberDataMissing,
    FindingId::EtcdMemberDiverged,
    FindingId::EtcdMemberForeign,
];

/// The findings these symptoms are, causes first.
pub(super) fn tree(view: &FactsView<'_>, cluster: &Cluster<'_>, mut symptoms: Vec<Symptom>) -> Vec<Finding> {
    let mut parents = Parents::by_catalog(view, &symptoms);
    parents.hang_quorum(cluster, &symptoms);
    for (index, symptom) in symptoms.iter_mut().enumerate() {
        // While something else is the cause, advice about its consequences only distracts, and what merely waits for
        // the cause to go needs no restart. What is stopped has to be started all the same.
        if parents.of.get(index).is_some_and(Option::is_some) {
            let vanishes = |remedy: &Remedy| {
                remedy.by_hand().is_some() || matches!(remedy, Remedy::RestartService { .. })
            };
            symptom.remedies.retain(|remedy| !vanishes(remedy));
        }
    }
    parents.hang_parts(&symptoms);
    merge::findings(view, &symptoms, &parents.of, None)
}

/// For each symptom the index of its cause.
struct Parents {
    of: Vec<Option<usize>>,
}

impl Parents {
    fn by_catalog(view: &FactsView<'_>, symptoms: &[Symptom]) -> Self {
        let parent = |effect: &Symptom| {
            let causes = symptoms.iter().enumerate().flat_map(|(index, cause)| {
                let explains = cause.id.kind().explains.iter();
                let scopes = explains.filter(|(_, effects)| effects.contains(&effect.id));
                scopes
                    .filter(|(scope, _)| scope::holds(*scope, view, symptoms, cause, effect))
                    .map(move |(scope, _)| (*scope, cause.id, index))
            });
            causes.min().map(|(_, _, index)| index)
        };
        Self { of: symptoms.iter().map(parent).collect() }
    }

    fn parent(&self, index: usize) -> Option<usize> {
        self.of.get(index).copied().flatten()
    }

    /// The cause at the top. The catalog has no cycles; the bound makes that plain.
    fn root(&self, index: usize) -> usize {
        (0..self.of.len()).fold(index, |at, _| self.parent(at).unwrap_or(at))
    }

    /// Attaches a lost quorum to the cause that keeps most members from serving, if that suffices for it.
    fn hang_quorum(&mut self, cluster: &Cluster<'_>, symptoms: &[Symptom]) {
        let Some(quorum) = symptoms.iter().position(|symptom| symptom.id == FindingId::EtcdQuorumLost) else {
            return;
        };
        let explained = parts(symptoms).filter(|index| self.parent(*index).is_some());
        let roots: Vec<usize> = explained.map(|index| self.root(index)).collect();
        if roots.is_empty() || cluster.serving() + roots.len() < cluster.majority() {
            return;
        }
        let mut counts: BTreeMap<FindingId, (usize, usize)> = BTreeMap::new();
        for root in roots {
            let Some(cause) = symptoms.get(root) else { continue };
            counts.entry(cause.id).or_insert((0, root)).0 += 1;
        }
        let most = counts.values().max_by_key(|(count, root)| (*count, std::cmp::Reverse(*root)));
        if let (Some((_, root)), Some(parent)) = (most, self.of.get_mut(quorum)) {
            *parent = Some(*root);
        }
    }

    fn hang_parts(&mut self, symptoms: &[Symptom]) {
        let Some(quorum) = symptoms.iter().position(|symptom| symptom.id == FindingId::EtcdQuorumLost) else {
            return;
        };
        let root_of_quorum = self.root(quorum);
        let id = |index: usize| symptoms.get(index).map(|symptom| symptom.id);
        for part in parts(symptoms) {
            let belongs = match self.parent(part) {
                None => root_of_quorum == quorum,
                Some(_) => id(self.root(part)) == id(root_of_quorum),
            };
            if let (true, Some(parent)) = (belongs, self.of.get_mut(part)) {
                *parent = Some(quorum);
            }
        }
    }
}

fn parts(symptoms: &[Symptom]) -> impl Iterator<Item = usize> {
    let is_part = |symptom: &Symptom| PARTS_OF_QUORUM_LOST.contains(&symptom.id);
    symptoms.iter().enumerate().filter(move |(_, symptom)| is_part(symptom)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A finding that explains itself, directly or not, would have no place in the tree, and would not be shown.
    #[test]
    fn nothing_explains_itself() {
        for start in FindingId::ALL {
            let mut reached: Vec<FindingId> = vec![*start];
            let mut next = 0;
            while let Some(cause) = reached.get(next).copied() {
                next += 1;
                for effect in cause.kind().explains.iter().flat_map(|(_, effects)| *effects) {
                    assert_ne!(effect, start, "{start} explains itself by way of {cause}");
                    if !reached.contains(effect) {
                        reached.push(*effect);
                    }
                }
            }
        }
    }
}
