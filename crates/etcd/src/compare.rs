//! Several sources of what may be one history: which holds most, whose histories agree, where they diverge, and what
//! the freshest has that another lacks.
//!
//! The bytes decide. Members of one cluster apply one log, so up to the lower of two current revisions both must hold
//! the same revisions, but for what a compaction has taken away. Raft's term and index order what holds the same.

mod changes;
mod choice;
mod merge;
mod pair;
mod standing;

use crate::error::Result;
use crate::join::join;
use crate::mvcc::{HashKv, hash_kv};
use crate::progress::{NoProgress, Progress};
use crate::source::Source;

pub use changes::{Changes, KeyChange};
pub use choice::NoChoice;
pub use pair::{Change, Divergence, Relation};
pub use standing::{Standing, Unfit};

use changes::Differing;
use pair::{Compacted, Judge};

/// How sources stand to each other. Sources go by their place in what was compared.
#[derive(Debug)]
pub struct Comparison {
    /// What each holds, and why one is not fit to be chosen.
    pub standings: Vec<Standing>,
    /// Those that are fit, the freshest first.
    pub ranking: Vec<usize>,
    /// Every two that are fit.
    pub pairs: Vec<Pair>,
    /// The freshest beside every other that is fit, in the order of the ranking.
    pub differences: Vec<Difference>,
    /// HashKV of each at the highest revision that most of the fit ones have, as if these were all compacted as far as
    /// the one that is most; `None` of those that do not have it.
    pub hashes: Vec<Option<HashKv>>,
}

/// Two sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Their places.
    pub sources: [usize; 2],
    /// How their histories stand to each other.
    pub relation: Relation,
}

/// What the freshest source and another one do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The other's place.
    pub source: usize,
    /// What the freshest has and it lacks.
    pub lacks: Changes,
    /// What it has and the freshest lacks: something only where they diverge.
    pub alone: Changes,
}

/// Compares sources, or the reasons why one cannot be read. Every source is read a few times; memory holds one bit for
/// each revision of sources that are compacted differently, and a bounded list of keys.
///
/// # Errors
/// Damage that was not there a moment before, or a read that the operating system refused. Damage as such makes a source
/// unfit.
pub fn compare(
    sources: &[std::result::Result<&dyn Source, Unfit>],
    progress: &dyn Progress,
) -> Result<Comparison> {
    let standings: Vec<Standing> =
        sources.iter().map(|source| Standing::of(source, progress)).collect::<Result<_>>()?;
    let mut fit: Vec<Fit<'_>> = Vec::new();
    for (place, (source, standing)) in sources.iter().zip(&standings).enumerate() {
        if let (Ok(source), Some(extent)) = (source, standing.extent()) {
            fit.push(Fit { place, source: *source, extent });
        }
    }
    fit.sort_by_key(|fit| std::cmp::Reverse(standings.get(fit.place).map(Standing::freshness)));
    let (pairs, differences) = histories(&fit, progress)?;
    let mut hashes = vec![None; standings.len()];
    for (fit, hash) in fit.iter().zip(common_hashes(&fit, progress)?) {
        if let Some(place) = hashes.get_mut(fit.place) {
            *place = hash;
        }
    }
    Ok(Comparison {
        ranking: fit.iter().map(|fit| fit.place).collect(),
        standings,
        pairs,
        differences,
        hashes,
    })
}

/// A source that is fit, and where it was given.
struct Fit<'a> {
    place: usize,
    source: &'a dyn Source,
    extent: Extent,
}

/// What part of a history a source has.
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
fn histories(fit: &[Fit<'_>], progress: &dyn Progress) -> Result<(Vec<Pair>, Vec<Difference>)> {
    let compacted = Compacted::read(fit)?;
    let mut judges: Vec<Judge<'_>> = Vec::new();
    for (a, first) in fit.iter().enumerate() {
        let rest = fit.iter().enumerate().skip(a + 1);
        judges.extend(rest.map(|(b, second)| Judge::new([a, b], [first.extent, second.extent], &compacted)));
    }
    let mut differing: Vec<Differing> = (1..fit.len()).map(|_| Differing::default()).collect();
    let sources: Vec<&dyn Source> = fit.iter().map(|fit| fit.source).collect();
    let total = sources.iter().map(|source| source.origin().size_in_use).sum();
    progress.start("compare", Some(total));
    merge::merge(&sources, progress, &mut |revision, stored| {
        let seen = compacted.seen(revision, stored);
        for judge in &mut judges {
            judge.see(revision, &seen);
        }
        // The first of every pair is the fresher one, and those with the freshest come first.
        for (differing, judge) in differing.iter_mut().zip(&judges) {
            differing.see(revision, judge, &seen);
        }
        Ok(())
    })?;
    let place = |index: usize| fit.get(index).map_or(0, |fit| fit.place);
    let differences = differing.into_iter().zip(&judges).map(|(differing, judge)| {
        let (lacks, alone) = differing.finish(judge);
        Difference { source: place(judge.pair()[1]), lacks, alone }
    });
    let differences = differences.collect();
    let pair = |judge: Judge<'_>| Pair { sources: judge.pair().map(place), relation: judge.finish() };
    Ok((judges.into_iter().map(pair).collect(), differences))
}

/// HashKV of as many as have a revision in common, at the highest such; an old snapshot, which ends before the others
/// are compacted, has none with them.
fn common_hashes(fit: &[Fit<'_>], progress: &dyn Progress) -> Result<Vec<Option<HashKv>>> {
    let holders = |revision: i64| fit.iter().filter(move |fit| fit.extent.holds(revision));
    let is_common = |revision: &i64| fit.len() == 1 || holders(*revision).count() > 1;
    let revisions = fit.iter().map(|fit| fit.extent.revision).filter(is_common);
    let Some(revision) = revisions.max_by_key(|revision| (holders(*revision).count(), *revision)) else {
        return Ok(vec![None; fit.len()]);
    };
    let compacted = holders(revision).map(|fit| fit.extent.compact_revision).max();
    progress.start("hash", None);
    std::thread::scope(|scope| {
        let hashed: Vec<_> = fit
            .iter()
            .map(|fit| {
                let source = fit.source;
                let hash = move || hash_kv(source, Some(revision), compacted, &NoProgress);
                fit.extent.holds(revision).then(|| scope.spawn(hash))
            })
            .collect();
        hashed.into_iter().map(|hash| hash.map(join).transpose()).collect()
    })
}

#[cfg(test)]
mod tests;
