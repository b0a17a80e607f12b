//! HashKV (`server/storage/mvcc/hash.go`): crc32c over the revisions up to a revision, equal to what a
//! server answers for the same revision and compact revision. Releases differ in two rules, which came together:
//! [`KeepRule`], and whether a tombstone at the compact revision counts.

use crate::error::{Error, Result};
use crate::key_value::BUMP_MARK;
use crate::mvcc::{KeepRule, KeepSet};
use crate::progress::{NoProgress, Progress};
use crate::revision::BucketKey;
use crate::schema::Bucket;
use crate::source::Source;
use crate::state::State;

/// A HashKV with its revisions; fields are named as in etcdutl.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashKv {
    /// The hash, a CRC-32C.
    pub hash: u32,
    /// The hash that releases before 3.4.34 and 3.5.16 compute, if it differs. The patch release is not stored on disk.
    pub older_hash: Option<u32>,
    /// The revision up to which it is computed.
    pub hash_revision: i64,
    /// The compact revision it is computed with; -1 if the store was never compacted.
    pub compact_revision: i64,
}

/// Computes HashKV at `revision` (default: the current one) as a server with `compact_revision` (default:
/// the source's) would.
///
/// # Errors
/// [`Error::Compacted`] or [`Error::Future`] for a revision the server would refuse; damage.
pub fn hash_kv(
    source: &dyn Source,
    revision: Option<i64>,
    compact_revision: Option<i64>,
    progress: &dyn Progress,
) -> Result<HashKv> {
    let state = State::read(source)?;
    let keep = KeepSet::at(source, revision.unwrap_or(i64::MAX), progress)?;
    let current = state.current_revision(keep.newest);
    let hash_revision = revision.unwrap_or(current);
    let stored = state.compact_revision();
    if hash_revision > current {
        return Err(Error::Future { revision: hash_revision, current });
    }
    if let Some(oldest) = stored.filter(|oldest| hash_revision < *oldest) {
        return Err(Error::Compacted { revision: hash_revision, oldest });
    }
    // What an earlier compaction removed is gone: a hash from before it cannot be computed any more.
    if let (Some(revision), Some(oldest)) = (compact_revision, stored)
        && revision < oldest
    {
        return Err(Error::Compacted { revision, oldest });
    }
    let compact_revision = compact_revision.or(stored).unwrap_or(-1);
    if compact_revision > hash_revision {
        return Err(Error::Invalid(format!(
            "compact revision {compact_revision} is above the revision to hash up to, {hash_revision}"
        )));
    }

    let pending = state.pending_compaction() == Some(compact_revision);
    let hashed = Hashed::new(&keep, hash_revision, compact_revision);
    let hashed = if pending { hashed.after_compaction(source)? } else { hashed };
    progress.start("hash", Some(keep.bytes));
    let mut hasher = Hasher::new(hashed);
    source.revisions(&mut |key, value| {
        progress.advance(value.len() as u64);
        hasher.add(key, value);
        Ok(())
    })?;
    Ok(hasher.finish())
}

/// Which revisions a server whose store is compacted at a revision hashes.
pub(crate) struct Hashed<'a> {
    /// What a compaction at `revision` would leave.
    keep: &'a KeepSet,
    /// The revision up to which is hashed.
    revision: i64,
    /// -1 when the store was never compacted.
    compact_revision: i64,
    /// What the compaction that is under way will leave, where that matters.
    left: Option<KeepSet>,
    /// Whether there is a bump mark, which survives, beside what is in `keep`.
    has_bump_mark: bool,
}

impl<'a> Hashed<'a> {
    /// Of a store whose compaction is done.
    pub(crate) fn new(keep: &'a KeepSet, revision: i64, compact_revision: i64) -> Self {
        Self { keep, revision, compact_revision, left: None, has_bump_mark: false }
    }

    /// With the mark of a bump to the revision that is hashed.
    pub(crate) fn with_bump_mark(self) -> Self {
        Self { has_bump_mark: true, ..self }
    }

    /// Of a store whose compaction is still to be done, which a server does first.
    fn after_compaction(self, source: &dyn Source) -> Result<Self> {
        // Else it leaves all that is in `keep`.
        let matters = self.keep.keeps_nothing(KeepRule::FirstLife, self.revision) || self.keep.recreates();
        let left = matters.then(|| KeepSet::at(source, self.compact_revision, &NoProgress)).transpose()?;
        Ok(Self { left, ..self })
    }

    fn contains(&self, rule: KeepRule, ordinal: u64, key: BucketKey) -> bool {
        let main = key.revision.main;
        if main > self.compact_revision {
            return main <= self.revision;
        }
        // A compaction at a tombstone's own revision keeps it since the rule is `FirstLife`, which for that does not
        // count it.
        if rule == KeepRule::FirstLife && key.tombstone && main == self.compact_revision {
            return false;
        }
        let left = self.left.as_ref().is_none_or(|left| left.keeps(rule, self.compact_revision, ordinal));
        // The server hashes all that is there when nothing is alive at all (`len(h.keep) > 0`).
        let keeps_nothing = !self.has_bump_mark && self.keep.keeps_nothing(rule, self.revision);
        left && (self.keep.keeps(rule, self.revision, ordinal) || keeps_nothing)
    }
}

/// The running crc32c, under both rules.
pub(crate) struct Hasher<'a> {
    hashed: Hashed<'a>,
    /// The place of the next revision.
    ordinal: u64,
    hash: u32,
    /// From the first revision on that the older rule has otherwise.
    older_hash: Option<u32>,
}

impl<'a> Hasher<'a> {
    pub(crate) fn new(hashed: Hashed<'a>) -> Self {
        let hash = crc32c::crc32c(Bucket::Key.name().as_bytes());
        Self { hashed, ordinal: 0, hash, older_hash: None }
    }

    /// Passes over the next revision of the source.
    pub(crate) fn skip(&mut self) {
        self.ordinal += 1;
    }

    /// Takes in the next revision of the source.
    pub(crate) fn add(&mut self, key: BucketKey, value: &[u8]) {
        let [newer, older] =
            [KeepRule::FirstLife, KeepRule::Alive].map(|rule| self.hashed.contains(rule, self.ordinal, key));
        self.skip();
        if newer != older {
            self.older_hash.get_or_insert(self.hash);
        }
        if newer {
            self.hash = append(self.hash, key, value);
        }
        if older {
            self.older_hash = self.older_hash.map(|hash| append(hash, key, value));
        }
    }

    /// Takes in the mark of a bump, which the source does not have.
    pub(crate) fn add_bump_mark(&mut self, key: BucketKey) {
        self.hash = append(self.hash, key, BUMP_MARK);
        self.older_hash = self.older_hash.map(|hash| append(hash, key, BUMP_MARK));
    }

    pub(crate) fn finish(self) -> HashKv {
        let Self { hash, hashed: Hashed { revision, compact_revision, .. }, .. } = self;
        let older_hash = self.older_hash.filter(|older| *older != hash);
        HashKv { hash, older_hash, hash_revision: revision, compact_revision }
    }
}

fn append(hash: u32, key: BucketKey, value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(hash, &key.to_bytes()), value)
}
