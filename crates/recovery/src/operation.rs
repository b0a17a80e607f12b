//! Operations on disk: `.lifeboat/` beside the inventory holds the lock of this machine, and a directory for every
//! recovery with its plans, facts and journal.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use jiff::Timestamp;
use serde::Serialize;
use std::io::Write;

use crate::facts::PendingOperation;
use crate::inventory::Inventory;
use crate::journal::{Entry, Event, Journal, JournalError};
use crate::ownership::{OwnershipError, ensure_own};
use crate::plan::{Plan, PlanMismatch, is_id, new_id};

/// Outcome of an operation that recovered the cluster.
pub const RECOVERED: &str = "recovered";

/// Why an operation cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// Another Lifeboat works on this cluster from this machine.
    #[error("another lifeboat on this machine is working on this cluster (lock: {})", .0.display())]
    Busy(PathBuf),
    /// An earlier operation is unfinished.
    #[error(
        "operation {0} is unfinished: continue with `lifeboat recover resume`, or abandon it as it is with `lifeboat recover \
         abandon`"
    )]
    Unfinished(String),
    /// An operation that is being rolled back cannot be resumed.
    #[error("operation {0} is being rolled back: continue with `lifeboat recover rollback`")]
    RollingBack(String),
    /// Operations are kept beside the inventory, and this one is of another cluster.
    #[error(
        "{id} belongs to cluster {theirs}, the inventory to {ours}: pass the inventory of {theirs} with \
         --inventory, and keep each cluster's inventory in its own directory"
    )]
    OtherCluster {
        /// The operation or the plan.
        id: String,
        /// Cluster name in the operation's plan.
        theirs: String,
        /// Cluster name in the inventory.
        ours: String,
    },
    /// There is nothing to resume.
    #[error("there is no unfinished operation")]
    Nothing,
    /// A plan file that is not there or not one.
    #[error("{}: {why}", path.display())]
    BadPlan {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A plan that names what the inventory does not have.
    #[error("{}: {why}", path.display())]
    ForeignPlan {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        why: PlanMismatch,
    },
    /// A plan that takes its state from a file that is neither in the inventory nor in `--source`.
    #[error(
        "the plan restores {}, which the inventory does not list under snapshots: if that is the state to restore, add \
         --source {}", .0.display(), .0.display()
    )]
    UnlistedSnapshot(PathBuf),
    /// A file of an operation was not made by Lifeboat.
    #[error("{}: {why}", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Somebody else can change the operation's files or the plan.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The journal in an operation's directory.
const JOURNAL: &str = "journal.jsonl";
/// Outcome of an abandoned operation.
const ABANDONED: &str = "abandoned";

/// The directory of operations, locked for as long as this lives.
#[derive(Debug)]
pub struct Operations {
    dir: PathBuf,
    _lock: fs::File,
}

/// What an operation did.
#[derive(Debug)]
pub struct Past {
    /// Accepted plans, oldest first.
    pub plans: Vec<Plan>,
    /// Journal entries, oldest first.
    pub journal: Vec<Entry>,
    /// Whether it has ended.
    pub ended: bool,
}

/// An operation on disk: its directory, plans and journal.
#[derive(Debug)]
pub struct Operation {
    /// Its unique name: the time it began and a few random letters.
    pub id: String,
    /// Where its files are.
    pub dir: PathBuf,
    /// Journal that new entries are appended to.
    pub journal: Journal,
}

impl Operations {
    /// The directory of the operations on the cluster of this inventory.
    pub fn dir(inventory: &Path) -> PathBuf {
        inventory.parent().unwrap_or(Path::new("")).join(".lifeboat")
    }

    /// The unfinished operation, if any, unless it is running now. Read-only.
    ///
    /// # Errors
    /// The directory or the journal cannot be read.
    pub fn pending(inventory: &Path) -> Result<Option<PendingOperation>, OperationError> {
        let dir = Self::dir(inventory);
        if !dir.exists() {
            return Ok(None);
        }
        // A running one is not pending.
        let at_work = fs::File::open(dir.join("lock"))
            .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
        let id = if at_work { None } else { unfinished(&dir)? };
        let Some(id) = id else { return Ok(None) };
        let journal = dir.join(&id).join(JOURNAL);
        let entries = Journal::read(&journal)?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
        let (started, last_entry) = (first.at, last.at);
        Ok(Some(PendingOperation { id, started, last_entry, last: words(&last.event), journal }))
    }

    /// The plans and journals of operations that were at work after a time and did not recover the cluster. One that is
    /// damaged is left out: it only says what not to try again.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn since(path: &Path, inventory: &Inventory, time: Timestamp) -> Result<Vec<Past>, OperationError> {
        let dir = Self::dir(path);
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let dir = entry?.path();
            let Ok(entries) = Journal::read(&dir.join(JOURNAL)) else { continue };
            let recovered = |entry: &Entry| matches!(&entry.event, Event::Ended { how } if how == RECOVERED);
            if entries.last().is_none_or(|last| last.at < time) || entries.iter().any(recovered) {
                continue;
            }
            let plans = entries.iter().filter_map(|entry| match &entry.event {
                Event::Plan { plan } if is_id(plan) => {
                    load_plan(&dir.join(format!("{plan}.json")), inventory).ok()
                }
                _ => None,
            });
            let ended = entries.iter().any(|entry| matches!(entry.event, Event::Ended { .. }));
            found.push(Past { plans: plans.collect(), journal: entries, ended });
        }
        Ok(found)
    }

    /// Takes the lock of this machine. The kernel gives it back when the process dies.
    ///
    /// # Errors
    /// [`OperationError::Busy`], or the directory cannot be made.
    pub fn lock(inventory: &Path) -> Result<Self, OperationError> {
        let dir = Self::dir(inventory);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        ensure_plain(&dir, fs::symlink_metadata(&dir)?.is_dir())?;
        ensure_own(&dir)?;
        let path = dir.join("lock");
        if let Ok(found) = fs::symlink_metadata(&path) {
            ensure_plain(&path, found.is_file())?;
        }
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(OperationError::Busy(path)),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Begins an operation.
    ///
    /// # Errors
    /// [`OperationError::Unfinished`] while another has not ended.
    pub fn begin(&self, rounds: bool) -> Result<Operation, OperationError> {
        if let Some(id) = unfinished(&self.dir)? {
            return Err(OperationError::Unfinished(id));
        }
        let id = new_id();
        let dir = self.dir.join(&id);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        fs::File::open(&self.dir)?.sync_all()?;
        let mut journal = Journal::create(&dir.join(JOURNAL))?;
        journal.record(Event::Started { rounds })?;
        Ok(Operation { id, dir, journal })
    }

    /// Opens the unfinished operation.
    ///
    /// # Errors
    /// [`OperationError::Nothing`] when every one has.
    pub fn resume(&self) -> Result<Operation, OperationError> {
        let id = unfinished(&self.dir)?.ok_or(OperationError::Nothing)?;
        self.open(&id)
    }

    /// Opens the operation to roll back: the unfinished one, else the newest if it was abandoned.
    ///
    /// # Errors
    /// [`OperationError::Nothing`] when neither is there.
    pub fn to_roll_back(&self) -> Result<Operation, OperationError> {
        let id = match unfinished(&self.dir)? {
            Some(id) => id,
            None => self.names()?.pop().ok_or(OperationError::Nothing)?,
        };
        let operation = self.open(&id)?;
        let last = operation.journal.entries().last().map(|entry| &entry.event);
        match last {
            Some(Event::Ended { how }) if how == ABANDONED => Ok(operation),
            Some(Event::Ended { .. }) | None => Err(OperationError::Nothing),
            Some(_) => Ok(operation),
        }
    }

    fn open(&self, id: &str) -> Result<Operation, OperationError> {
        let dir = self.dir.join(id);
        ensure_own_journal(&dir)?;
        let journal = Journal::open(&dir.join(JOURNAL))?;
        Ok(Operation { id: id.to_owned(), dir, journal })
    }

    /// The ids of the plans that an operation accepted.
    pub fn plans_of(&self, id: &str) -> Vec<String> {
        plan_files(&self.dir.join(id))
    }

    /// The operations, oldest first.
    fn names(&self) -> Result<Vec<String>, OperationError> {
        names(&self.dir)
    }

    /// Ends the unfinished operation. A damaged journal is renamed, so that the operation is no longer found.
    ///
    /// # Errors
    /// [`OperationError::OtherCluster`], or there is none.
    pub fn abandon(&self, inventory: &Inventory) -> Result<String, OperationError> {
        let mut operation = match self.resume() {
            Err(OperationError::Journal(JournalError::Damaged { path, .. })) => return set_aside(&path),
            other => other?,
        };
        // A missing or invalid plan does not name its cluster, and must not prevent abandoning.
        if let Err(error @ OperationError::OtherCluster { .. }) = operation.plans(inventory) {
            return Err(error);
        }
        operation.journal.record(Event::Ended { how: ABANDONED.into() })?;
        Ok(operation.id)
    }
}

/// A journal entry in a few words.
fn words(event: &Event) -> String {
    match event {
        Event::Started { .. } => "started".into(),
        Event::Plan { plan } => format!("plan {plan} was accepted"),
        Event::Begin { step, title } => format!("step {step} began: {title}"),
        Event::Note { step, .. } => format!("step {step} was under way"),
        Event::Done { step, .. } => format!("step {step} was done"),
        Event::Failed { step, why } => format!("step {step} failed: {why}"),
        Event::RollingBack { plan } => format!("plan {plan} is being rolled back"),
        Event::Undone { step } => format!("step {step} was undone"),
        Event::PlanDone { plan } => format!("plan {plan} was done"),
        Event::Ended { how } => how.clone(),
    }
}

/// The operations in a directory, oldest first.
fn names(dir: &Path) -> Result<Vec<String>, OperationError> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_id(name) && fs::symlink_metadata(dir.join(name).join(JOURNAL)).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// The newest operation whose journal does not say that it ended. One without a first entry never began.
fn unfinished(dir: &Path) -> Result<Option<String>, OperationError> {
    for name in names(dir)?.into_iter().rev() {
        let dir = dir.join(&name);
        let path = dir.join(JOURNAL);
        ensure_own_journal(&dir)?;
        let entries = Journal::read(&path)?;
        let ended = |entry: &Entry| matches!(entry.event, Event::Ended { .. });
        if !entries.is_empty() && !entries.iter().any(ended) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Refuses an operation that others can change, or that is behind a link: it would be written elsewhere.
fn ensure_own_journal(dir: &Path) -> Result<(), OperationError> {
    let path = dir.join(JOURNAL);
    ensure_plain(dir, fs::symlink_metadata(dir)?.is_dir())?;
    ensure_plain(&path, fs::symlink_metadata(&path)?.is_file())?;
    Ok(ensure_own(&path)?)
}

fn ensure_plain(path: &Path, is_so: bool) -> Result<(), OperationError> {
    let why = "a link or another kind of file is in place of a lifeboat file";
    if is_so { Ok(()) } else { Err(OperationError::Foreign { path: path.into(), why }) }
}

impl Operation {
    /// Saves a plan, then journals that it was accepted.
    ///
    /// # Errors
    /// It could not be written.
    pub fn accept(&mut self, plan: &Plan) -> Result<(), OperationError> {
        write_json(&self.dir.join(format!("{}.json", plan.id)), plan)?;
        self.journal.record(Event::Plan { plan: plan.id.clone() })?;
        Ok(())
    }

    /// The plan that was accepted last and is not done, with the journal from there on.
    ///
    /// # Errors
    /// The plan's file is gone or damaged, or its plan is for another inventory.
    pub fn current(&self, inventory: &Inventory) -> Result<Option<(Plan, Vec<Entry>)>, OperationError> {
        let entries = self.journal.entries();
        let last = entries.iter().rposition(|entry| matches!(entry.event, Event::Plan { .. }));
        let Some((position, Event::Plan { plan })) =
            last.and_then(|at| entries.get(at).map(|entry| (at, &entry.event)))
        else {
            return Ok(None);
        };
        let since: Vec<Entry> = entries.iter().skip(position + 1).cloned().collect();
        if since.iter().any(|entry| matches!(entry.event, Event::PlanDone { .. })) {
            return Ok(None);
        }
        Ok(Some((self.plan(plan, inventory)?, since)))
    }

    /// The plans it has accepted, in order.
    ///
    /// # Errors
    /// A plan's file is gone or damaged, or its plan is for another inventory.
    pub fn plans(&self, inventory: &Inventory) -> Result<Vec<Plan>, OperationError> {
        let accepted = self.journal.entries().iter().filter_map(|entry| match &entry.event {
            Event::Plan { plan } => Some(self.plan(plan, inventory)),
            _ => None,
        });
        accepted.collect()
    }

    /// A plan of it, by its id. That comes from the journal, and must not lead out of the operation's directory.
    fn plan(&self, id: &str, inventory: &Inventory) -> Result<Plan, OperationError> {
        let path = self.dir.join(format!("{id}.json"));
        let why = "its journal names a plan that lifeboat did not make";
        if !is_id(id) {
            return Err(OperationError::Foreign { path: self.dir.clone(), why });
        }
        if let Ok(found) = fs::symlink_metadata(&path) {
            ensure_plain(&path, found.is_file())?;
        }
        let plan = load_plan(&path, inventory)?;
        if plan.id == id { Ok(plan) } else { Err(OperationError::Foreign { path, why }) }
    }

    /// Whether it goes on with further rounds after a plan.
    pub fn has_rounds(&self) -> bool {
        self.journal.entries().iter().any(|entry| matches!(entry.event, Event::Started { rounds: true }))
    }

    /// How many plans it has accepted.
    pub fn rounds(&self) -> usize {
        self.journal.entries().iter().filter(|entry| matches!(entry.event, Event::Plan { .. })).count()
    }

    /// The others of this machine. All of them have ended: none begins before.
    pub fn past(&self) -> Vec<String> {
        let names = self.dir.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten();
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let others = names.filter(|name| is_id(name) && *name != self.id);
        others.filter(|name| self.dir.with_file_name(name).is_dir()).collect()
    }

    /// Whether its plan is being rolled back.
    pub fn is_rolling_back(&self) -> bool {
        self.journal.entries().iter().any(|entry| matches!(entry.event, Event::RollingBack { .. }))
    }

    /// The ids of all plans that the other operations of this machine accepted.
    pub fn past_plans(&self) -> Vec<String> {
        let parent = self.dir.parent().unwrap_or(Path::new(""));
        self.past().into_iter().flat_map(|name| plan_files(&parent.join(name))).collect()
    }

    /// Whole minutes since its last journal entry.
    pub fn idle_minutes(&self) -> i64 {
        let last = self.journal.entries().last();
        last.map_or(0, |entry| Timestamp::now().duration_since(entry.at).as_secs() / 60)
    }

    /// When it began.
    pub fn started(&self) -> Option<Timestamp> {
        self.journal.entries().first().map(|entry| entry.at)
    }
}

/// The ids of the plans in an operation's directory.
fn plan_files(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten();
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    // Parts of paths that are removed on machines.
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).filter(|id| is_id(id)).collect()
}

/// Refuses what was decided for another cluster than the inventory's.
///
/// # Errors
/// [`OperationError::OtherCluster`].
pub fn ensure_is_of(id: &str, cluster: &str, inventory: &Inventory) -> Result<(), OperationError> {
    if cluster == inventory.cluster {
        return Ok(());
    }
    let (theirs, ours) = (cluster.into(), inventory.cluster.clone());
    Err(OperationError::OtherCluster { id: id.into(), theirs, ours })
}

/// Gives a damaged journal another name, which no operation is looked for under; the id of its operation.
fn set_aside(journal: &Path) -> Result<String, OperationError> {
    let to = journal.with_extension("jsonl.damaged");
    fs::rename(journal, &to)?;
    let dir = journal.parent().unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()?;
    Ok(dir.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Reads a plan file, which must be for this inventory and name nothing else.
///
/// # Errors
/// [`OperationError::BadPlan`], [`OperationError::OtherCluster`], [`OperationError::ForeignPlan`],
/// [`OperationError::Ownership`].
pub fn load_plan(path: &Path, inventory: &Inventory) -> Result<Plan, OperationError> {
    ensure_own(path)?;
    let bad = |why: String| OperationError::BadPlan { path: path.into(), why };
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            bad("no such file; `lifeboat recover plan --out FILE` writes a plan".into())
        }
        _ => bad(error.to_string()),
    })?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| bad(format!("not a plan: {error}")))?;
    if plan.schema_version != crate::plan::SCHEMA_VERSION {
        return Err(bad(format!("a plan of version {}; this lifeboat reads version 1", plan.schema_version)));
    }
    ensure_is_of(&plan.id, &plan.cluster, inventory)?;
    plan.checked(inventory).map_err(|why| OperationError::ForeignPlan { path: path.into(), why })
}

/// Writes a value as JSON, 0600: beside, synced, renamed, directory synced.
///
/// # Errors
/// It could not be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of plans are parts of paths that are removed on machines.
    #[test]
    fn files_that_are_not_plans_name_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20261124-030000-abcd.json", "...json", "-rf.json", "x y.json", "other"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(plan_files(dir.path()), ["20261124-030000-abcd"]);
    }

    /// A rollback opens an operation that has ended too.
    #[test]
    fn an_abandoned_operation_behind_a_link_is_not_rolled_back() {
        let dir = tempfile::tempdir().unwrap();
        let operations = Operations::lock(&dir.path().join("lifeboat.yaml")).unwrap();
        let mut operation = operations.begin(true).unwrap();
        operation.journal.record(Event::Ended { how: ABANDONED.into() }).unwrap();
        assert!(operations.to_roll_back().is_ok());
        let (journal, elsewhere) = (operation.dir.join(JOURNAL), dir.path().join("elsewhere"));
        fs::rename(&journal, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &journal).unwrap();
        assert!(matches!(operations.to_roll_back(), Err(OperationError::Foreign { .. })));
    }
}
