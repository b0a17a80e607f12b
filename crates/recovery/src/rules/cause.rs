//! What follows from what: a table, and the tree it makes of sightings.
//!
//! A sighting hangs under the first cause of [`EXPLAINS`] that is there and fits. Two things are not in the table.
//! A lost quorum follows from whatever keeps enough members from serving. And the members' own troubles are what a
//! lost quorum is made of: they are shown below it when it has no other cause, or the same one as they have.

mod merge;
mod table;

use std::collections::BTreeMap;

use crate::finding::{Finding, FindingId, Remedy};

use super::etcd::Cluster;
use super::look::Look;
use super::sighting::Sighting;
use table::EXPLAINS;

/// What a lost quorum is made of.
const PARTS_OF_QUORUM_LOST: &[FindingId] = &[
    FindingId::EtcdMemberDown,
    FindingId::EtcdMemberCorrupt,
    FindingId::EtcdMemberDataMissing,
    FindingId::EtcdMemberDiverged,
    FindingId::EtcdMemberForeign,
];

/// The findings these sightings are, causes first.
pub(super) fn tree(look: &Look<'_>, cluster: &Cluster<'_>, mut sightings: Vec<Sighting>) -> Vec<Finding> {
    let mut parents = Parents::by_table(look, &sightings);
    parents.hang_quorum(cluster, &sightings);
    for (index, sighting) in sightings.iter_mut().enumerate() {
        // While something else is the cause, advice about its consequences only distracts, and what merely waits for
        // the cause to go needs no restart. What is stopped has to be started all the same.
        if parents.of.get(index).is_some_and(Option::is_some) {
            let vanishes = |remedy: &Remedy| {
                remedy.by_hand().is_some() || matches!(remedy, Remedy::RestartService { .. })
            };
            sighting.remedies.retain(|remedy| !vanishes(remedy));
        }
    }
    parents.hang_parts(&sightings);
    merge::findings(look, &sightings, &parents.of, None)
}

/// For every sighting the one it hangs under.
struct Parents {
    of: Vec<Option<usize>>,
}

impl Parents {
    fn by_table(look: &Look<'_>, sightings: &[Sighting]) -> Self {
        let parent = |effect: &Sighting| {
            let rows = EXPLAINS.iter().filter(|row| row.effects.contains(&effect.id));
            rows.flat_map(|row| sightings.iter().enumerate().map(move |(index, cause)| (row, index, cause)))
                .find(|(row, _, cause)| {
                    row.cause == cause.id && row.scope.holds(look, sightings, cause, effect)
                })
                .map(|(_, index, _)| index)
        };
        Self { of: sightings.iter().map(parent).collect() }
    }

    fn parent(&self, index: usize) -> Option<usize> {
        self.of.get(index).copied().flatten()
    }

    /// The cause at the top. The table has no cycles; the bound makes that plain.
    fn root(&self, index: usize) -> usize {
        (0..self.of.len()).fold(index, |at, _| self.parent(at).unwrap_or(at))
    }

    /// Hangs a lost quorum under what keeps most members from serving, if it would be there without.
    fn hang_quorum(&mut self, cluster: &Cluster<'_>, sightings: &[Sighting]) {
        let Some(quorum) = sightings.iter().position(|sighting| sighting.id == FindingId::EtcdQuorumLost)
        else {
            return;
        };
        let explained = parts(sightings).filter(|index| self.parent(*index).is_some());
        let roots: Vec<usize> = explained.map(|index| self.root(index)).collect();
        if roots.is_empty() || cluster.serving() + roots.len() < cluster.majority() {
            return;
        }
        let mut counts: BTreeMap<FindingId, (usize, usize)> = BTreeMap::new();
        for root in roots {
            let Some(cause) = sightings.get(root) else { continue };
            counts.entry(cause.id).or_insert((0, root)).0 += 1;
        }
        let most = counts.values().max_by_key(|(count, root)| (*count, std::cmp::Reverse(*root)));
        if let (Some((_, root)), Some(parent)) = (most, self.of.get_mut(quorum)) {
            *parent = Some(*root);
        }
    }

    fn hang_parts(&mut self, sightings: &[Sighting]) {
        let Some(quorum) = sightings.iter().position(|sighting| sighting.id == FindingId::EtcdQuorumLost)
        else {
            return;
        };
        let root_of_quorum = self.root(quorum);
        let id = |index: usize| sightings.get(index).map(|sighting| sighting.id);
        for part in parts(sightings) {
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

fn parts(sightings: &[Sighting]) -> impl Iterator<Item = usize> {
    let is_part = |sighting: &Sighting| PARTS_OF_QUORUM_LOST.contains(&sighting.id);
    sightings.iter().enumerate().filter(move |(_, sighting)| is_part(sighting)).map(|(index, _)| index)
}
