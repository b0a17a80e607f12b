//! Decides which entries of a log are committed, as far as that is known.
//!
//! The commit index on disk lags: an entry is committed and acknowledged to clients before the commit index for it reaches
//! the disk. So it is a lower bound, and the entries above it are decided by other evidence
//! ([decision 7](../../../docs/decisions/0007-what-is-committed.md)):
//!
//! - The only voter of a cluster commits what it appends: its whole log is included, as when etcd starts on it.
//! - With the logs of a majority of the voters, the most up-to-date one of them holds every committed entry.
//! - Otherwise, entries up to the commit index are included, and those above it are listed.

use std::path::Path;

use super::voters::voters;
use crate::apply::Overlay;
use crate::error::Result;
use crate::key_value::KeyValue;
use crate::origin::{Uncommitted, UncommittedChange};
use crate::source::{CommitBasis, RaftPosition};
use crate::wal::{Log, WalDir};

/// Limit of changes listed for uncommitted entries.
const MAX_CHANGES: usize = 1000;

/// How far to replay the log of a data dir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replay {
    /// As far as entries are known to be committed: the whole log of an only voter, otherwise up to the commit index.
    #[default]
    Committed,
    /// Up to the commit index in the last hard state, like `etcd --force-new-cluster`
    /// (`server/etcdserver/bootstrap.go`, `bootstrapWALFromSnapshot`).
    CommitIndex,
    /// Up to this entry, which the logs of a majority of the voters show to be committed.
    UpTo(u64),
    /// To the end of the log. A member records that an entry is committed only after it may have been acknowledged to
    /// clients, so the last member to run may hold acknowledged entries above its commit index; it may also hold some that
    /// never were.
    WholeLog,
}

/// Up to where a log is included, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) up_to: u64,
    pub(crate) basis: CommitBasis,
}

/// Decides up to where to replay a log on a db at `consistent_index`.
///
/// # Errors
/// A failed read; a record that does not decode.
pub(crate) fn counted(
    replay: Replay,
    snap: &Path,
    wal: &WalDir,
    log: &Log,
    consistent_index: u64,
) -> Result<Counted> {
    let whole = log.status.commit.max(log.status.last_index);
    let (up_to, basis) = match replay {
        Replay::CommitIndex => (log.status.commit, CommitBasis::CommitIndex),
        Replay::WholeLog => (whole, CommitBasis::WholeLog),
        Replay::UpTo(index) => (index.clamp(log.status.commit, whole), CommitBasis::Majority),
        Replay::Committed if is_only_voter(snap, wal, log, consistent_index)? => {
            (whole, CommitBasis::OnlyVoter)
        }
        Replay::Committed => (log.status.commit, CommitBasis::CommitIndex),
    };
    Ok(Counted { up_to, basis })
}

/// Whether the member is the only voter; computed only if its log has entries above the commit index.
fn is_only_voter(snap: &Path, wal: &WalDir, log: &Log, consistent_index: u64) -> Result<bool> {
    let applied = log.status.commit.max(consistent_index);
    if log.status.last_index <= applied {
        return Ok(false);
    }
    Ok(voters(snap, wal, applied)?.is_some_and(|voters| voters == [log.status.member_id]))
}

impl Uncommitted {
    /// What a log has beyond the entries counted. `whole` is what all of it adds to the db.
    pub(crate) fn beyond(
        position: &RaftPosition,
        counted: &Overlay,
        whole: impl FnOnce() -> Result<Overlay>,
    ) -> Option<Self> {
        let (first, last) = (position.replayed_to.saturating_add(1), position.log.last_index);
        // The logs of other members have shown that these were never committed.
        if first > last || position.basis == CommitBasis::Majority {
            return None;
        }
        let unknown = Self { first, last, changes: Vec::new(), further: 0, is_known: false };
        let Ok(whole) = whole() else { return Some(unknown) };
        let beyond = whole.revisions().get(counted.revisions().len()..).unwrap_or_default();
        let change = |(key, encoded): &(crate::revision::BucketKey, Vec<u8>)| {
            let kv = KeyValue::decode(encoded).unwrap_or_default();
            UncommittedChange { revision: key.revision.main, key: kv.key.to_vec(), deleted: key.tombstone }
        };
        let changes: Vec<_> = beyond.iter().take(MAX_CHANGES).map(change).collect();
        let further = (beyond.len() - changes.len()) as u64;
        Some(Self { changes, further, is_known: true, ..unknown })
    }
}
