//! Two histories, revision by revision.
//!
//! Above both compact revisions, both hold every revision up to the lower of the current ones, so any difference is one
//! of history. Below, a source has left only what was alive at its compact revision. What the one compacted further has
//! there must be in the other too, and alive in it just there: a key that the other changed meanwhile was changed
//! without the first. If the compaction is above the other's current revision, nothing more can be compared.

use super::merge::Stored;
use super::{Candidate, Extent};
use crate::error::Result;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::mvcc::{KeepRule, KeepSet};
use crate::progress::NoProgress;
use crate::revision::Revision;

/// Relation of two histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// One continues the other, or they are the same.
    Agree {
        /// Whether everything in the shorter one was compared. Otherwise the longer one is compacted beyond it, and its
        /// remaining revisions match.
        whole: bool,
    },
    /// Neither continues the other.
    Diverged(Divergence),
    /// They have no revision in common to compare.
    Unknown,
}

/// Where two histories diverge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The first main revision that differs.
    pub revision: i64,
    /// Whether the histories diverge exactly there. Otherwise it is the first difference that compactions left, and they may
    /// have diverged earlier or later, up to the compact revision.
    pub exact: bool,
    /// Revisions before it that are the same in both; 0 for unrelated histories.
    pub shared: u64,
    /// The change each of them has there; `None` if it has none, or if it was superseded and compacted.
    pub changes: [Option<Change>; 2],
}

/// The change of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// Whether it deletes the key.
    pub deleted: bool,
}

impl Change {
    pub(super) fn of(stored: &Stored) -> Self {
        let key = KeyValue::decode(&stored.value).map(|kv| kv.key.to_vec()).unwrap_or_default();
        Self { key, deleted: stored.tombstone }
    }
}

/// The revisions of sources that are compared below compact revisions.
pub(super) struct Compacted {
    /// Of each source, its compact revision and what a compaction there leaves: not all of the rest may be gone yet.
    own: Vec<Option<(i64, KeepSet)>>,
    /// What is alive in a source at a revision where another one is compacted.
    alive: Vec<((usize, i64), KeepSet)>,
}

impl Compacted {
    /// Reads the sources for it.
    pub(super) fn read(candidates: &[Candidate<'_>]) -> Result<Self> {
        let own = |candidate: &Candidate<'_>| {
            let at = candidate.extent.compact_revision;
            (at >= 0).then(|| Ok((at, KeepSet::at(candidate.source, at, &NoProgress)?))).transpose()
        };
        let own = candidates.iter().map(own).collect::<Result<_>>()?;
        let mut alive: Vec<((usize, i64), KeepSet)> = Vec::new();
        for (index, one) in candidates.iter().enumerate() {
            for other in candidates {
                let Some(at) = alive_at(one.extent, other.extent) else { continue };
                if !alive.iter().any(|(known, _)| *known == (index, at)) {
                    alive.push(((index, at), KeepSet::at(one.source, at, &NoProgress)?));
                }
            }
        }
        Ok(Self { own, alive })
    }

    /// What each source stores at a revision, but for what only waits to be compacted away, and for the marks of restores,
    /// which are not changes: some restores leave none.
    pub(super) fn seen<'s>(
        &self,
        revision: Revision,
        stored: &'s [Option<Stored>],
    ) -> Vec<Option<&'s Stored>> {
        let counts = |(stored, own): (&'s Option<Stored>, &Option<(i64, KeepSet)>)| {
            let stored = stored.as_ref().filter(|stored| !is_bump_mark(&stored.value))?;
            match own {
                Some((at, keep)) if revision.main <= *at => keep.contains(stored.ordinal).then_some(stored),
                _ => Some(stored),
            }
        };
        stored.iter().zip(&self.own).map(counts).collect()
    }

    fn alive(&self, source: usize, at: i64) -> Option<&KeepSet> {
        self.alive.iter().find_map(|(known, keep)| (*known == (source, at)).then_some(keep))
    }
}

/// The revision at which live keys of one are compared with another that is compacted further: the other's compact
/// revision, or the end of the one.
fn alive_at(one: Extent, other: Extent) -> Option<i64> {
    let further = other.compact_revision > one.compact_revision;
    further.then(|| other.compact_revision.min(one.revision))
}

/// Compares two histories, revision by revision.
pub(super) struct PairComparer<'a> {
    pair: [usize; 2],
    extents: [Extent; 2],
    /// Which of the two is compacted less, and what is alive in it where that matters.
    less: Option<(usize, &'a KeepSet)>,
    same: u64,
    divergence: Option<Divergence>,
}

impl<'a> PairComparer<'a> {
    pub(super) fn new(pair: [usize; 2], extents: [Extent; 2], compacted: &'a Compacted) -> Self {
        let [one, other] = extents;
        let side = |side: usize, at: Option<i64>| {
            let source = *pair.get(side)?;
            Some((side, compacted.alive(source, at?)?))
        };
        let less = side(0, alive_at(one, other)).or_else(|| side(1, alive_at(other, one)));
        Self { pair, extents, less, same: 0, divergence: None }
    }

    pub(super) fn pair(&self) -> [usize; 2] {
        self.pair
    }

    pub(super) fn extents(&self) -> [Extent; 2] {
        self.extents
    }

    pub(super) fn divergence(&self) -> Option<&Divergence> {
        self.divergence.as_ref()
    }

    /// What the two store at a revision.
    pub(super) fn of<'s>(&self, seen: &[Option<&'s Stored>]) -> [Option<&'s Stored>; 2] {
        self.pair.map(|source| seen.get(source).copied().flatten())
    }

    /// Looks at the next revision.
    pub(super) fn see(&mut self, revision: Revision, seen: &[Option<&Stored>]) {
        if self.divergence.is_some() || revision.main > self.top() {
            return;
        }
        let both = self.of(seen);
        if self.differ(revision.main, both) {
            self.divergence = Some(Divergence {
                revision: revision.main,
                exact: revision.main > self.compacted(),
                shared: self.same,
                changes: both.map(|stored| stored.map(Change::of)),
            });
        } else if let [Some(_), Some(_)] = both {
            self.same += 1;
        }
    }

    pub(super) fn finish(self) -> Relation {
        let whole = self.compacted() <= self.top();
        match self.divergence {
            Some(divergence) => Relation::Diverged(divergence),
            None if whole || self.same > 0 => Relation::Agree { whole },
            None => Relation::Unknown,
        }
    }

    /// The highest revision that both have.
    fn top(&self) -> i64 {
        let [one, other] = self.extents;
        one.revision.min(other.revision)
    }

    /// The revision above which neither is compacted.
    fn compacted(&self) -> i64 {
        let [one, other] = self.extents;
        one.compact_revision.max(other.compact_revision)
    }

    fn differ(&self, main: i64, both: [Option<&Stored>; 2]) -> bool {
        let below = main <= self.compacted();
        match both {
            [None, None] => false,
            [Some(one), Some(other)] => !same(one, other) || below && self.is_done_over(both),
            [Some(only), None] => !below || self.must_be_in_the_other(0, only),
            [None, Some(only)] => !below || self.must_be_in_the_other(1, only),
        }
    }

    /// Whether the one that is compacted less has done something else with a key since, that the other one has as it was.
    fn is_done_over(&self, both: [Option<&Stored>; 2]) -> bool {
        let Some((side, alive)) = self.less else { return false };
        let stored = both.get(side).copied().flatten();
        stored.is_some_and(|stored| !stored.tombstone && !alive.contains(stored.ordinal))
    }

    fn must_be_in_the_other(&self, side: usize, stored: &Stored) -> bool {
        match self.less {
            // A compaction takes away what is not alive there, and in later releases a bit more.
            Some((less, alive)) if less == side => {
                let kept = alive.keeps(KeepRule::FirstLife, self.compacted(), stored.ordinal);
                kept && self.compacted() <= self.top()
            }
            _ => true,
        }
    }
}

/// Whether two sources store the same.
pub(super) fn same(one: &Stored, other: &Stored) -> bool {
    (one.tombstone, &one.value) == (other.tombstone, &other.value)
}
