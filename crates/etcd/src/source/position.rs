//! How far a member's raft log and db go: members of a broken cluster are compared by this.

use std::path::PathBuf;

use crate::origin::{Base, Origin};
use crate::wal::{Log, LogStatus};

/// Term and index of an entry in raft's log. The greater one is newer (`raft/log.go`, `isUpToDate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EntryId {
    /// Raft term in which it was proposed.
    pub term: u64,
    /// Raft index.
    pub index: u64,
}

impl LogStatus {
    /// The last entry in the log.
    pub fn last(&self) -> EntryId {
        EntryId { term: self.last_term, index: self.last_index }
    }
}

/// How far a data dir's log and db go, and which entries are included.
///
/// Raft elects the member with the newest last entry, since every entry that was acknowledged to a client is in the
/// logs of a majority (`raft/log.go`, `isUpToDate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftPosition {
    /// The log.
    pub log: LogStatus,
    /// Raft index of the last entry applied to the db.
    pub consistent_index: u64,
    /// Raft index of the last entry that is included.
    pub replayed_to: u64,
    /// How the last included entry was decided.
    pub basis: CommitBasis,
}

/// How the committed entries of a log were determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CommitBasis {
    /// By the commit index in the member's last hard state.
    #[default]
    CommitIndex,
    /// The member is the only voter: every entry in its log is committed.
    OnlyVoter,
    /// By the logs of a majority of the voters.
    Majority,
    /// Not determined: the whole log is included on request.
    WholeLog,
}

impl CommitBasis {
    /// Stable name, for JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitIndex => "commit-index",
            Self::OnlyVoter => "only-voter",
            Self::Majority => "majority",
            Self::WholeLog => "whole-log",
        }
    }
}

impl RaftPosition {
    pub(crate) fn of(log: &Log, consistent_index: u64, replayed_to: u64, basis: CommitBasis) -> Self {
        Self { log: log.status, consistent_index, replayed_to, basis }
    }

    /// Entries at the end of the log that are not known to be committed and are not included. 0 if decided by the logs of a
    /// majority: the entries not included were never committed.
    pub fn uncommitted_entries(&self) -> u64 {
        match self.basis {
            CommitBasis::Majority => 0,
            _ => self.log.last_index.saturating_sub(self.replayed_to),
        }
    }
}

/// How far a member's log and db go, without a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// The log.
    pub log: LogStatus,
    /// Raft index of the first entry in its segments: it can be replayed on any db that has all entries before that.
    pub first_index: u64,
    /// Last entry applied to the db, with term 0 if the db does not store it (before 3.5); `None` if the db cannot be read.
    /// A truncated log ends before it, and etcd still starts on the two.
    pub applied: Option<EntryId>,
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
