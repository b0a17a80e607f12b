//! How far a data dir's log and db go, without a replay.

use std::path::Path;

use super::member_dir;
use crate::apply;
use crate::error::{Error, Result};
use crate::key_list::KeyList;
use crate::schema::Bucket;
use crate::source::{EntryId, LogPosition, Source};
use crate::sources::SourceFile;
use crate::state::State;
use crate::wal::{Log, WalDir};

/// Attempts to read a db that a running etcd writes to.
const ATTEMPTS: usize = 3;

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
        // The last segment has no entry yet: the one before has the last.
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
