//! Where a state comes from: its file or data dir, and what a log was replayed on.

use std::fmt;
use std::path::{Path, PathBuf};

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

/// Result of verifying the digest of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The bytes match this SHA-256, in hexadecimal.
    Sha256(String),
    /// The source has no digest.
    None,
}

/// The base that a log is replayed on, if not the data dir's own db.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// This file or data dir.
    At(PathBuf),
    /// The empty store that the cluster began with.
    Nothing,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path) => {
                path.file_name().map_or(path.display(), |name| Path::new(name).display()).fmt(f)
            }
            Self::Nothing => f.write_str("an empty store"),
        }
    }
}

/// Evidence that a base and a log belong to the same history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Whether the cluster ids are known to match. A snapshot does not store it, but it follows from the initial members.
    pub cluster_id: bool,
    /// Whether the last entry of the base has the same term in the log.
    pub term: bool,
    /// Earlier writes that are the same in both.
    pub writes: u64,
    /// Those of them that compare the revision of a key, and so depend on earlier state.
    pub conditional: u64,
    /// Whether the log has all entries since its cluster started with an empty store; `None` if its start is gone.
    pub from_start: Option<bool>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster_id, term, writes, conditional, .. } = *self;
        f.write_str("the log's member is in the base")?;
        f.write_str(if cluster_id {
            "; the cluster id is the same"
        } else {
            "; the cluster id could not be compared"
        })?;
        f.write_str(if term {
            "; its last entry has the same term in both"
        } else {
            "; the term of its last entry could not be compared"
        })?;
        match writes {
            0 => f.write_str("; no earlier write could be compared"),
            writes => write!(f, "; {writes} earlier writes are the same in both"),
        }?;
        if self.is_weak() && conditional == 0 && writes > 0 {
            f.write_str(", and none of them compares a revision")?;
        }
        Ok(())
    }
}

impl Identity {
    /// Whether base and log may belong to different histories. Clusters that are restored twice with the same token and URLs have the
    /// same ids, begin with the same terms, and may begin with the same writes: a write that compares what was there before
    /// it tells them apart. A long log has such writes.
    pub fn is_weak(&self) -> bool {
        match self.from_start {
            Some(true) => !self.term && self.writes == 0,
            // Of a restored cluster.
            Some(false) => self.conditional == 0,
            None => self.writes == 0,
        }
    }
}

/// Entries at the end of a log that are not known to be committed, and are not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncommitted {
    /// Raft index of the first.
    pub first: u64,
    /// Raft index of the last.
    pub last: u64,
    /// Changes they would make, in order; at most 1000.
    pub changes: Vec<UncommittedChange>,
    /// Number of changes beyond those listed.
    pub further: u64,
    /// Whether the changes are known; false if the entries cannot be replayed.
    pub is_known: bool,
}

/// A change that an uncommitted entry would make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncommittedChange {
    /// Main revision it would get.
    pub revision: i64,
    /// The key.
    pub key: Vec<u8>,
    /// Whether the key would be deleted.
    pub deleted: bool,
}
