//! What every action works with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lifeboat_client::Client;
use tokio::sync::OnceCell;

use crate::host::{Command, Host, Output, one_line};
use crate::inventory::{Inventory, MemberSpec};
use crate::journal::{Entry, Event, Journal, JournalError};
use crate::plan::Plan;
use crate::probe::Access;
use crate::probe::snapshots::disk_bytes;

use super::error::StepError;

/// What every action works with.
pub struct Context<'a> {
    /// The inventory of the cluster.
    pub inventory: &'a Inventory,
    /// Connections to machines, members, API servers and the cloud.
    pub access: &'a Access,
    /// The plan that is done.
    pub plan: &'a Plan,
    /// Where the operation keeps its files on this machine.
    pub dir: &'a Path,
    /// Machines whose reboot was approved.
    pub may_reboot: BTreeSet<String>,
    journal: Mutex<&'a mut Journal>,
    /// What is being done, for the journals of machines.
    doing: Mutex<String>,
    /// The most bytes that the plan's snapshot takes on a disk.
    snapshot_bytes: OnceCell<u64>,
}

impl<'a> Context<'a> {
    /// What every action of `plan` works with; `dir` is where its operation keeps its files on this machine.
    pub fn new(
        inventory: &'a Inventory,
        access: &'a Access,
        plan: &'a Plan,
        dir: &'a Path,
        journal: &'a mut Journal,
    ) -> Self {
        Self {
            inventory,
            access,
            plan,
            dir,
            may_reboot: BTreeSet::new(),
            journal: Mutex::new(journal),
            doing: Mutex::default(),
            snapshot_bytes: OnceCell::new(),
        }
    }
}

impl Context<'_> {
    /// Sets the step that following changes on machines are logged for.
    pub(super) fn doing(&self, what: &str) {
        let operation = self.dir.file_name().unwrap_or_default().to_string_lossy();
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = format!("operation {operation}, {what}");
    }

    /// The most bytes that the plan's snapshot takes on a disk; asked once, since a packed one is unpacked for it.
    pub(super) async fn snapshot_bytes(&self, path: &Path) -> Option<u64> {
        let ask = || async {
            let path = path.to_path_buf();
            tokio::task::spawn_blocking(move || disk_bytes(&path).ok()).await.ok().flatten().ok_or(())
        };
        self.snapshot_bytes.get_or_try_init(ask).await.ok().copied()
    }

    /// Writes to the journal.
    pub(super) fn record(&self, event: Event) -> Result<(), JournalError> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).record(event)
    }

    /// Records a note for later runs.
    pub(super) fn note(&self, step: u32, note: String) -> Result<(), StepError> {
        Ok(self.record(Event::Note { step, note })?)
    }

    /// Notes of a step of this plan, from this run or an earlier one.
    pub(super) fn notes(&self, step: u32) -> Vec<String> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = journal.entries();
        let plan = |entry: &Entry| matches!(&entry.event, Event::Plan { plan } if *plan == self.plan.id);
        let start = entries.iter().rposition(plan).unwrap_or(0);
        let notes = entries.iter().skip(start).filter_map(|entry| match &entry.event {
            Event::Note { step: noted, note } if *noted == step => Some(note.clone()),
            _ => None,
        });
        notes.collect()
    }

    /// The steps of this plan that have failed and were not done since.
    pub(super) fn failed_steps(&self) -> Vec<u32> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = |entry: &Entry| matches!(&entry.event, Event::Plan { plan } if *plan == self.plan.id);
        let mut failed = Vec::new();
        let start = journal.entries().iter().rposition(plan).unwrap_or(0);
        for entry in journal.entries().iter().skip(start) {
            match entry.event {
                Event::Failed { step, .. } => failed.push(step),
                Event::Done { step, .. } => failed.retain(|known| *known != step),
                _ => {}
            }
        }
        failed
    }

    /// Notes of all steps of this plan, in order.
    pub(super) fn all_notes(&self) -> Vec<String> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = journal.entries();
        let start = entries.iter().rposition(|entry| matches!(entry.event, Event::Plan { .. })).unwrap_or(0);
        let notes = entries.iter().skip(start).filter_map(|entry| match &entry.event {
            Event::Note { note, .. } => Some(note.clone()),
            _ => None,
        });
        notes.collect()
    }

    /// Whether a run of this plan has found a step done.
    pub(super) fn is_done(&self, step: u32) -> bool {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = journal.entries();
        let start = entries.iter().rposition(|entry| matches!(entry.event, Event::Plan { .. })).unwrap_or(0);
        let is_done = |entry: &Entry| matches!(entry.event, Event::Done { step: done, .. } if done == step);
        entries.iter().skip(start).any(is_done)
    }

    pub(super) fn host(&self, name: &str) -> Result<&Arc<dyn Host>, StepError> {
        let unknown = || StepError::Fatal(format!("the inventory has no host {name}"));
        self.access.hosts.get(name).ok_or_else(unknown)
    }

    pub(super) fn member(&self, name: &str) -> Result<&MemberSpec, StepError> {
        let unknown = || StepError::Fatal(format!("the inventory has no etcd member {name}"));
        self.inventory.etcd.members.get(name).ok_or_else(unknown)
    }

    pub(super) async fn etcd(&self, member: &str) -> Result<Client, StepError> {
        Ok(self.access.etcd(member).await?)
    }

    /// The id that a machine must have: the inventory's, or else the one it had when the plan was made.
    pub(super) fn machine_id(&self, host: &str) -> Option<&str> {
        let inventory = self.inventory.hosts.get(host).and_then(|spec| spec.machine_id.as_ref());
        inventory.or_else(|| self.plan.machine_ids.get(host)).map(String::as_str)
    }

    /// The same command, and it does nothing on another machine than the one that is meant.
    pub(super) fn guarded(&self, host: &str, command: Command) -> Command {
        match self.machine_id(host) {
            Some(id) => command.on_machine(id),
            None => command,
        }
    }

    /// Runs a command that must succeed on a machine, after whatever an earlier run left running there, and only if it is
    /// the machine that the inventory means.
    pub(super) async fn change(&self, host: &str, command: Command) -> Result<Output, StepError> {
        let name = command.to_string();
        let line = self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let command = self.guarded(host, command.logged(&line));
        let output = self.host(host)?.run(&command.exclusive()).await?;
        if output.success() {
            return Ok(output);
        }
        Err(StepError::Fatal(failed(host, &one_line(&output.stderr), &name, output.code)))
    }

    /// Leaves a line in a machine's journal for what changes it otherwise than by a command.
    pub(super) async fn announce(&self, host: &str) -> Result<(), StepError> {
        self.change(host, Command::new(["true"])).await.map(drop)
    }

    /// What a command that must succeed writes.
    pub(super) async fn ask(&self, host: &str, command: Command) -> Result<String, StepError> {
        let name = command.to_string();
        let output = self.host(host)?.run(&command).await?;
        if output.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(StepError::Fatal(failed(host, &one_line(&output.stderr), &name, output.code)))
    }

    /// Where the state to restore lies on machines that were sent it.
    pub(super) fn remote_state(&self) -> PathBuf {
        self.remote_dir().join("state.db")
    }

    /// Where this plan keeps its files on machines.
    pub(super) fn remote_dir(&self) -> PathBuf {
        Path::new("/var/lib/lifeboat").join(&self.plan.id)
    }
}

/// The error comes first, the command last.
fn failed(host: &str, said: &str, command: &str, code: i32) -> String {
    match said {
        "" => format!("{host}: {command}: exit code {code}"),
        said => format!("{host}: {said} (exit code {code} of {command})"),
    }
}
