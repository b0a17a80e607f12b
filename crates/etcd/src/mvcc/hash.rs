//! HashKV (`server/storage/mvcc/hash.go`): crc32c over the revisions up to a revision, equal to what a
//! server answers for the same revision and compact revision.

use crate::error::{Error, Result};
use crate::mvcc::KeepSet;
use crate::progress::Progress;
use crate::revision::BucketKey;
use crate::schema::Bucket;
use crate::source::Source;
use crate::state::State;

/// A HashKV and what it stands for; named as etcdutl does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// crc32c.
    pub hash: u32,
    /// The revision up to which was hashed.
    pub hash_revision: i64,
    /// The compact revision it was hashed with; -1 when the store was never compacted.
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

    progress.start("hash", Some(keep.bytes));
    let mut hasher = Hasher::new();
    let mut ordinal = 0;
    source.revisions(&mut |key, value| {
        progress.advance(value.len() as u64);
        if key.revision.main <= hash_revision && keep.is_hashed(ordinal, key, compact_revision) {
            hasher.add(key, value);
        }
        ordinal += 1;
        Ok(())
    })?;
    Ok(HashKv { hash: hasher.finish(), hash_revision, compact_revision })
}

impl KeepSet {
    /// Whether a server whose store is compacted at `compact_revision` hashes a revision, if it is not
    /// above the one asked for.
    pub(crate) fn is_hashed(&self, ordinal: u64, key: BucketKey, compact_revision: i64) -> bool {
        let main = key.revision.main;
        // The server hashes everything when nothing at all survives (`len(h.keep) > 0`).
        let compacted = main <= compact_revision && !self.contains(ordinal) && self.kept > 0;
        // Versions differ in whether a compaction at a tombstone keeps it, so it never counts.
        let skipped = key.tombstone && main == compact_revision;
        !compacted && !skipped
    }
}

/// The running crc32c.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(u32);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(crc32c::crc32c(Bucket::Key.name().as_bytes()))
    }

    pub(crate) fn add(&mut self, key: BucketKey, value: &[u8]) {
        self.add_bytes(&key.to_bytes());
        self.add_bytes(value);
    }

    pub(crate) fn finish(&self) -> u32 {
        self.0
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }
}
