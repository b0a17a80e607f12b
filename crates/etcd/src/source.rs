//! Sources of etcd's state: a snapshot file, a db file, or a member's data dir with its write-ahead log. All give the
//! same thing: the MVCC history of a keyspace, and its metadata buckets.

mod base;
pub(crate) mod committed;
pub(crate) mod data_dir;
pub(crate) mod digest;
mod file;
mod locate;
mod majority;
mod newer_data;
mod overlay;
mod raft;
pub(crate) mod v2_keys;
mod voters;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::progress::Progress;
use crate::revision::BucketKey;
use crate::schema::Bucket;

pub use base::{Base, Identity};
pub use committed::{Replay, Uncommitted, UncommittedChange};
pub use data_dir::{Bases, SourceDir, is_in_use};
pub use file::SourceFile;
pub use locate::is_data_dir;
pub(crate) use locate::{Located, locate, member_dir};
pub use majority::{Majority, majorities};
pub use newer_data::{ContentSummary, LogExtent, NewerData, NewerLog, newer_data};
pub(crate) use overlay::Overlay;
pub use raft::{
    CommitBasis, EntryId, LogPosition, RaftPosition, keys_in_log, log_position, log_position_past_damage,
};

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

/// Path, kind and size of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Path of the file or data dir.
    pub path: PathBuf,
    /// `snapshot` (carries a digest), `db` or `data-dir`.
    pub kind: &'static str,
    /// Bytes of the file; of a data dir, those of its db.
    pub size: u64,
    /// Bytes of it in use, for progress.
    pub size_in_use: u64,
    /// What a data dir's log was replayed on, if not its own db.
    pub base: Option<Base>,
}

impl Origin {
    /// What a data dir is read as if its own db is not used: `nightly.db at raft 25 + m1.etcd's log to 66`.
    pub fn combination(&self, raft: RaftPosition) -> Option<String> {
        let base = self.base.as_ref()?;
        let dir = self.path.file_name().map_or_else(|| self.path.clone(), PathBuf::from);
        let log = format!("{}'s log to {}", dir.display(), raft.replayed_to);
        Some(match base {
            Base::Nothing => format!("{log}, from its first entry on"),
            base => format!("{base} at raft {} + {log}", raft.consistent_index),
        })
    }
}

/// Result of verifying the digest of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The bytes match this SHA-256, in hexadecimal.
    Sha256(String),
    /// The source has no digest.
    None,
}

/// Opens the source at a path: a snapshot from `etcdctl snapshot save` or `lifeboat save`, a db file, or a member's
/// data dir.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotASource`] for anything else; [`Error::Damaged`] for what cannot be read at all;
/// [`Error::Refused`] for a data dir that an etcd is running in.
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    open_with(path, Replay::default(), None)
}

/// Like [`open`], for snapshot and db files only, compressed or archived ones included.
///
/// # Errors
/// As [`open`]; [`Error::Invalid`] for a data dir.
pub fn open_file(path: &Path) -> Result<SourceFile> {
    match locate(path)? {
        Located::File(file) => SourceFile::open(&file),
        Located::DataDir => Err(Error::Invalid(format!("{} is a data dir, not a file", path.display()))),
    }
}

/// Like [`open`], with how far to replay the log of a data dir, and the WAL dir if etcd ran with `--wal-dir`.
///
/// # Errors
/// As [`open`]; [`Error::Invalid`] when a replay or WAL dir is given for a file.
pub fn open_with(path: &Path, replay: Replay, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
    open_on(path, replay, wal_dir, Bases::Own)
}

/// Like [`open_with`], with the bases that the log of a data dir may be replayed on.
///
/// # Errors
/// As [`open_with`].
pub fn open_on(
    path: &Path,
    replay: Replay,
    wal_dir: Option<&Path>,
    bases: Bases<'_>,
) -> Result<Box<dyn Source>> {
    let file = match locate(path)? {
        Located::DataDir => return Ok(Box::new(SourceDir::open(path, replay, wal_dir, bases)?)),
        Located::File(file) => file,
    };
    if wal_dir.is_some() || replay != Replay::Committed || matches!(bases, Bases::Only(_)) {
        return Err(Error::Invalid(format!("{} is not a data dir (no WAL)", path.display())));
    }
    Ok(Box::new(SourceFile::open(&file)?))
}
