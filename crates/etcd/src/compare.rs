//! Compares sources that may belong to one history: ranks them, and finds which agree, where they diverge, and what the
//! freshest has that another lacks.
//!
//! The bytes decide. Members of one cluster apply one log, so up to the lower of two current revisions both must hold
//! the same revisions, but for what a compaction has taken away. Raft's term and index order what holds the same.

mod changes;
mod choice;
mod merge;
mod pair;
mod rank;

use crate::error::Result;
use crate::mvcc::{HashKv, hash_kv};
use crate::progress::{NoProgress, Progress};
use crate::source::Source;
use crate::thread::join;

pub use changes::{Changes, KeyChange};
pub use choice::NoChoice;
pub use pair::{Change, Divergence, Relation};
pub use rank::{Ineligible, RankedSource};

use changes::PairChanges;
use pair::{Compacted, PairComparer};

/// Result of [`compare()`]. Sources are referred to by their index in the list that was compared.
#[derive(Debug)]
pub struct Comparison {
    /// The sources, in the order given.
    pub sources: Vec<RankedSource>,
    /// The eligible sources, the freshest first.
    pub ranking: Vec<usize>,
    /// Every pair of eligible sources.
    pub pairs: Vec<SourcePair>,
    /// The freshest compared with every other eligible source, in ranking order.
    pub differences: Vec<Difference>,
    /// HashKV of each at the highest revision that most eligible sources have, computed at the highest compact revision
    /// among them; `None` for sources without that revision.
    pub hashes: Vec<Option<HashKv>>,
}

/// Two sources and the relation of their histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePair {
    /// Their indexes.
    pub sources: [usize; 2],
    /// The relation of their histories.
    pub relation: Relation,
}

/// Changes that the freshest source and another one do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the other source.
    pub source: usize,
    /// Changes that only the freshest has.
    pub lacks: Changes,
    /// Changes that only the other has; empty unless they diverge.
    pub alone: Changes,
}

/// Compares sources; one that could not be opened is given as [`Ineligible`]. Every source is read a few times. Memory
/// holds one bit for each revision of sources with different compact revisions, and a bounded list of keys.
///
/// # Errors
/// A failed read. Damage makes a source ineligible; damage that appears during the comparison is an error.
pub fn compare(
    sources: &[std::result::Result<&dyn Source, Ineligible>],
    progress: &dyn Progress,
) -> Result<Comparison> {
    let ranked: Vec<RankedSource> =
        sources.iter().map(|source| RankedSource::of(source, progress)).collect::<Result<_>>()?;
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for (place, (source, ranked)) in sources.iter().zip(&ranked).enumerate() {
        if let (Ok(source), Some(extent)) = (source, ranked.extent()) {
            candidates.push(Candidate { place, source: *source, extent });
        }
    }
    candidates
        .sort_by_key(|candidate| std::cmp::Reverse(ranked.get(candidate.place).map(RankedSource::freshness)));
    let (pairs, differences) = histories(&candidates, progress)?;
    let mut hashes = vec![None; ranked.len()];
    for (candidate, hash) in candidates.iter().zip(common_hashes(&candidates, progress)?) {
        if let Some(place) = hashes.get_mut(candidate.place) {
            *place = hash;
        }
    }
    Ok(Comparison {
        ranking: candidates.iter().map(|candidate| candidate.place).collect(),
        sources: ranked,
        pairs,
        differences,
        hashes,
    })
}

/// An eligible source and its index.
struct Candidate<'a> {
    place: usize,
    source: &'a dyn Source,
    extent: Extent,
}

/// The part of a history that a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// The current revision.
    revision: i64,
    /// Up to here only what was alive is left; -1 when it was never compacted.
    compact_revision: i64,
}

impl Extent {
    /// Whether it has the state as of a revision.
    fn holds(&self, revision: i64) -> bool {
        (self.compact_revision..=self.revision).contains(&revision)
    }
}

/// Goes through all histories at once, in the order of revisions.
fn histories(
    candidates: &[Candidate<'_>],
    progress: &dyn Progress,
) -> Result<(Vec<SourcePair>, Vec<Difference>)> {
    let compacted = Compacted::read(candidates)?;
    let mut comparers: Vec<PairComparer<'_>> = Vec::new();
    for (a, first) in candidates.iter().enumerate() {
        let rest = candidates.iter().enumerate().skip(a + 1);
        comparers.extend(
            rest.map(|(b, second)| PairComparer::new([a, b], [first.extent, second.extent], &compacted)),
        );
    }
    let mut differing: Vec<PairChanges> = (1..candidates.len()).map(|_| PairChanges::default()).collect();
    let sources: Vec<&dyn Source> = candidates.iter().map(|candidate| candidate.source).collect();
    let total = sources.iter().map(|source| source.origin().size_in_use).sum();
    progress.start("compare", Some(total));
    merge::merge(&sources, progress, &mut |revision, stored| {
        let seen = compacted.seen(revision, stored);
        for comparer in &mut comparers {
            comparer.see(revision, &seen);
        }
        // The first of every pair is the fresher one, and those with the freshest come first.
        for (differing, comparer) in differing.iter_mut().zip(&comparers) {
            differing.see(revision, comparer, &seen);
        }
        Ok(())
    })?;
    let place = |index: usize| candidates.get(index).map_or(0, |candidate| candidate.place);
    let differences = differing.into_iter().zip(&comparers).map(|(differing, comparer)| {
        let (lacks, alone) = differing.finish(comparer);
        Difference { source: place(comparer.pair()[1]), lacks, alone }
    });
    let differences = differences.collect();
    let pair = |comparer: PairComparer<'_>| SourcePair {
        sources: comparer.pair().map(place),
        relation: comparer.finish(),
    };
    Ok((comparers.into_iter().map(pair).collect(), differences))
}

/// HashKV of as many as have a revision in common, at the highest such; an old snapshot, which ends before the others
/// are compacted, has none with them.
fn common_hashes(candidates: &[Candidate<'_>], progress: &dyn Progress) -> Result<Vec<Option<HashKv>>> {
    let holders = |revision: i64| candidates.iter().filter(move |candidate| candidate.extent.holds(revision));
    let is_common = |revision: &i64| candidates.len() == 1 || holders(*revision).count() > 1;
    let revisions = candidates.iter().map(|candidate| candidate.extent.revision).filter(is_common);
    let Some(revision) = revisions.max_by_key(|revision| (holders(*revision).count(), *revision)) else {
        return Ok(vec![None; candidates.len()]);
    };
    let compacted = holders(revision).map(|candidate| candidate.extent.compact_revision).max();
    progress.start("hash", None);
    std::thread::scope(|scope| {
        let hashed: Vec<_> = candidates
            .iter()
            .map(|candidate| {
                let source = candidate.source;
                let hash = move || hash_kv(source, Some(revision), compacted, &NoProgress);
                candidate.extent.holds(revision).then(|| scope.spawn(hash))
            })
            .collect();
        hashed.into_iter().map(|hash| hash.map(join).transpose()).collect()
    })
}

#[cfg(test)]
mod tests;
