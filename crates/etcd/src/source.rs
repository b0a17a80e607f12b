//! Sources of etcd's state: a snapshot file, a db file, or a member's data dir with its write-ahead log. All give the
//! same thing: the MVCC history of a keyspace, and its metadata buckets.

mod position;

use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::origin::{Integrity, Origin};
use crate::progress::Progress;
use crate::revision::BucketKey;
use crate::schema::Bucket;

pub use position::{CommitBasis, EntryId, LogPosition, RaftPosition};

/// Callback for revisions: the key in the `key` bucket, and the encoded [`KeyValue`](crate::KeyValue).
pub type VisitRevision<'a> = &'a mut dyn FnMut(BucketKey, &[u8]) -> Result<()>;

/// Callback for the keys and values of a metadata bucket.
pub type VisitPair<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Callback for the keys and values of all buckets.
pub type VisitAll<'a> = &'a mut dyn FnMut(Bucket, &[u8], &[u8]);

/// The history of one etcd keyspace and its metadata buckets.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Path, kind and size, for messages.
    fn origin(&self) -> Origin;

    /// How far the log goes and how far it is included; `None` for a source without a log.
    fn raft(&self) -> Option<RaftPosition> {
        None
    }

    /// Notes and warnings about the log that is included; damage is reported by [`Source::check_container`].
    fn notes(&self) -> &[FindingKind] {
        &[]
    }

    /// Why reading will fail, if that is known already.
    fn unusable(&self) -> Option<&FindingKind> {
        None
    }

    /// Calls `visit` with every revision, in ascending order. Every call yields the same revisions.
    ///
    /// # Errors
    /// Damage on the way, or what `visit` returned, which also ends the walk.
    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()>;

    /// Calls `visit` with every key and value of a bucket other than `key`, in key order. A missing bucket is empty.
    ///
    /// # Errors
    /// Damage on the way, or what `visit` returned, which also ends the walk.
    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()>;

    /// Verifies the SHA-256 at the end of the file, if there is one: a full pass over the file.
    ///
    /// # Errors
    /// [`FindingKind::DigestMismatch`](crate::FindingKind) as damage, or a failed read.
    fn verify_integrity(&self, progress: &dyn Progress) -> Result<Integrity>;

    /// Fails on content that etcd does not write. Meant for sources without a digest.
    ///
    /// # Errors
    /// [`FindingKind`] as damage.
    fn ensure_plausible(&self) -> Result<()>;

    /// Reads everything once, reports damage of the file or log to `found`, and passes every readable key and value to
    /// `visit`.
    ///
    /// # Errors
    /// A read that the operating system refused. Damage is reported, not returned.
    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()>;
}
