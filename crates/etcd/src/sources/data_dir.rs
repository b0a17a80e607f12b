//! A member's data dir as a source: its db, with its log replayed in memory. Nothing in it is written or created.
//!
//! Which entries of the log count is decided in [`committed`](super::committed), what it is read on top of in
//! [`base`](super::base).

use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::base::{Nothing, ensure_whole};
use super::committed::{Counted, Replay, counted};
use super::{SourceFile, member_dir, open_on, v2_keys};
use crate::alarm::{Alarm, AlarmKind};
use crate::apply;
use crate::apply::Overlay;
use crate::conf_state::ConfState;
use crate::error::{Error, Result};
use crate::files::{self, open_regular};
use crate::finding::{Finding, FindingKind};
use crate::key_list::KeyList;
use crate::member::MemberId;
use crate::origin::{Base, Identity, Integrity, Origin, Uncommitted};
use crate::progress::Progress;
use crate::raft_snapshot;
use crate::schema::Bucket;
use crate::source::{CommitBasis, RaftPosition, Source, VisitAll, VisitPair, VisitRevision};
use crate::state::State;
use crate::wal::{End, Entries, Item, Log, LogStatus, WalDir};

/// Bases that a data dir's log may be replayed on.
#[derive(Debug, Clone, Copy, Default)]
pub enum Bases<'a> {
    /// The data dir's own db; if it cannot be used, the db that came with a raft snapshot, or an empty store if the log
    /// starts with one.
    #[default]
    Own,
    /// As [`Bases::Own`]; if the own db cannot be used, also one of these snapshots, dbs and data dirs.
    OwnOr(&'a [&'a Path]),
    /// Only this snapshot, db or data dir.
    Only(&'a Path),
}

/// A member's data dir. An etcd that is started on it waits for the db's lock until this is dropped.
#[derive(Debug)]
pub struct SourceDir {
    path: PathBuf,
    /// What the log is read on top of.
    below: Box<dyn Source>,
    /// Where that is not the own db: what it is, and why the own db is not used.
    instead: Option<Instead>,
    wal: WalDir,
    /// The replayed log, or why it cannot be used: then reading fails, but a check continues.
    log: Result<Replayed, FindingKind>,
    /// Holds the lock.
    _lock: Option<fs_err::File>,
}

#[derive(Debug)]
struct Instead {
    base: Base,
    /// `None` where a person chose the base.
    why: Option<FindingKind>,
    /// The own db, as far as it opens.
    own: Option<SourceFile>,
}

#[derive(Debug)]
struct Replayed {
    position: RaftPosition,
    overlay: Overlay,
    notes: Vec<FindingKind>,
    /// What is not replayed though it is to be.
    gap: Option<LogGap>,
}

impl Replayed {
    /// Whether the base that it is read on top of may be of another history.
    fn is_of_weak_identity(&self) -> bool {
        self.notes.iter().any(FindingKind::is_weak_identity)
    }
}

/// Entries that cannot be replayed, since those before them are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogGap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) problems: Vec<FindingKind>,
    /// Keys that these entries name.
    pub(crate) keys: KeyList,
}

impl SourceDir {
    /// Opens a data dir and replays its log in memory. The log is in `member/wal` or in `wal_dir`.
    ///
    /// # Errors
    /// [`Error::Refused`] when etcd runs on it; [`Error::Damaged`] when there is no log, or when the log cannot be replayed
    /// on any base and no db can be opened. With other damage it can be opened, so that it can be checked.
    pub fn open(path: &Path, replay: Replay, wal_dir: Option<&Path>, bases: Bases<'_>) -> Result<Self> {
        let member = member_dir(path)?;
        let snap = member.join("snap");
        let _lock = lock(&snap.join("db"))?;
        let wal = WalDir::open(wal_dir.unwrap_or(&member.join("wal")))?;
        let dir = Dir { path, snap: &snap, wal: &wal, replay, to_gap: false, is_chosen: false };
        let found = match bases {
            Bases::Only(base) => dir.on_chosen(base)?,
            Bases::Own => dir.on_any(&[])?,
            Bases::OwnOr(bases) => dir.on_any(bases)?,
        };
        Ok(Self::of(path, found, wal, _lock))
    }

    /// Replays the log on top of anything but the own db, as far as the log has all entries; `None` when it goes on
    /// from nothing else. `why` is what is wrong with the own db.
    pub(crate) fn without_db(
        path: &Path,
        replay: Replay,
        wal_dir: &Path,
        bases: &[&Path],
        why: Option<FindingKind>,
    ) -> Result<Option<Self>> {
        let snap = member_dir(path)?.join("snap");
        let lock = lock(&snap.join("db"))?;
        let Ok(wal) = as_finding(WalDir::open(wal_dir))? else { return Ok(None) };
        let dir = Dir { path, snap: &snap, wal: &wal, replay, to_gap: true, is_chosen: why.is_none() };
        let found = dir.on_other(bases, 0)?;
        Ok(found.map(|(below, base, log)| {
            let found = Found { below, instead: Some(Instead { base, why, own: None }), log: Ok(log) };
            Self::of(path, found, wal, lock)
        }))
    }

    fn of(path: &Path, found: Found, wal: WalDir, lock: Option<fs_err::File>) -> Self {
        let Found { below, instead, mut log } = found;
        if let (Ok(log), Some(Instead { base, why, .. })) = (&mut log, &instead) {
            let RaftPosition { consistent_index: at, replayed_to, .. } = log.position;
            let (base, why) = (base.clone(), why.clone().map(Box::new));
            log.notes.insert(0, FindingKind::OnOtherBase { base, at, replayed_to, why });
        }
        Self { path: path.into(), below, instead, wal, log, _lock: lock }
    }

    /// What the log lacks of what is known to be committed: first and last entry, and why.
    pub(crate) fn gap(&self) -> Option<&LogGap> {
        self.log.as_ref().ok()?.gap.as_ref()
    }

    /// Reads the log from its start: reading takes only the end of it, but etcd stops at damage anywhere.
    fn check_log(&self, known: Option<&FindingKind>, found: &mut dyn FnMut(Finding)) -> Result<()> {
        let end = self.wal.walk(0, &mut |item| {
            if let Item::Bad(bad) = item
                && known != Some(&bad.kind)
            {
                found(bad.kind.clone().into());
            }
            Ok(())
        })?;
        match end {
            End::Damaged(kind) if known != Some(&kind) => found(kind.into()),
            _ => {}
        }
        Ok(())
    }

    fn replayed(&self) -> Result<&Replayed> {
        self.log.as_ref().map_err(|kind| kind.clone().into())
    }
}

/// A data dir while it is opened.
struct Dir<'a> {
    path: &'a Path,
    snap: &'a Path,
    wal: &'a WalDir,
    replay: Replay,
    /// Whether to replay up to the first missing entry; otherwise a missing entry is an error.
    to_gap: bool,
    /// Whether a person chose what the log is read on top of.
    is_chosen: bool,
}

/// What a log is read on top of besides its own db, which it is, and what comes of it.
type OnOther = (Box<dyn Source>, Base, Replayed);

/// What a data dir is read as.
struct Found {
    below: Box<dyn Source>,
    instead: Option<Instead>,
    log: Result<Replayed, FindingKind>,
}

impl Dir<'_> {
    fn on_chosen(&self, path: &Path) -> Result<Found> {
        let below = open_base(path)?;
        ensure_whole(below.as_ref())?;
        let applied = match SourceFile::open(&self.snap.join("db")) {
            Ok(own) => self.applied_by(&own)?,
            Err(_) => 0,
        };
        let mut log = as_finding(self.log_on(below.as_ref(), Some(applied)))?;
        if let Ok(log) = &mut log
            && log.position.replayed_to < applied
        {
            log.notes.push(FindingKind::BaseBehindDb { last: log.position.replayed_to, applied });
        }
        Ok(Found { below, instead: Some(Instead { base: Base::At(path.into()), why: None, own: None }), log })
    }

    /// On the own db, else on what has most.
    fn on_any(&self, bases: &[&Path]) -> Result<Found> {
        let path = self.snap.join("db");
        let own = if files::metadata(&path)?.is_some() {
            match SourceFile::open(&path) {
                // A file of another program is not a db either.
                Err(Error::NotASource { found, .. }) => Err(FindingKind::Archive { defect: found.into() }),
                own => as_finding(own)?,
            }
        } else {
            Err(FindingKind::DbMissing { path })
        };
        let (own, why) = match own {
            Ok(own) => match self.on_own(&own, bases)? {
                Ok(log) => return Ok(Found { below: Box::new(own), instead: None, log: Ok(log) }),
                Err(why) => (Some(own), why),
            },
            Err(why) => (None, why),
        };
        if let Some(found) = self.on_received(&why)? {
            return Ok(found);
        }
        let applied = match &own {
            Some(own) => self.applied_by(own)?,
            None => 0,
        };
        let other = match (&own, &why) {
            // One of the two does not belong here, and the log need not be the one that does.
            (Some(_), FindingKind::BaseForeign { .. } | FindingKind::BaseTerm { .. }) => None,
            _ => self.on_other(bases, applied)?,
        };
        match (other, own) {
            // What the own db has applied is not given up for less.
            (Some((below, base, log)), own) if log.position.replayed_to >= applied => {
                let why = self.beside_raft_snapshot(why)?;
                let instead = Some(Instead { base, why: Some(why), own });
                Ok(Found { below, instead, log: Ok(log) })
            }
            (_, Some(own)) => Ok(Found { below: Box::new(own), instead: None, log: Err(why) }),
            (_, None) => Err(why.into()),
        }
    }

    /// Index of the last entry that the own db has applied; 0 where it does not tell, or is not of the log's history.
    fn applied_by(&self, own: &SourceFile) -> Result<u64> {
        let Ok(state) = as_finding(State::read(own))? else { return Ok(0) };
        let index = state.consistent_index.unwrap_or(0);
        let Ok(log) = as_finding(Log::scan(self.wal, index))? else { return Ok(0) };
        Ok(as_finding(Identity::of_ids(&state, None, &log))?.map_or(0, |_| index))
    }

    fn on_own(&self, own: &SourceFile, bases: &[&Path]) -> Result<Result<Replayed, FindingKind>> {
        let log = match as_finding(self.log_on(own, None))? {
            Ok(log) => log,
            Err(why) => return Ok(Err(why)),
        };
        let RaftPosition { consistent_index, replayed_to, .. } = log.position;
        // A replay reads all of it. Where there is another way, damage must show now.
        if replayed_to == consistent_index && (self.wal.has_start() || !bases.is_empty()) {
            let read = as_finding(own.revisions(&mut |_, _| Ok(())))?;
            return Ok(read.map(|()| log));
        }
        Ok(Ok(log))
    }

    /// On a db that came with the raft snapshot that the log goes on from, and waits to be put in the db's place
    /// (`server/storage/backend.go`, `RecoverSnapshotBackend`).
    fn on_received(&self, why: &FindingKind) -> Result<Option<Found>> {
        let snapshot = match why {
            FindingKind::DbBehindSnapshot { snapshot, .. } => *snapshot,
            FindingKind::DbMissing { .. } => match as_finding(Log::scan(self.wal, 0))? {
                Ok(log) => log.snapshot,
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let path = self.snap.join(format!("{snapshot:016x}.snap.db"));
        if files::metadata(&path)?.is_none() {
            return Ok(None);
        }
        let Ok(received) = as_finding(SourceFile::open(&path))? else { return Ok(None) };
        let log = as_finding(self.log_on(&received, None))?;
        Ok(log.ok().map(|log| Found { below: Box::new(received), instead: None, log: Ok(log) }))
    }

    /// etcd makes a missing db again from a log that begins with its cluster, but not beside a raft snapshot, which needs a
    /// db that has come as far (`server/storage/backend.go`, `RecoverSnapshotBackend`).
    fn beside_raft_snapshot(&self, why: FindingKind) -> Result<FindingKind> {
        if !matches!(why, FindingKind::DbMissing { .. }) {
            return Ok(why);
        }
        let Ok(log) = as_finding(Log::scan(self.wal, 0))? else { return Ok(why) };
        let snapshot = raft_snapshot::newest(self.snap, log.snapshot)?.map_or(0, |snapshot| snapshot.index);
        Ok(match snapshot {
            0 => why,
            snapshot => FindingKind::DbBehindSnapshot { consistent_index: 0, snapshot },
        })
    }

    /// etcd opens the log at its raft snapshot, and fails where no segment begins at or before that (`wal.selectWALFiles`).
    fn missing_start(&self, wal: &WalDir, log: &Log) -> Result<Option<FindingKind>> {
        let newest = raft_snapshot::newest(self.snap, u64::MAX)?.map_or(0, |snapshot| snapshot.index);
        let (first, snapshot) = (wal.first_index(), newest.max(log.snapshot));
        Ok((first > snapshot).then_some(FindingKind::WalStartMissing { first, snapshot }))
    }

    /// On what leads furthest: a db that came with a raft snapshot, one of these, or the empty store that the cluster
    /// began with. `applied` as in [`log_on`](Self::log_on).
    fn on_other(&self, bases: &[&Path], applied: u64) -> Result<Option<OnOther>> {
        let mut best: Option<OnOther> = None;
        for (base, below) in self.candidates(bases)? {
            if as_finding(ensure_whole(below.as_ref()))?.is_err() {
                continue;
            }
            let Ok(log) = as_finding(self.log_on(below.as_ref(), Some(applied)))? else { continue };
            let is_given = matches!(&base, Base::At(path) if bases.contains(&path.as_path()));
            if is_given && !self.is_chosen && log.is_of_weak_identity() {
                continue;
            }
            let is_better =
                |(.., best): &(_, _, Replayed)| log.position.replayed_to > best.position.replayed_to;
            if best.as_ref().is_none_or(is_better) {
                best = Some((below, base, log));
            }
            // What has all of the log is not surpassed.
            if best.as_ref().is_some_and(|(.., log)| log.gap.is_none()) {
                break;
            }
        }
        Ok(best)
    }

    /// What the log may go on from, what has most of it first.
    fn candidates(&self, bases: &[&Path]) -> Result<Vec<(Base, Box<dyn Source>)>> {
        let mut candidates: Vec<(u64, Base, Box<dyn Source>)> = Vec::new();
        let received = received(self.snap)?;
        for path in received.iter().map(PathBuf::as_path).chain(bases.iter().copied()) {
            let below = match open_base(path) {
                Err(
                    Error::Damaged(_)
                    | Error::Unreplayable(_)
                    | Error::NotASource { .. }
                    | Error::NotAFile { .. }
                    | Error::Refused(_),
                ) => continue,
                below => below?,
            };
            if let Ok(state) = as_finding(State::read(below.as_ref()))? {
                candidates.push((state.consistent_index.unwrap_or(0), Base::At(path.into()), below));
            }
        }
        candidates.sort_by_key(|(index, ..)| std::cmp::Reverse(*index));
        if let Ok(log) = as_finding(Log::scan(self.wal, 0))?
            && log.is_from_start
            && let Ok(nothing) = as_finding(Nothing::under(self.path, self.wal, log.status.last_index))?
        {
            candidates.push((0, Base::Nothing, Box::new(nothing)));
        }
        Ok(candidates.into_iter().map(|(_, base, below)| (base, below)).collect())
    }

    /// Replays the log over a base; behind a place that a crash left unwritten only where no entry is lost there. For a base
    /// that is not the own db, `applied` is the index of the last entry that the own db has applied, 0 where that is not
    /// known: the entries up to there were committed.
    fn log_on(&self, below: &dyn Source, applied: Option<u64>) -> Result<Replayed> {
        match self.replayed(self.wal, below, applied) {
            Err(Error::Damaged(FindingKind::WalEntriesMissing { .. })) if self.wal.is_torn_within()? => {
                self.replayed(&self.wal.up_to_torn(), below, applied)
            }
            replayed => replayed,
        }
    }

    fn replayed(&self, wal: &WalDir, below: &dyn Source, applied: Option<u64>) -> Result<Replayed> {
        let is_other = applied.is_some();
        let state = State::read(below)?;
        let consistent_index = state.consistent_index.unwrap_or(0);
        let log = Log::scan(wal, consistent_index)?;
        if let Some(kind) = log.damage.clone().filter(|_| !self.to_gap) {
            return Err(kind.into());
        }
        Identity::of_ids(&state, below.raft().map(|raft| raft.log.cluster_id), &log)?;
        if is_other && consistent_index > log.status.last_index {
            return Err(
                FindingKind::BaseAhead { index: consistent_index, last: log.status.last_index }.into()
            );
        }
        if consistent_index < log.snapshot && !leads_to_snapshot(wal, &log, consistent_index)? {
            let snapshot = log.snapshot;
            let kind = match is_other {
                true => FindingKind::BaseTooOld { index: consistent_index, after: snapshot },
                false => FindingKind::DbBehindSnapshot { consistent_index, snapshot },
            };
            return Err(kind.into());
        }
        let Counted { up_to, basis } = counted_over(self.replay, self.snap, wal, &log, &state)?;
        let up_to = up_to.max(applied.unwrap_or(0).min(log.status.last_index));
        let (entries, gap) = self.entries(wal, &log, consistent_index, up_to)?;
        let overlay = apply::replay(below, &state, &entries)?;
        let replayed_to = entries.up_to().max(consistent_index);
        let position = RaftPosition::of(&log, consistent_index, replayed_to, basis);
        let uncommitted = gap.is_none().then(|| {
            Uncommitted::beyond(&position, &overlay, || {
                apply::replay(below, &state, &Entries::find(wal, consistent_index, log.status.last_index)?)
            })
        });
        let mut notes = notes(&log, &position, &state, &overlay, uncommitted.flatten());
        notes.extend(v2_keys::find(self.snap, wal, &state)?);
        notes.extend(corrupt_alarm(below, &overlay, log.status.member_id)?);
        notes.extend(self.missing_start(wal, &log)?);
        if is_other && consistent_index > 0 {
            notes.push(FindingKind::BaseIdentity(Identity::of(below, &state, &log, wal)?));
        }
        Ok(Replayed { position, overlay, notes, gap })
    }

    fn entries<'w>(
        &self,
        wal: &'w WalDir,
        log: &Log,
        after: u64,
        up_to: u64,
    ) -> Result<(Entries<'w>, Option<LogGap>)> {
        if !self.to_gap {
            return Ok((Entries::find(wal, after, up_to)?, None));
        }
        let (entries, missing) = Entries::find_to_gap(wal, after, up_to.min(log.status.last_index))?;
        let first = entries.up_to().max(after).saturating_add(1);
        let bad = log.bad.iter().map(|bad| bad.kind.clone()).chain(log.damage.clone());
        if first > up_to {
            return Ok((entries, None));
        }
        let (problems, keys) = (bad.chain(missing).collect(), apply::keys_named(wal, first, up_to)?);
        Ok((entries, Some(LogGap { first, last: up_to, problems, keys })))
    }
}

/// How far a log counts over a db. Where a bad record keeps the log from saying who votes, the db does, which has what was
/// in that record.
pub(crate) fn counted_over(
    replay: Replay,
    snap: &Path,
    wal: &WalDir,
    log: &Log,
    state: &State,
) -> Result<Counted> {
    let found = counted(replay, snap, wal, log, state.consistent_index.unwrap_or(0))?;
    let is_asked = replay == Replay::Committed && found.basis == CommitBasis::CommitIndex;
    if is_asked && log.bad.iter().any(|bad| bad.is_lost) && is_alone(log, state) {
        return Ok(Counted {
            up_to: log.status.commit.max(log.status.last_index),
            basis: CommitBasis::OnlyVoter,
        });
    }
    Ok(found)
}

/// Whether a db and the conf changes of a log know no voter but the log's own member.
fn is_alone(log: &Log, state: &State) -> bool {
    let conf_state = state.conf_state.as_deref().map(serde_json::from_str::<ConfState>);
    let is_only_voter = match conf_state {
        Some(Ok(conf_state)) => conf_state.voters == [log.status.member_id.0],
        _ => false,
    };
    let mut others = state.members.iter().map(|member| member.id).chain(log.named.iter().map(|(_, id)| *id));
    is_only_voter && others.all(|id| id == log.status.member_id)
}

/// Dbs that came with raft snapshots and were never put in the db's place.
fn received(snap: &Path) -> Result<Vec<PathBuf>> {
    let mut received = Vec::new();
    if files::metadata(snap)?.is_none() {
        return Ok(received);
    }
    for entry in fs_err::read_dir(snap)? {
        let path = entry?.path();
        let is_received = path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".snap.db"));
        if is_received {
            received.push(path);
        }
    }
    Ok(received)
}

fn open_base(path: &Path) -> Result<Box<dyn Source>> {
    open_on(path, Replay::Committed, None, Bases::Own)
}

/// Damage, or what is not computed here, as a value; other errors stay errors.
fn as_finding<T>(result: Result<T>) -> Result<Result<T, FindingKind>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Damaged(kind) | Error::Unreplayable(kind)) => Ok(Err(kind)),
        Err(error) => Err(error),
    }
}

/// Whether an etcd has the db of a data dir open: bbolt holds an `flock` on it. A file system that knows no locks cannot
/// tell.
///
/// # Errors
/// The db cannot be opened, or is not a regular file.
pub fn is_in_use(data_dir: &Path) -> Result<bool> {
    let db = member_dir(data_dir)?.join("snap").join("db");
    Ok(try_lock(&open_regular(&db)?) == Err(Errno::WOULDBLOCK))
}

fn try_lock(db: &fs_err::File) -> Result<(), Errno> {
    flock(db.file(), FlockOperation::NonBlockingLockShared)
}

/// Refuses a db that an etcd has open, and keeps one from opening it.
pub(crate) fn lock(db: &Path) -> Result<Option<fs_err::File>> {
    if files::metadata(db)?.is_none() {
        return Ok(None);
    }
    let file = open_regular(db)?;
    match try_lock(&file) {
        Err(Errno::WOULDBLOCK) => Err(Error::Refused(format!(
            "an etcd is running on {}: stop the member first, or save a snapshot of it",
            db.display()
        ))),
        _ => Ok(Some(file)),
    }
}

/// Whether the log has every entry from the db on to the snapshot that it says it goes on from, so that the db leads
/// there too.
pub(crate) fn leads_to_snapshot(wal: &WalDir, log: &Log, consistent_index: u64) -> Result<bool> {
    let Ok(entries) = as_finding(Entries::find(wal, consistent_index, log.snapshot))? else {
        return Ok(false);
    };
    let mut leads = false;
    entries.each(&mut |entry| {
        leads |= (entry.index, entry.term) == (Some(log.snapshot), Some(log.snapshot_term));
        Ok(())
    })?;
    Ok(leads)
}

/// Notes and warnings about a usable log and the changes in it.
pub(crate) fn notes(
    log: &Log,
    position: &RaftPosition,
    state: &State,
    overlay: &Overlay,
    uncommitted: Option<Uncommitted>,
) -> Vec<FindingKind> {
    let member = log.status.member_id;
    let mut removed = overlay.pairs(Bucket::MembersRemoved).map(|(key, _)| key);
    let is_removed =
        state.members_removed.contains(&member) || removed.any(|key| key == member.to_string().as_bytes());
    let removed = is_removed.then_some(FindingKind::MemberRemoved { member });
    let RaftPosition {
        log: LogStatus { last_index: last, commit, .. },
        consistent_index,
        replayed_to,
        basis,
    } = *position;
    let torn = log.torn.clone();
    let torn = torn.map(|torn| FindingKind::WalTorn { segment: torn.segment, offset: torn.offset });
    let behind = (last < consistent_index).then_some(FindingKind::WalBehindDb { last, consistent_index });
    let first = commit.max(consistent_index).saturating_add(1);
    let only_voter = basis == CommitBasis::OnlyVoter && replayed_to >= first;
    let only_voter = only_voter.then_some(FindingKind::WalOnlyVoter { first, last: replayed_to });
    let uncommitted = uncommitted.map(FindingKind::WalUncommitted);
    let count = log.bad.len();
    let read_on =
        log.bad.first().map(|bad| FindingKind::WalReadOn { first: Box::new(bad.kind.clone()), count });
    [torn, behind, only_voter, uncommitted, removed, read_on].into_iter().flatten().collect()
}

/// Whether the state that a log leads to has a CORRUPT alarm for the log's own member, or for one that etcd could not tell.
fn corrupt_alarm(below: &dyn Source, overlay: &Overlay, member: MemberId) -> Result<Option<FindingKind>> {
    let mut state = State::default();
    let read = |visit: VisitPair<'_>| below.metadata_bucket(Bucket::Alarm, visit);
    overlay.metadata_bucket(read, Bucket::Alarm, &mut |key, value| {
        // What does not decode is a finding of its own.
        let _ = state.take(Bucket::Alarm, key, value);
        Ok(())
    })?;
    let is_raised =
        |member: &MemberId| state.alarms.contains(&Alarm { member: *member, kind: AlarmKind::Corrupt });
    Ok([member, MemberId(0)].into_iter().find(is_raised).map(|member| FindingKind::CorruptAlarm { member }))
}

impl Source for SourceDir {
    fn origin(&self) -> Origin {
        let base = self.instead.as_ref().map(|instead| instead.base.clone());
        Origin { path: self.path.clone(), kind: "data-dir", base, ..self.below.origin() }
    }

    fn raft(&self) -> Option<RaftPosition> {
        self.log.as_ref().ok().map(|replayed| replayed.position)
    }

    fn notes(&self) -> &[FindingKind] {
        self.log.as_ref().map_or(&[], |replayed| &replayed.notes)
    }

    fn unusable(&self) -> Option<&FindingKind> {
        self.log.as_ref().err()
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.replayed()?.overlay.each_revision(|below| self.below.revisions(below), visit)
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        self.replayed()?.overlay.metadata_bucket(
            |below| self.below.metadata_bucket(bucket, below),
            bucket,
            visit,
        )
    }

    fn verify_integrity(&self, _progress: &dyn Progress) -> Result<Integrity> {
        self.ensure_plausible().map(|()| Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        self.below.ensure_plausible()
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        if let Some(Instead { why, own, .. }) = &self.instead {
            why.iter().for_each(|kind| found(kind.clone().into()));
            if let Some(own) = own {
                let known = |finding: &Finding| why.as_ref() == Some(&finding.kind);
                own.check_container(
                    &mut |finding| {
                        if !known(&finding) {
                            found(finding);
                        }
                    },
                    &mut |_, _, _| {},
                )?;
            }
        }
        let unusable = self.log.as_ref().err();
        unusable.into_iter().for_each(|kind| found(kind.clone().into()));
        self.check_log(unusable, found)?;
        let Ok(Replayed { overlay, notes, .. }) = &self.log else {
            return self.below.check_container(found, visit);
        };
        let is_said = |kind: &&FindingKind| matches!(kind, FindingKind::WalReadOn { .. });
        notes.iter().filter(|kind| !is_said(kind)).for_each(|kind| found(kind.clone().into()));
        self.below.check_container(found, &mut |bucket, key, value| {
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
