//! HashKV (`server/storage/mvcc/hash.go`): crc32c over the revisions up to a revision, equal to what a
//! server answers for the same revision and compact revision.

use crate::error::{Error, Result};
use crate::mvcc::KeepSet;
use crate::progress::{NoProgress, Progress};
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

    let pending = state.pending_compaction() == Some(compact_revision);
    let hashed = Hashed::new(source, &keep, compact_revision, pending)?;
    progress.start("hash", Some(keep.bytes));
    let mut hasher = Hasher::new();
    let mut ordinal = 0;
    source.revisions(&mut |key, value| {
        progress.advance(value.len() as u64);
        if key.revision.main <= hash_revision && hashed.contains(ordinal, key) {
            hasher.add(key, value);
        }
        ordinal += 1;
        Ok(())
    })?;
    Ok(HashKv { hash: hasher.finish(), hash_revision, compact_revision })
}

/// Which revisions a server whose store is compacted at a revision hashes, of those not above the one asked for.
pub(crate) struct Hashed<'a> {
    keep: &'a KeepSet,
    compact_revision: i64,
    /// What the compaction will leave once it is done, where that matters.
    survivors: Option<KeepSet>,
}

impl<'a> Hashed<'a> {
    /// `keep` is what a compaction at the revision asked for would leave; `pending`, whether a server would first
    /// finish the one that the store is compacted by.
    pub(crate) fn new(
        source: &dyn Source,
        keep: &'a KeepSet,
        compact_revision: i64,
        pending: bool,
    ) -> Result<Self> {
        // The server hashes all that is there when nothing is alive at all (`len(h.keep) > 0`).
        let survivors = (pending && keep.kept == 0)
            .then(|| KeepSet::at(source, compact_revision, &NoProgress))
            .transpose()?;
        Ok(Self { keep, compact_revision, survivors })
    }

    pub(crate) fn contains(&self, ordinal: u64, key: BucketKey) -> bool {
        let main = key.revision.main;
        if main > self.compact_revision {
            return true;
        }
        let survives = match &self.survivors {
            Some(survivors) => survivors.contains(ordinal),
            None => self.keep.contains(ordinal) || self.keep.kept == 0,
        };
        // Versions differ in whether a compaction at a tombstone keeps it, so it never counts.
        survives && !(key.tombstone && main == self.compact_revision)
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
