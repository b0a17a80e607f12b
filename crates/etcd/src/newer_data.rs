//! Newer data in the same directory as a db or snapshot file. etcd commits to the db some time after the log, so the db
//! alone, which many guides copy, lacks the latest changes.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::archive::deltas_beside;
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::inspect::{Inspection, inspect};
use crate::progress::NoProgress;
use crate::source::Source;
use crate::sources::SourceFile;
use crate::sources::data_dir_of;
use crate::sources::{Bases, Replay, SourceDir, log_position};
use crate::state::State;

/// Keys are counted in dbs up to this size: it takes full passes.
const MAX_COUNTED: u64 = 256 << 20;

/// The WAL of the data dir that a db file is in, with changes that the db lacks or may lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerLog {
    /// The data dir of the db and the log.
    pub data_dir: PathBuf,
    /// Raft index of the last entry applied to the db.
    pub db_index: u64,
    /// How far the log goes.
    pub log: LogExtent,
}

/// How far a log goes beside a db.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogExtent {
    /// Further than the db.
    At {
        /// Raft index of its last entry.
        index: u64,
        /// Keys and revision of the db alone, and of the db with the log; `None` if not counted.
        held: Option<(ContentSummary, ContentSummary)>,
    },
    /// Unknown: the log cannot be replayed.
    Unknown(FindingKind),
}

/// Newer data in the same directory as a db or snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewerData {
    /// The WAL of a db's data dir.
    Log(NewerLog),
    /// Delta snapshots of etcd-backup-restore (Gardener) after a full one: how many.
    Deltas(usize),
}

/// Newer data in the same directory as a db or snapshot file, if any.
///
/// # Errors
/// A failed read.
pub fn newer_data(file: &Path) -> Result<Option<NewerData>> {
    if let Some(log) = NewerLog::of(file)? {
        return Ok(Some(NewerData::Log(log)));
    }
    Ok(Some(deltas_beside(file)?).filter(|deltas| *deltas > 0).map(NewerData::Deltas))
}

impl fmt::Display for NewerData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => log.fmt(f),
            Self::Deltas(deltas) => write!(
                f,
                "{deltas} later delta snapshots in the same directory are not read; apply them with `etcdbrctl restore`"
            ),
        }
    }
}

/// Keys and revision of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentSummary {
    /// Live keys.
    pub keys: u64,
    /// Current revision.
    pub revision: i64,
}

impl NewerLog {
    /// The log beside a db file; `None` where there is none, or it has nothing that the db lacks.
    ///
    /// # Errors
    /// A failed read. A damaged db is not an error here: opening it as a source reports the damage.
    pub fn of(file: &Path) -> Result<Option<Self>> {
        let Some(data_dir) = data_dir_of(file)? else { return Ok(None) };
        let read = || -> Result<_> {
            let db = SourceFile::open(file)?;
            let index = State::read(&db)?.consistent_index.unwrap_or(0);
            Ok((db, index))
        };
        let (db, db_index) = match read() {
            Ok(read) => read,
            Err(Error::Damaged(_) | Error::NotASource { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = |index| Ok((index > db_index).then_some(LogExtent::At { index, held: None }));
        let log = match SourceDir::open(&data_dir, Replay::Committed, None, Bases::Own) {
            Ok(dir) => match dir.raft() {
                Some(position) => {
                    further(&db, &dir, position.log.last_index.max(position.replayed_to), db_index)
                }
                None => match log_position(&data_dir, None) {
                    Ok(position) => end(position.log.last_index),
                    Err(Error::Damaged(kind)) => Ok(Some(LogExtent::Unknown(kind))),
                    Err(error) => Err(error),
                },
            },
            // An etcd runs there.
            Err(Error::Refused(_)) => {
                log_position(&data_dir, None).map_or(Ok(None), |position| end(position.log.last_index))
            }
            Err(Error::Damaged(kind) | Error::Unreplayable(kind)) => Ok(Some(LogExtent::Unknown(kind))),
            Err(error) => Err(error),
        };
        Ok(log?.map(|log| Self { data_dir, db_index, log }))
    }
}

/// How far the log goes, if it has changes; entries that change no key, such as raft's own, do not count.
fn further(db: &SourceFile, dir: &SourceDir, index: u64, db_index: u64) -> Result<Option<LogExtent>> {
    if index <= db_index {
        return Ok(None);
    }
    if db.origin().size > MAX_COUNTED {
        return Ok(Some(LogExtent::At { index, held: None }));
    }
    let (alone, together) = match (inspect(db, &NoProgress), inspect(dir, &NoProgress)) {
        (Ok(alone), Ok(together)) => (alone, together),
        (Err(Error::Damaged(_)), _) | (_, Err(Error::Damaged(_))) => {
            return Ok(Some(LogExtent::At { index, held: None }));
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let same_leases = alone.state.leases == together.state.leases && alone.state.auth == together.state.auth;
    let uncommitted = dir.raft().is_some_and(|position| position.uncommitted_entries() > 0);
    if same_leases && !uncommitted && held(&alone) == held(&together) {
        return Ok(None);
    }
    Ok(Some(LogExtent::At { index, held: Some((held(&alone), held(&together))) }))
}

fn held(inspection: &Inspection) -> ContentSummary {
    ContentSummary { keys: inspection.live_keys, revision: inspection.revision }
}

impl fmt::Display for NewerLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.log {
            LogExtent::At { index, held } => {
                write!(
                    f,
                    "the log beside this db goes up to raft index {index}, the db to {}",
                    self.db_index
                )?;
                if let Some((alone, together)) = held {
                    write!(
                        f,
                        ": with the log {} keys at revision {}, without it {} at {}",
                        together.keys, together.revision, alone.keys, alone.revision
                    )?;
                }
            }
            LogExtent::Unknown(kind) => {
                write!(
                    f,
                    "the log beside this db cannot be replayed, so the db may lack recent changes: {kind}"
                )?;
            }
        }
        write!(f, "; to read both, name the data dir: {}", self.data_dir.display())
    }
}
