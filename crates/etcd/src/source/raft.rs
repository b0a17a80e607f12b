//! How far a member's raft log and db go: members of a broken cluster are compared by this.

use std::path::Path;

use crate::apply;
use crate::error::{Error, Result};
use crate::key_list::KeyList;
use crate::schema::Bucket;
use crate::source::{Source, SourceFile, member_dir};
use crate::state::State;
use crate::wal::{Log, LogStatus, WalDir};

/// Attempts to read a db that a running etcd writes to.
const ATTEMPTS: usize = 3;

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

/// Reads which member a data dir belongs to, and how far its db and log go; `wal_dir` is etcd's `--wal-dir`. Works while
/// etcd runs: a log is append-only, and an entry that is being written is not included.
///
/// # Errors
/// There is no log, or it is damaged.
pub fn log_position(data_dir: &Path, wal_dir: Option<&Path>) -> Result<LogPosition> {
    let member = member_dir(data_dir)?;
    let inside = member.join("wal");
    // Before the log: if etcd is running, every entry in the db now is in the log when that is read.
    let applied = applied(&member.join("snap/db"));
    let position = position(&WalDir::open(wal_dir.unwrap_or(&inside))?, Log::scan_valid)?;
    Ok(LogPosition { applied, ..position })
}

/// The last entry applied to a db that a running etcd may be writing to: reads again if the file changed meanwhile.
pub(super) fn applied(db: &Path) -> Option<EntryId> {
    let read = || {
        let mut state = State::default();
        SourceFile::open(db)?.metadata_bucket(Bucket::Meta, &mut |key, value| {
            // What does not decode says nothing.
            let _ = state.take(Bucket::Meta, key, value);
            Ok(())
        })?;
        Ok::<_, Error>(state)
    };
    let state = (0..ATTEMPTS).find_map(|_| read().ok())?;
    Some(EntryId { term: state.term.unwrap_or(0), index: state.consistent_index? })
}

/// Like [`log_position`], for a log that may be damaged: reads past the damage as far as possible.
///
/// # Errors
/// There is no log.
pub fn log_position_past_damage(data_dir: &Path) -> Result<LogPosition> {
    position(&WalDir::open(&member_dir(data_dir)?.join("wal"))?, Log::scan)
}

fn position(wal: &WalDir, scan: fn(&WalDir, u64) -> Result<Log>) -> Result<LogPosition> {
    let mut log = scan(wal, u64::MAX)?.status;
    if log.last_term == 0 {
        // The last segment has just begun: the one before has the last entry.
        log = scan(wal, log.last_index)?.status;
    }
    let first_index = wal.index_before(0).saturating_add(1);
    Ok(LogPosition { log, first_index, applied: None })
}

/// The keys that log entries after an index write or delete (of ranges, the start), as far as they can be read.
///
/// # Errors
/// There is no log; a failed read.
pub fn keys_in_log(data_dir: &Path, after: u64) -> Result<KeyList> {
    let wal = WalDir::open(&member_dir(data_dir)?.join("wal"))?;
    apply::keys_named(&wal, after.saturating_add(1), u64::MAX)
}
