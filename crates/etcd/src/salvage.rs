//! Recovers as much as possible from a damaged db or data dir, with a report of what is missing.
//!
//! 1. Walk the tree of the newest root; if anything of it is broken, that of the older root; if no meta page is valid,
//!    those of pages that look like roots (`roots`, `tree_view`).
//! 2. A complete tree is the store. A data dir's log is replayed on a complete tree only (`log`).
//! 3. Otherwise take the tree with the most revisions, search the file page by page for those that tree and log lack
//!    (`index`), and decide which of them belong to the store (`resolve`).
//! 4. Take each metadata bucket from the newest tree that has all of it (`store`).
//!
//! The result is a [`Source`] like any other, to be exported or restored.

mod finding_list;
mod gap;
mod index;
mod key_bucket;
mod log;
mod report;
mod resolve;
mod roots;
mod salvaged;
mod source;
mod store;
mod tree_view;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::finding::FindingKind;
use crate::progress::Progress;
use crate::source::Source;
use crate::sources::lock;
use crate::sources::{Bases, Located, Replay, SourceDir, locate, member_dir};
use crate::wal::{Log, WalDir};

pub use finding_list::FindingList;
pub use log::LogReport;
use log::Replayed;
pub use report::{Alternative, BucketReport, Report};
pub use resolve::Conflicts;
pub use salvaged::Salvaged;
use salvaged::Saved;
use source::SavedDb;
pub use store::BucketOrigin;
pub use tree_view::RootKind;

/// Recovers what a db file, a snapshot or a stopped member's data dir still holds. Nothing is written.
///
/// # Errors
/// [`Error::Damaged`] when it holds no etcd data; [`Error::Refused`] for a data dir that an etcd is
/// running in; a failed read.
pub fn salvage(
    path: &Path,
    how_far: Replay,
    wal_dir: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(Salvaged, Report)> {
    salvage_on(path, how_far, wal_dir, Bases::Own, progress)
}

/// Like [`salvage()`], with the bases that the log of a data dir may be replayed on.
///
/// # Errors
/// As [`salvage()`].
pub fn salvage_on(
    path: &Path,
    how_far: Replay,
    wal_dir: Option<&Path>,
    bases: Bases<'_>,
    progress: &dyn Progress,
) -> Result<(Salvaged, Report)> {
    let file = match locate(path)? {
        Located::DataDir => return from_data_dir(path, how_far, wal_dir, bases, progress),
        Located::File(file) => file,
    };
    if wal_dir.is_some() || how_far != Replay::Committed || matches!(bases, Bases::Only(_)) {
        return Err(Error::Invalid(format!("{} is not a data dir (no WAL)", path.display())));
    }
    of_db(SavedDb::open(&file, progress)?.finish(None, progress)?)
}

fn of_db((saved, report): (SavedDb, Report)) -> Result<(Salvaged, Report)> {
    Ok((Salvaged(Saved::Db(Box::new(saved))), report))
}

fn from_data_dir(
    path: &Path,
    how_far: Replay,
    wal_dir: Option<&Path>,
    bases: Bases<'_>,
    progress: &dyn Progress,
) -> Result<(Salvaged, Report)> {
    let member = member_dir(path)?;
    let lock = lock(&member.join("snap").join("db"))?;
    let wal_dir = wal_dir.map_or(member.join("wal"), Path::to_path_buf);
    let (others, only): (&[&Path], _) = match &bases {
        Bases::Own => (&[], false),
        Bases::OwnOr(others) => (others, false),
        Bases::Only(base) => (std::slice::from_ref(base), true),
    };
    let own = if only { None } else { Some(as_data(from_own_db(path, how_far, &wal_dir, lock, progress))?) };
    if let Some(Ok((saved, report))) = own {
        let base = saved.store.base();
        // Nothing goes further than the log on top of a db that is whole.
        let is_newest = base.is_clean() && base.kind == RootKind::Newest;
        if report.is_complete || is_newest && others.is_empty() {
            return of_db((saved, report));
        }
        let why = report.problems.listed.first().cloned();
        let log = from_log(path, how_far, &wal_dir, others, why, progress)?;
        return match log {
            Some((log, of_log)) if of_log.keeps_more_than(&report) => {
                Ok((log, of_log.with_alternative(&report)))
            }
            Some((_, of_log)) => of_db((saved, report.with_alternative(&of_log))),
            None => of_db((saved, report)),
        };
    }
    let why = own.and_then(std::result::Result::err);
    match from_log(path, how_far, &wal_dir, others, why.clone(), progress)? {
        Some(saved) => Ok(saved),
        // What is wrong with the base that was chosen.
        None if only => match SourceDir::open(path, how_far, Some(&wal_dir), bases)?.unusable() {
            Some(kind) => Err(kind.clone().into()),
            None => Err(FindingKind::NothingToSalvage.into()),
        },
        None => Err(why.unwrap_or(FindingKind::NothingToSalvage).into()),
    }
}

/// Salvages the data dir's own db, with its log.
fn from_own_db(
    path: &Path,
    how_far: Replay,
    wal_dir: &Path,
    lock: Option<fs_err::File>,
    progress: &dyn Progress,
) -> Result<(SavedDb, Report)> {
    let snap = member_dir(path)?.join("snap");
    let db = snap.join("db");
    let missing = || Error::from(FindingKind::DbMissing { path: db.clone() });
    let saved = if files::metadata(&db)?.is_some() { SavedDb::open(&db, progress) } else { Err(missing()) };
    let index = saved.as_ref().map_or(0, SavedDb::consistent_index);
    let log = as_data(WalDir::open(wal_dir).and_then(|wal| Ok((Log::scan(&wal, index)?, wal))))?;
    let snapshot = log.as_ref().map_or(0, |(log, _)| log.snapshot);
    // The db that came with a raft snapshot and waits to be put in its place.
    let received = received(&db, snapshot);
    let saved = if index < snapshot && files::metadata(&received)?.is_some() {
        SavedDb::open(&received, progress)?
    } else {
        saved?
    };
    let replayed = match log {
        Ok((log, wal)) => log::replay(&saved, &snap, &wal, &log, how_far)?,
        Err(kind) => Replayed::unusable(kind),
    };
    saved.of_data_dir(path, lock).finish(Some(replayed), progress)
}

/// Salvages the log, on another base than the data dir's own db.
fn from_log(
    path: &Path,
    how_far: Replay,
    wal_dir: &Path,
    others: &[&Path],
    why: Option<FindingKind>,
    progress: &dyn Progress,
) -> Result<Option<(Salvaged, Report)>> {
    let Some(dir) = SourceDir::without_db(path, how_far, wal_dir, others, why)? else { return Ok(None) };
    let report = Report::of_log(&dir, progress)?;
    Ok(Some((Salvaged(Saved::Log(Box::new(dir))), report)))
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
