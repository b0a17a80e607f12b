//! What the binary on a machine answers about a data dir; it runs there, as `lifeboat agent`.

use std::io;
use std::path::Path;

use lifeboat_etcd::{
    Bases, Error, FindingKind, Inspection, NoProgress, Replay, Uncommitted as Entries, inspect, is_in_use,
    log_position, open, open_on,
};

use crate::facts::{Alarm, Damage, DataDir, DataDirState, KeyChange, LogState, Readable, Uncommitted};

use crate::error_text;

use super::LogPlace;

/// Changes that are kept of those that entries which are not known to be committed make.
const MAX_CHANGES: usize = 100;

/// What a data dir holds: the db and every committed entry of the log, or the log alone where an etcd runs on it.
///
/// # Errors
/// Why it cannot be determined, for another reason than damage: the data dir is neither absent nor damaged.
pub fn data_dir(dir: &Path, wal_dir: Option<&Path>, place: LogPlace) -> Result<DataDir, String> {
    read(dir, wal_dir, place).map_err(|error| error_text::of(&error))
}

fn read(dir: &Path, wal_dir: Option<&Path>, place: LogPlace) -> Result<DataDir, Error> {
    let (member, inside) = (dir.join("member"), dir.join("member/wal"));
    let wal = wal_dir.unwrap_or(&inside);
    if !exists(&member)? {
        if wal_dir.is_some() && exists(wal)? && fs_err::read_dir(wal)?.next().is_some() {
            return Err(Error::Invalid(format!(
                "no member in {}, and its log is in {}: the data dir's disk may not be mounted",
                dir.display(),
                wal.display()
            )));
        }
        return Ok(DataDir::Absent);
    }
    if !fs_err::metadata(&member)?.is_dir() {
        return Err(Error::Invalid(format!("{} is not a directory", member.display())));
    }
    let db = member.join("snap/db");
    if exists(&db)? && is_in_use(dir)? {
        return Ok(DataDir::InUse(log(dir, wal_dir)));
    }
    // A db with keys had a log, which may be elsewhere. One without was re-initialized and refused by its cluster before
    // it had any.
    if !exists(wal)? && has_keys(&db) {
        let why = format!("no write-ahead log in {}", wal.display());
        return match place {
            LogPlace::Known => Ok(DataDir::Damaged(vec![why].into())),
            LogPlace::Unknown => Err(Error::Invalid(format!(
                "{why}: its etcd may run with --wal-dir: set walDir in the inventory"
            ))),
        };
    }
    Ok(match read_to_end(dir, wal_dir)? {
        DataDir::Damaged(damage) if damage.log.is_none() => {
            DataDir::Damaged(Damage { log: log(dir, wal_dir), ..damage })
        }
        read => read,
    })
}

/// How far the log of a data dir goes, if that can be read; also while an etcd runs there, where it may look damaged.
pub fn log(dir: &Path, wal_dir: Option<&Path>) -> Option<LogState> {
    let position = log_position(dir, wal_dir).ok()?;
    Some(LogState {
        first_index: Some(position.first_index),
        db_index: position.applied.map(|entry| entry.index),
        db_term: position.applied.map(|entry| entry.term).filter(|term| *term > 0),
        ..LogState::from(position.log)
    })
}

/// Whether something is at a path. A symbolic link that leads nowhere is neither: its file system may not be mounted.
fn exists(path: &Path) -> Result<bool, Error> {
    match fs_err::metadata(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) => {}
    }
    for part in path.ancestors() {
        if let (Ok(target), Err(_)) = (fs_err::read_link(part), fs_err::metadata(part)) {
            let (link, target) = (part.display(), target.display());
            return Err(Error::Invalid(format!(
                "{link} is a symbolic link to {target}, which does not exist"
            )));
        }
    }
    Ok(false)
}

fn has_keys(db: &Path) -> bool {
    let held = open(db).and_then(|db| inspect(db.as_ref(), &NoProgress));
    held.is_ok_and(|held| held.live_keys > 0)
}

fn read_to_end(dir: &Path, wal_dir: Option<&Path>) -> Result<DataDir, Error> {
    let read = || {
        let source = open_on(dir, Replay::Committed, wal_dir, Bases::Own)?;
        if let Some(kind) = source.unusable() {
            return Err(kind.clone().into());
        }
        inspect(source.as_ref(), &NoProgress)
    };
    match read() {
        Ok(inspection) => Ok(found(&inspection)),
        Err(Error::Damaged(kind)) => Ok(DataDir::Damaged(vec![kind.to_string()].into())),
        Err(error @ (Error::NotASource { .. } | Error::NotAFile { .. })) => {
            Ok(DataDir::Damaged(vec![error.to_string()].into()))
        }
        Err(error) => Err(error),
    }
}

fn found(inspection: &Inspection) -> DataDir {
    let undecodable = inspection.state.undecodable.iter().map(ToString::to_string);
    let mut why: Vec<String> =
        inspection.integrity.as_ref().err().map(ToString::to_string).into_iter().chain(undecodable).collect();
    let is_readable = why.is_empty();
    why.extend(inspection.notes.iter().filter(|kind| kind.stops_etcd()).map(ToString::to_string));
    let Some((state, log)) = state(inspection).filter(|_| is_readable) else {
        return DataDir::Damaged(why.into());
    };
    if why.is_empty() {
        return DataDir::Sound(state);
    }
    let combination = inspection.raft.and_then(|raft| inspection.origin.combination(raft));
    let readable = Some(Readable { state, combination });
    DataDir::Damaged(Damage { why, readable, log: Some(log) })
}

/// What a data dir holds, and how far its log goes.
fn state(inspection: &Inspection) -> Option<(DataDirState, LogState)> {
    let raft = inspection.raft?;
    let log = LogState {
        db_index: Some(raft.consistent_index),
        db_term: inspection.state.term.filter(|_| raft.consistent_index > raft.log.last_index),
        ..LogState::from(raft.log)
    };
    let alarm = |alarm: &lifeboat_etcd::Alarm| Alarm {
        member_id: alarm.member.to_string(),
        kind: alarm.kind.to_string(),
    };
    let state = DataDirState {
        cluster_id: log.cluster_id.clone(),
        member_id: log.member_id.clone(),
        last_term: raft.log.last_term,
        last_index: raft.log.last_index,
        revision: inspection.revision,
        keys: inspection.live_keys,
        db_index: log.db_index,
        db_term: log.db_term,
        kubernetes: Some(inspection.kubernetes.clone()),
        uncommitted: inspection.notes.iter().find_map(|kind| match kind {
            FindingKind::WalUncommitted(entries) => Some(uncommitted(entries)),
            _ => None,
        }),
        alarms: inspection.state.alarms.iter().map(alarm).collect(),
        v2_keys: inspection.notes.iter().any(|kind| matches!(kind, FindingKind::V2Keys { .. })),
    };
    Some((state, log))
}

fn uncommitted(entries: &Entries) -> Uncommitted {
    let unlisted = u64::try_from(entries.changes.len().saturating_sub(MAX_CHANGES)).unwrap_or(u64::MAX);
    let changes = entries.changes.iter().take(MAX_CHANGES).map(|change| KeyChange {
        key: String::from_utf8_lossy(&change.key).into_owned(),
        deleted: change.deleted,
    });
    Uncommitted {
        first: entries.first,
        last: entries.last,
        changes: changes.collect(),
        further_changes: entries.further.saturating_add(unlisted),
        known: entries.is_known,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};

    use super::*;

    fn unknown(dir: &Path) -> String {
        data_dir(dir, None, LogPlace::Known).expect_err("unknown")
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let etcd = dir.path().join("etcd");
        assert_eq!(data_dir(&etcd, None, LogPlace::Known).unwrap(), DataDir::Absent);
        symlink("etcd", &etcd).unwrap();
        assert!(unknown(&etcd).contains("Too many levels of symbolic links"));
        fs_err::remove_file(&etcd).unwrap();
        symlink("/not/there", &etcd).unwrap();
        let why = unknown(&etcd);
        assert!(why.contains("is a symbolic link to /not/there, which does not exist"), "{why}");
        fs_err::remove_file(&etcd).unwrap();
        fs_err::create_dir(&etcd).unwrap();
        assert_eq!(data_dir(&etcd, None, LogPlace::Known).unwrap(), DataDir::Absent);
        fs_err::write(etcd.join("member"), "").unwrap();
        assert!(unknown(&etcd).contains("is not a directory"));
    }

    /// Its disk may not be mounted, where only the log's is.
    #[test]
    fn a_log_without_a_member_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let (etcd, wal) = (dir.path().join("etcd"), dir.path().join("wal"));
        fs_err::create_dir(&wal).unwrap();
        assert_eq!(data_dir(&etcd, Some(&wal), LogPlace::Known).unwrap(), DataDir::Absent);
        fs_err::write(wal.join("0.wal"), "").unwrap();
        let why = data_dir(&etcd, Some(&wal), LogPlace::Known).expect_err("unknown");
        assert!(why.starts_with("no member in "), "{why}");
    }

    #[test]
    fn a_named_pipe_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let snap = dir.path().join("member/snap");
        fs_err::create_dir_all(&snap).unwrap();
        mknodat(CWD, snap.join("db"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let why = unknown(dir.path());
        assert!(why.contains("member/snap/db") && why.contains("pipe"), "{why}");
    }

    #[test]
    fn a_db_that_a_process_holds_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("member/snap")).unwrap();
        let db = fs_err::File::create(dir.path().join("member/snap/db")).unwrap();
        flock(db.file(), FlockOperation::LockExclusive).unwrap();
        assert_eq!(data_dir(dir.path(), None, LogPlace::Known).unwrap(), DataDir::InUse(None));
        drop(db);
        let DataDir::Damaged(damage) = data_dir(dir.path(), None, LogPlace::Known).unwrap() else { panic!() };
        assert!(!damage.why.is_empty());
    }
}
