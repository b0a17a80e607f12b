//! The JSON and YAML of a comparison.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lifeboat_etcd::Majority;
use lifeboat_etcd::compare::{Change, Changes, Divergence, Ineligible, KeyChange, Relation, SourcePair};
use lifeboat_etcd::report::{LogReport, RaftReport};
use serde::Serialize;

use super::Compared;
use super::text::relation_name;
use crate::commands::hash::HashView;
use crate::source::combination;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonView {
    sources: Vec<SourceView>,
    freshest: Option<String>,
    /// The source that a restore would use.
    chosen: Option<String>,
    /// Why there is no such source.
    undecided: Option<String>,
    pairs: Vec<PairView>,
    /// The data dirs of each cluster, by its id: members of different clusters do not join each other.
    clusters: BTreeMap<String, Vec<String>>,
    /// What the logs of a majority of a cluster's voters prove to be committed.
    committed: Vec<MajorityView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MajorityView {
    cluster_id: String,
    voters: usize,
    /// Voters whose logs were read.
    read: usize,
    /// The source with the most up-to-date log.
    source: String,
    /// Index of the last entry that a majority of the voters has.
    held_by_majority: u64,
    /// Index of the last entry that is applied.
    last: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceView {
    source: String,
    kind: Option<&'static str>,
    /// What a data dir is read as, if its own db is not used.
    combination: Option<String>,
    rank: Option<usize>,
    unfit: Option<String>,
    remedy: Option<&'static str>,
    revision: Option<i64>,
    compact_revision: Option<i64>,
    live_keys: Option<u64>,
    raft_term: Option<u64>,
    consistent_index: Option<u64>,
    raft: Option<RaftReport>,
    /// For a data dir that cannot be read otherwise.
    log: Option<LogReport>,
    hash: Option<HashView>,
    /// Relation to the history of the freshest.
    history: Option<&'static str>,
    lacks: Option<ChangesView>,
    alone: Option<ChangesView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PairView {
    sources: [String; 2],
    history: &'static str,
    diverged: Option<DivergenceView>,
}

#[derive(Serialize)]
struct DivergenceView {
    revision: i64,
    exact: bool,
    shared: u64,
    changes: [Option<ChangeView>; 2],
}

#[derive(Serialize)]
struct ChangeView {
    /// Base64.
    key: String,
    deleted: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangesView {
    revisions: u64,
    keys: Vec<KeyView>,
    further_revisions: u64,
    complete: bool,
}

#[derive(Serialize)]
struct KeyView {
    /// Base64.
    key: String,
    changes: u64,
    revision: i64,
    deleted: bool,
}

impl From<&Changes> for ChangesView {
    fn from(changes: &Changes) -> Self {
        let key = |(key, change): (&Vec<u8>, &KeyChange)| KeyView {
            key: STANDARD.encode(key),
            changes: change.changes,
            revision: change.revision,
            deleted: change.deleted,
        };
        Self {
            revisions: changes.revisions,
            keys: changes.keys.iter().map(key).collect(),
            further_revisions: changes.further_revisions,
            complete: changes.complete,
        }
    }
}

impl From<&Divergence> for DivergenceView {
    fn from(divergence: &Divergence) -> Self {
        let change =
            |change: &Change| ChangeView { key: STANDARD.encode(&change.key), deleted: change.deleted };
        Self {
            revision: divergence.revision,
            exact: divergence.exact,
            shared: divergence.shared,
            changes: divergence.changes.each_ref().map(|found| found.as_ref().map(change)),
        }
    }
}

impl From<&Compared> for ComparisonView {
    fn from(compared: &Compared) -> Self {
        let comparison = &compared.comparison;
        let name = |place: usize| compared.names[place].clone();
        let choice = compared.choose();
        let pair = |pair: &SourcePair| PairView {
            sources: pair.sources.map(name),
            history: relation_name(&pair.relation),
            diverged: match &pair.relation {
                Relation::Diverged(divergence) => Some(divergence.into()),
                _ => None,
            },
        };
        let majority = |majority: &Majority| MajorityView {
            cluster_id: majority.cluster_id.to_string(),
            voters: majority.voters,
            read: majority.read,
            source: name(majority.place),
            held_by_majority: majority.held,
            last: majority.last,
        };
        Self {
            sources: compared.source_views(),
            freshest: comparison.ranking.first().copied().map(name),
            chosen: choice.as_ref().ok().copied().map(name),
            undecided: choice.as_ref().err().map(|why| compared.undecided(why)),
            pairs: comparison.pairs.iter().map(pair).collect(),
            clusters: compared.clusters(),
            committed: compared.majorities.iter().map(majority).collect(),
        }
    }
}

impl Compared {
    fn source_views(&self) -> Vec<SourceView> {
        let comparison = &self.comparison;
        let ranks: BTreeMap<usize, usize> =
            comparison.ranking.iter().enumerate().map(|(rank, place)| (*place, rank + 1)).collect();
        let view = |(place, name): (usize, &String)| {
            let standing = &comparison.sources[place];
            let inspection = standing.inspection.as_ref();
            let state = inspection.map(|inspection| &inspection.state);
            let difference = comparison.differences.iter().find(|difference| difference.source == place);
            SourceView {
                source: name.clone(),
                kind: inspection.map(|inspection| inspection.origin.kind),
                combination: self.sources[place].as_deref().ok().and_then(combination),
                rank: ranks.get(&place).copied(),
                unfit: standing.ineligible.as_ref().map(ToString::to_string),
                remedy: standing.ineligible.as_ref().map(Ineligible::remedy),
                revision: inspection.map(|inspection| inspection.revision),
                compact_revision: state.map(|state| state.compact_revision().unwrap_or(-1)),
                live_keys: inspection.map(|inspection| inspection.live_keys),
                raft_term: state.and_then(|state| state.term),
                consistent_index: state.and_then(|state| state.consistent_index),
                raft: inspection.and_then(|inspection| inspection.raft).map(RaftReport::from),
                log: self.logs[place].map(LogReport::from),
                hash: comparison.hashes[place].map(HashView::from),
                history: self.history(place),
                lacks: difference.map(|difference| (&difference.lacks).into()),
                alone: difference.map(|difference| (&difference.alone).into()),
            }
        };
        self.names.iter().enumerate().map(view).collect()
    }
}
