//! A member's data dir as a source: its db, and what its log has beyond it. Nothing in it is written or created.
//!
//! Which entries of the log count is decided in [`committed`](super::committed).

use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::committed::{Counted, Replay, Uncommitted, counted};
use super::member_dir;
use super::{CommitBasis, Integrity, Origin, Overlay, RaftPosition, Source, SourceFile, v2_keys};
use super::{VisitAll, VisitPair, VisitRevision};
use crate::apply;
use crate::error::{Error, Result};
use crate::files::{self, open_regular};
use crate::finding::{Finding, FindingKind};
use crate::progress::Progress;
use crate::schema::Bucket;
use crate::state::State;
use crate::wal::{Entries, Log, WalDir};

/// A data dir. An etcd that is started meanwhile waits until this is dropped.
#[derive(Debug)]
pub struct SourceDir {
    path: PathBuf,
    db: SourceFile,
    wal: WalDir,
    /// What the log says, or why it cannot be used: reading fails then, and a check goes on.
    log: Result<Replayed, FindingKind>,
    /// Holds the lock.
    _lock: Option<fs_err::File>,
}

#[derive(Debug)]
struct Replayed {
    position: RaftPosition,
    overlay: Overlay,
    notes: Vec<FindingKind>,
}

impl SourceDir {
    /// Opens a data dir and replays its log in memory. The log is in `member/wal`, or in `wal_dir`.
    ///
    /// # Errors
    /// [`Error::Refused`] when an etcd runs in it; [`Error::Damaged`] when there is no db or no log, or the db
    /// is no etcd db at all. With other damage it opens, so that it can be checked.
    pub fn open(path: &Path, replay: Replay, wal_dir: Option<&Path>) -> Result<Self> {
        let member = member_dir(path)?;
        let snap = member.join("snap");
        let _lock = lock(&snap.join("db"))?;
        let wal = WalDir::open(wal_dir.unwrap_or(&member.join("wal")))?;
        let mut db = open_db(&snap.join("db"))?;
        let log = match replayed(&snap, &mut db, &wal, replay) {
            Ok(replayed) => Ok(replayed),
            Err(Failure::Finding(kind)) => Err(kind),
            Err(Failure::Error(error)) => return Err(error),
        };
        let db = db.ok_or_else(|| FindingKind::DbMissing { path: snap.join("db") })?;
        Ok(Self { path: path.into(), db, wal, log, _lock })
    }

    /// Reads the log from its start: reading takes only the end of it, but etcd stops at damage anywhere.
    fn check_log(&self, known: Option<&FindingKind>, found: &mut dyn FnMut(Finding)) -> Result<()> {
        match self.wal.walk(0, &mut |_| Ok(())) {
            Err(Error::Damaged(kind)) => {
                if known != Some(&kind) {
                    found(kind.into());
                }
                Ok(())
            }
            walked => walked.map(drop),
        }
    }

    fn replayed(&self) -> Result<&Replayed> {
        self.log.as_ref().map_err(|kind| kind.clone().into())
    }
}

/// Refuses a db that an etcd has open (bbolt's `flock`), and keeps one from opening it. A file system that knows
/// no locks cannot tell.
pub(crate) fn lock(db: &Path) -> Result<Option<fs_err::File>> {
    if files::metadata(db)?.is_none() {
        return Ok(None);
    }
    let file = open_regular(db)?;
    match flock(file.file(), FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Err(Error::Refused(format!(
            "an etcd is running on {}: stop the member first, or save a snapshot of it",
            db.display()
        ))),
        _ => Ok(Some(file)),
    }
}

fn open_db(path: &Path) -> Result<Option<SourceFile>> {
    if files::metadata(path)?.is_some() { SourceFile::open(path).map(Some) } else { Ok(None) }
}

/// Why a log cannot be used, or the directory cannot be read.
enum Failure {
    Finding(FindingKind),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged(kind) | Error::Unreplayable(kind) => Self::Finding(kind),
            error => Self::Error(error),
        }
    }
}

impl From<FindingKind> for Failure {
    fn from(kind: FindingKind) -> Self {
        Self::Finding(kind)
    }
}

/// Replays the log over the db; over one that came with a raft snapshot and waits to be put in its place, if the
/// log goes on from there (`server/storage/backend.go`, `RecoverSnapshotBackend`).
fn replayed(
    snap: &Path,
    db: &mut Option<SourceFile>,
    wal: &WalDir,
    replay: Replay,
) -> Result<Replayed, Failure> {
    let mut state = db.as_ref().map(|db| State::read(db)).transpose()?;
    let index = |state: &Option<State>| state.as_ref().and_then(|state| state.consistent_index).unwrap_or(0);
    let log = Log::scan(wal, index(&state))?;
    if index(&state) < log.snapshot
        && let Some(received) = open_db(&snap.join(format!("{:016x}.snap.db", log.snapshot)))?
    {
        state = Some(State::read(&received)?);
        *db = Some(received);
    }
    let (Some(db), Some(state)) = (db, &state) else {
        return Err(FindingKind::DbMissing { path: snap.join("db") }.into());
    };
    let consistent_index = state.consistent_index.unwrap_or(0);
    if consistent_index < log.snapshot {
        let snapshot = log.snapshot;
        return Err(FindingKind::DbBehindSnapshot { consistent_index, snapshot }.into());
    }
    let Counted { up_to, basis } = counted(replay, snap, wal, &log, consistent_index)?;
    let overlay = apply::replay(db, state, &Entries::find(wal, consistent_index, up_to)?)?;
    let position = RaftPosition::of(&log, consistent_index, up_to.max(consistent_index), basis);
    let uncommitted = Uncommitted::beyond(&position, &overlay, || {
        apply::replay(db, state, &Entries::find(wal, consistent_index, log.last_index)?)
    });
    let mut notes = notes(&log, &position, state, &overlay, uncommitted);
    notes.extend(v2_keys::find(snap, wal, state)?);
    Ok(Replayed { position, overlay, notes })
}

/// What is worth knowing of a log that can be used, and of what it adds to the state of the db.
pub(crate) fn notes(
    log: &Log,
    position: &RaftPosition,
    state: &State,
    overlay: &Overlay,
    uncommitted: Option<Uncommitted>,
) -> Vec<FindingKind> {
    let member = log.member_id;
    let mut removed = overlay.pairs(Bucket::MembersRemoved).map(|(key, _)| key);
    let is_removed =
        state.members_removed.contains(&member) || removed.any(|key| key == member.to_string().as_bytes());
    let removed = is_removed.then_some(FindingKind::MemberRemoved { member });
    let RaftPosition { last_index: last, commit, consistent_index, replayed_to, basis, .. } = *position;
    let torn = log.torn.clone();
    let torn = torn.map(|torn| FindingKind::WalTorn { segment: torn.segment, offset: torn.offset });
    let behind = (last < consistent_index).then_some(FindingKind::WalBehindDb { last, consistent_index });
    let first = commit.max(consistent_index).saturating_add(1);
    let only_voter = basis == CommitBasis::OnlyVoter && replayed_to >= first;
    let only_voter = only_voter.then_some(FindingKind::WalOnlyVoter { first, last: replayed_to });
    let uncommitted = uncommitted.map(FindingKind::WalUncommitted);
    [torn, behind, only_voter, uncommitted, removed].into_iter().flatten().collect()
}

impl Source for SourceDir {
    fn origin(&self) -> Origin {
        Origin { path: self.path.clone(), kind: "data-dir", ..self.db.origin() }
    }

    fn raft(&self) -> Option<RaftPosition> {
        self.log.as_ref().ok().map(|replayed| replayed.position)
    }

    fn notes(&self) -> &[FindingKind] {
        self.log.as_ref().map_or(&[], |replayed| &replayed.notes)
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.replayed()?.overlay.each_revision(|below| self.db.revisions(below), visit)
    }

    fn small_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        self.replayed()?.overlay.small_bucket(|below| self.db.small_bucket(bucket, below), bucket, visit)
    }

    fn verify_integrity(&self, _progress: &dyn Progress) -> Result<Integrity> {
        self.ensure_plausible().map(|()| Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        self.db.ensure_plausible()
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        let unusable = self.log.as_ref().err();
        unusable.into_iter().for_each(|kind| found(kind.clone().into()));
        self.check_log(unusable, found)?;
        let Ok(Replayed { overlay, notes, .. }) = &self.log else {
            return self.db.check_container(found, visit);
        };
        notes.iter().for_each(|kind| found(kind.clone().into()));
        self.db.check_container(found, &mut |bucket, key, value| {
            if !overlay.covers(bucket, key) {
                visit(bucket, key, value);
            }
        })?;
        for bucket in Bucket::ALL {
            overlay.pairs(bucket).for_each(|(key, value)| visit(bucket, key, value));
        }
        overlay.revisions().iter().for_each(|(key, value)| visit(Bucket::Key, &key.to_bytes(), value));
        Ok(())
    }
}
