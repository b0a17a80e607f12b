//! Causality: builds the tree of findings from symptoms by a table.
//!
//! A symptom is attached to the first cause of [`CAUSALITY`] that is present and matches. Two things are not in the
//! table. A lost quorum follows from the cause that keeps most members from serving. And findings of members are the
//! parts of a lost quorum: they are shown below it if it has no other cause, or the same one.

mod causality;
mod merge;

use std::collections::BTreeMap;

use crate::finding::{Finding, FindingId, Remedy};

use super::etcd::Cluster;
use super::facts_view::FactsView;
use super::symptom::Symptom;
use causality::CAUSALITY;

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
    let mut parents = Parents::by_table(view, &symptoms);
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
    fn by_table(view: &FactsView<'_>, symptoms: &[Symptom]) -> Self {
        let parent = |effect: &Symptom| {
            let rows = CAUSALITY.iter().filter(|row| row.effects.contains(&effect.id));
            rows.flat_map(|row| symptoms.iter().enumerate().map(move |(index, cause)| (row, index, cause)))
                .find(|(row, _, cause)| {
                    row.cause == cause.id && row.scope.holds(view, symptoms, cause, effect)
                })
                .map(|(_, index, _)| index)
        };
        Self { of: symptoms.iter().map(parent).collect() }
    }

    fn parent(&self, index: usize) -> Option<usize> {
        self.of.get(index).copied().flatten()
    }

    /// The cause at the top. The table has no cycles; the bound makes that plain.
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
