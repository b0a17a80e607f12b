//! A state source is a value: a snapshot file, a db file, a member's data dir, and later a live cluster are all
//! sources of one thing, the MVCC history of an etcd keyspace and its metadata buckets.

mod base;
mod beside;
pub(crate) mod committed;
pub(crate) mod data_dir;
pub(crate) mod digest;
mod file;
mod locate;
mod majority;
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
pub use beside::{Held, Lacking, LogBeside, LogEnd, lacking};
pub use committed::{Replay, Uncommitted, UncommittedChange};
pub use data_dir::{Bases, SourceDir};
pub use file::SourceFile;
pub use locate::is_data_dir;
pub(crate) use locate::{Located, locate, member_dir};
pub use majority::{Majority, majorities};
pub(crate) use overlay::Overlay;
pub use raft::{
    CommitBasis, EntryId, LogPosition, RaftPosition, keys_in_log, log_position, log_position_past_damage,
};

/// What a visitor of revisions is given: the key of the `key` bucket, and the encoded
/// [`KeyValue`](crate::KeyValue).
pub type VisitRevision<'a> = &'a mut dyn FnMut(BucketKey, &[u8]) -> Result<()>;

/// What a visitor of a metadata bucket is given: key and value.
pub type VisitPair<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// What a visitor of everything is given: bucket, key and value.
pub type VisitAll<'a> = &'a mut dyn FnMut(Bucket, &[u8], &[u8]);

/// The history of one etcd keyspace, wherever its bytes are.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Where it comes from, for messages.
    fn origin(&self) -> Origin;

    /// How far its member had come in raft's log; `None` when there is no log.
    fn raft(&self) -> Option<RaftPosition> {
        None
    }

    /// What is worth knowing of the log that it counts, damage aside.
    fn notes(&self) -> &[FindingKind] {
        &[]
    }

    /// Why it cannot be read, where that is known before it is read.
    fn unusable(&self) -> Option<&FindingKind> {
        None
    }

    /// Calls `visit` with every revision, ascending. Every call yields the same revisions.
    ///
    /// # Errors
    /// Damage on the way, or what `visit` returned, which also ends the walk.
    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()>;

    /// Calls `visit` with every key and value of a bucket other than `key`, in key order; a bucket that is
    /// not there is empty.
    ///
    /// # Errors
    /// Damage on the way, or what `visit` returned, which also ends the walk.
    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()>;

    /// Verifies the bytes against the digest they carry, if they carry one: a whole pass over them.
    ///
    /// # Errors
    /// [`FindingKind::DigestMismatch`](crate::FindingKind) as damage, or a failed read.
    fn verify_integrity(&self, progress: &dyn Progress) -> Result<Integrity>;

    /// Fails on what etcd would not have written: to be asked where no digest speaks for the bytes.
    ///
    /// # Errors
    /// [`FindingKind`] as damage.
    fn ensure_plausible(&self) -> Result<()>;

    /// Reads everything once, reports what is wrong with the container of the bytes to `found`, and shows
    /// every key and value that could be read to `visit`.
    ///
    /// # Errors
    /// A read that the operating system refused. Damage is reported, not returned.
    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()>;
}

/// Where a source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The path.
    pub path: PathBuf,
    /// `snapshot` (carries a digest), `db` or `data-dir`.
    pub kind: &'static str,
    /// Bytes of the file; of a data dir, those of its db.
    pub size: u64,
    /// Bytes of it in use, when the file can tell cheaply.
    pub size_in_use: u64,
    /// What a data dir's log was read on top of, where that is not its own db.
    pub base: Option<Base>,
}

/// How far the bytes of a source can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// They match the digest they carry, given in hexadecimal.
    Sha256(String),
    /// They carry none.
    None,
}

/// Opens what a path names: a snapshot from `etcdctl snapshot save` or `lifeboat save`, a db file, or a member's
/// data dir.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotASource`] for anything else; [`Error::Damaged`] for what cannot be read at all;
/// [`Error::Refused`] for a data dir that an etcd is running in.
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    open_with(path, Replay::default(), None)
}

/// Opens what a path names if it is a snapshot or a db file, packed or not, as [`open`] does.
///
/// # Errors
/// As [`open`]; [`Error::Invalid`] for a data dir.
pub fn open_file(path: &Path) -> Result<SourceFile> {
    match locate(path)? {
        Located::File(file) => SourceFile::open(&file),
        Located::DataDir => Err(Error::Invalid(format!("{} is a data dir, not a file", path.display()))),
    }
}

/// Like [`open`], and says how far the log of a data dir counts, and where it is when etcd ran with `--wal-dir`.
///
/// # Errors
/// As [`open`]; [`Error::Invalid`] for the log of what has none.
pub fn open_with(path: &Path, replay: Replay, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
    open_on(path, replay, wal_dir, Bases::Own)
}

/// Like [`open_with`], and says what the log of a data dir may be read on top of.
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
