//! Errors. Damage that a check lists is a [`Finding`](crate::Finding) instead.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::finding::FindingKind;

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of this crate's functions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation; the error names the path.
    #[error("file operation")]
    Io(#[from] io::Error),
    /// As [`Error::Io`], of a file that the error does not name.
    #[error("read or write {}", path.display())]
    File {
        /// The file, or its directory where it has no name.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The source was written to while it was read.
    #[error(
        "the source changed while it was read: stop the etcd that writes to it, or save a snapshot of it"
    )]
    Changed,
    /// Some members are in place and others are not.
    #[error(
        "partly restored: {done:?} in place, {failed:?} not; move them aside and restore again, or restore \
         the others one by one with the same initial cluster token: {token}"
    )]
    PartlyRestored {
        /// Data dirs that are finished.
        done: Vec<PathBuf>,
        /// The data dir at which it stopped.
        failed: PathBuf,
        /// The token of the new cluster.
        token: String,
        /// Why it stopped.
        source: Box<Error>,
    },
    /// A read or write of the bbolt file failed.
    #[error("read or write the database")]
    Bbolt(#[source] lifeboat_bbolt::Error),
    /// The bytes are damaged.
    #[error("damaged: {0}")]
    Damaged(FindingKind),
    /// The log of an undamaged data dir cannot be replayed, and its db alone would be outdated.
    #[error("refused: {0}; {remedy}", remedy = .0.remedy())]
    Unreplayable(FindingKind),
    /// Nothing is at the path.
    #[error(
        "no such file or directory: {}; name a snapshot file, an etcd db file or a member's data dir",
        path.display()
    )]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path is not a snapshot, db or data dir.
    #[error("{} is {found}; {remedy}", path.display())]
    NotASource {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: Cow<'static, str>,
        /// What to do.
        remedy: Cow<'static, str>,
    },
    /// A path where a file is expected names something else, which is not opened.
    #[error("{} is {found}, not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A restore of it would make a cluster without keys.
    #[error("refused: {} holds no keys at the requested revision", path.display())]
    Empty {
        /// The source.
        path: PathBuf,
    },
    /// Stopped before anything was written, because going on could destroy something or give a wrong answer.
    #[error("refused: {0}")]
    Refused(String),
    /// What the caller asked for contradicts itself or the source.
    #[error("{0}")]
    Invalid(String),
    /// The revision asked for was compacted away.
    #[error("revision {revision} has been compacted; the oldest readable revision is {oldest}")]
    Compacted {
        /// The revision asked for.
        revision: i64,
        /// The source's compact revision.
        oldest: i64,
    },
    /// The revision asked for lies above the source's.
    #[error("revision {revision} is above the source's current revision {current}")]
    Future {
        /// The revision asked for.
        revision: i64,
        /// The source's current revision.
        current: i64,
    },
    /// A restore was asked to start the new cluster above the highest revision that etcd can count.
    #[error(
        "current revision {current} cannot be bumped that far: it would exceed the highest revision ({})",
        i64::MAX
    )]
    BumpOverflow {
        /// The source's current revision.
        current: i64,
    },
    /// No supported etcd version is known to read the source: the caller must choose the target version.
    #[error(
        "the source was written by an unsupported version of etcd ({stored}); specify the version that will run it"
    )]
    UnknownVersion {
        /// The storage or cluster version in the source.
        stored: String,
    },
    /// Reading back what was written gives something else.
    #[error("verification failed: {what}: expected {expected}, found {found}")]
    ReadBack {
        /// What was compared.
        what: &'static str,
        /// What was meant.
        expected: String,
        /// What the file says.
        found: String,
    },
}

impl Error {
    pub(crate) fn not_a_source(
        path: &Path,
        found: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::NotASource { path: path.into(), found: found.into(), remedy: remedy.into() }
    }

    /// A failed read or write of a file that does not name itself.
    /// A value that has no form in JSON, which those of etcd have.
    pub(crate) fn encoding(error: &serde_json::Error) -> Self {
        Self::Invalid(format!("encode as JSON: {error}"))
    }

    pub(crate) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.into(), source: error }
    }
}

impl From<lifeboat_bbolt::Error> for Error {
    fn from(error: lifeboat_bbolt::Error) -> Self {
        match error {
            lifeboat_bbolt::Error::Changed => Self::Changed,
            lifeboat_bbolt::Error::Damaged(damage) => Self::Damaged(FindingKind::Bbolt(damage)),
            other => Self::Bbolt(other),
        }
    }
}

impl From<FindingKind> for Error {
    fn from(kind: FindingKind) -> Self {
        match kind {
            FindingKind::UnsupportedRequest { .. } | FindingKind::ReplayTooLarge => Self::Unreplayable(kind),
            kind => Self::Damaged(kind),
        }
    }
}
