//! Changes that one source has and another lacks, by key: a bounded list with full counts.

use std::collections::BTreeMap;

use super::merge::Stored;
use super::pair::{Change, PairComparer, same};
use crate::revision::Revision;

/// Keys listed at most, and bytes of their names.
const MAX_KEYS: usize = 1000;
const MAX_BYTES: usize = 1 << 20;

/// Changes that one source has and another lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number of changes: puts and deletes of single keys.
    pub revisions: u64,
    /// Changed keys, up to a limit.
    pub keys: BTreeMap<Vec<u8>, KeyChange>,
    /// Changes of keys beyond the limit.
    pub further_revisions: u64,
    /// Whether the list is complete. Otherwise compactions removed changes that were superseded or deleted since.
    pub complete: bool,
}

/// The changes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyChange {
    /// Number of changes.
    pub changes: u64,
    /// Main revision of the last one.
    pub revision: i64,
    /// Whether the last one deleted the key.
    pub deleted: bool,
}

/// What the first and the second of a pair do not share, in the making.
#[derive(Default)]
pub(super) struct PairChanges {
    first: Listing,
    second: Listing,
}

#[derive(Default)]
struct Listing {
    changes: Changes,
    bytes: usize,
}

impl PairChanges {
    /// Looks at the next revision, after the comparer has.
    pub(super) fn see(&mut self, revision: Revision, comparer: &PairComparer<'_>, seen: &[Option<&Stored>]) {
        let [one, other] = comparer.of(seen);
        if let (Some(one), Some(other)) = (one, other)
            && same(one, other)
        {
            return;
        }
        let diverged = comparer.divergence().is_some();
        let [first, second] = comparer.extents();
        let sides = [(&mut self.first, one, other, second), (&mut self.second, other, one, first)];
        for (listing, has, lacks, lacking) in sides {
            // What the other may have had and has compacted away is not missing in it.
            let is_compacted = lacks.is_none() && revision.main <= lacking.compact_revision;
            if let Some(has) = has
                && (diverged || revision.main > lacking.revision)
                && !is_compacted
            {
                listing.add(revision.main, Change::of(has));
            }
        }
    }

    /// What the second lacks, and what it has alone.
    pub(super) fn finish(self, comparer: &PairComparer<'_>) -> (Changes, Changes) {
        let [first, second] = comparer.extents();
        // Up to where they are the same.
        let shared = match comparer.divergence() {
            None => Some(second.revision),
            Some(divergence) => divergence.exact.then(|| divergence.revision - 1),
        };
        let complete = |compacted: i64| shared.is_some_and(|shared| compacted <= shared);
        let lacks = Changes { complete: complete(first.compact_revision), ..self.first.changes };
        let alone = Changes { complete: complete(second.compact_revision), ..self.second.changes };
        (lacks, alone)
    }
}

impl Listing {
    fn add(&mut self, revision: i64, Change { key, deleted }: Change) {
        let Changes { revisions, keys, further_revisions, .. } = &mut self.changes;
        *revisions += 1;
        if let Some(known) = keys.get_mut(&key) {
            *known = KeyChange { changes: known.changes + 1, revision, deleted };
        } else if keys.len() < MAX_KEYS && self.bytes + key.len() <= MAX_BYTES {
            self.bytes += key.len();
            keys.insert(key, KeyChange { changes: 1, revision, deleted });
        } else {
            *further_revisions += 1;
        }
    }
}
