//! What every action works with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lifeboat_client::Client;

use crate::host::{Command, Host, Output};
use crate::inventory::{Inventory, MemberSpec};
use crate::journal::{Entry, Event, Journal, JournalError};
use crate::plan::Plan;
use crate::probe::Access;

use super::error::StepError;

/// What every action works with.
pub struct Context<'a> {
    /// What the cluster is meant to be.
    pub inventory: &'a Inventory,
    /// The ways to machines, members, API servers and the cloud.
    pub access: &'a Access,
    /// The plan that is done.
    pub plan: &'a Plan,
    /// Where the operation keeps its files on this machine.
    pub dir: &'a Path,
    /// The journal of the operation.
    pub journal: Mutex<&'a mut Journal>,
}

impl Context<'_> {
    /// Writes to the journal.
    pub(super) fn record(&self, event: Event) -> Result<(), JournalError> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).record(event)
    }

    /// Writes down what a later run must know.
    pub(super) fn note(&self, step: u32, note: String) -> Result<(), StepError> {
        Ok(self.record(Event::Note { step, note })?)
    }

    /// What was written down during a step of this plan, in this run or an earlier one.
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
        let output = self.host(host)?.run(&self.guarded(host, command).exclusive()).await?;
        if output.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(StepError::Fatal(format!("{host}: {name}: exit code {}: {said}", output.code)))
    }

    /// What a command that must succeed writes.
    pub(super) async fn ask(&self, host: &str, command: Command) -> Result<String, StepError> {
        let name = command.to_string();
        let output = self.host(host)?.run(&command).await?;
        if output.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(StepError::Fatal(format!("{host}: {name}: exit code {}: {said}", output.code)))
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
