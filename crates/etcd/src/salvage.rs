//! Salvage: as much of a store as a damaged db or data dir still holds, with an account of what it lacks.
//!
//! 1. The newest state of the file is gone through; if anything of it is broken, the one before that, and where no
//!    meta page is valid, those of pages that look like roots (`states`, `view`).
//! 2. A state of which nothing is missing is the store. On it, and on nothing else, a data dir's log is replayed
//!    (`log`).
//! 3. Otherwise the tree that reaches most gives what it reaches. For what tree and log lack, the file is searched page
//!    by page (`index`); what revisions are decides which of it belongs to the store (`judge`).
//! 4. The small buckets come from the newest state that has them whole (`store`).
//!
//! What comes out is a [`Source`](crate::Source) as any other: it is exported, and restored, by those that do so anyway.

mod account;
mod hole;
mod index;
mod judge;
mod key_bucket;
mod log;
mod problems;
mod source;
mod states;
mod store;
mod view;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::finding::FindingKind;
use crate::progress::Progress;
use crate::source::data_dir::lock;
use crate::source::{Located, Replay, locate, member_dir};
use crate::wal::{Log, WalDir};

pub use account::{Account, BucketAccount, Keys};
pub use judge::Conflicts;
pub use log::LogAccount;
use log::Replayed;
pub use problems::Problems;
pub use source::Salvaged;
pub use store::Taken;
pub use view::Which;

/// Saves what a db file, a snapshot or a stopped member's data dir still holds. Nothing is written.
///
/// # Errors
/// [`Error::Damaged`] when there is nothing of an etcd in it; [`Error::Refused`] for a data dir that an etcd is
/// running in; a failed read.
pub fn salvage(
    path: &Path,
    how_far: Replay,
    wal_dir: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(Salvaged, Account)> {
    let file = match locate(path)? {
        Located::DataDir => return from_data_dir(path, how_far, wal_dir, progress),
        Located::File(file) => file,
    };
    if wal_dir.is_some() || how_far != Replay::Committed {
        return Err(Error::Invalid(format!("{} is no data dir: it has no log", path.display())));
    }
    Salvaged::open(&file, progress)?.finish(None, progress)
}

fn from_data_dir(
    path: &Path,
    how_far: Replay,
    wal_dir: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(Salvaged, Account)> {
    let member = member_dir(path)?;
    let db = member.join("snap").join("db");
    let _lock = lock(&db)?;
    let missing = || Error::from(FindingKind::DbMissing { path: db.clone() });
    let salvaged =
        if files::metadata(&db)?.is_some() { Salvaged::open(&db, progress) } else { Err(missing()) };
    let index = salvaged.as_ref().map_or(0, Salvaged::consistent_index);
    let wal_dir = wal_dir.map_or(member.join("wal"), Path::to_path_buf);
    let log = as_data(WalDir::open(&wal_dir).and_then(|wal| Ok((Log::scan_to_damage(&wal, index)?, wal))))?;
    let snapshot = log.as_ref().map_or(0, |(log, _)| log.snapshot);
    // The db that came with a raft snapshot and waits to be put in its place.
    let received = received(&db, snapshot);
    let salvaged = if index < snapshot && files::metadata(&received)?.is_some() {
        Salvaged::open(&received, progress)?
    } else {
        salvaged?
    };
    let replayed = match log {
        Ok((log, wal)) => log::replay(&salvaged, &member.join("snap"), &wal, &log, how_far)?,
        Err(kind) => Replayed::unusable(kind),
    };
    salvaged.of_data_dir(path, _lock).finish(Some(replayed), progress)
}

fn received(db: &Path, snapshot: u64) -> PathBuf {
    db.with_file_name(format!("{snapshot:016x}.snap.db"))
}

/// Damage as a value; other errors stay errors.
fn as_data<T>(result: Result<T>) -> Result<Result<T, FindingKind>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Damaged(kind) | Error::Unreplayable(kind)) => Ok(Err(kind)),
        Err(error) => Err(error),
    }
}
