//! Snapshot and db files and members' data dirs as sources, and how they are opened.

mod base;
mod committed;
mod data_dir;
pub(crate) mod digest;
mod file;
mod locate;
mod log_position;
mod majority;
pub(crate) mod v2_keys;
mod voters;

use std::path::Path;

use crate::error::{Error, Result};
use crate::source::Source;

pub(crate) use committed::Counted;
pub use committed::Replay;
pub use data_dir::{Bases, SourceDir, is_in_use};
pub(crate) use data_dir::{counted_over, leads_to_snapshot, lock, notes};
pub use file::SourceFile;
pub use locate::is_data_dir;
pub(crate) use locate::{Located, data_dir_of, locate, member_dir};
pub use log_position::{keys_in_log, log_position, log_position_past_damage};
pub use majority::{Majority, majorities};

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
