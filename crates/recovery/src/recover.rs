//! A recovery from start to end: rounds of observe, decide, confirm, act, until nothing is found.

mod error;
mod report;
mod resume;
mod rollback;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::execute::{Context, ExecuteError, OperatorLock, Progress, Undo, execute, forget, sweep};
use crate::facts::{Facts, SnapshotIdentity};
use crate::finding::Diagnosis;
use crate::inventory::Inventory;
use crate::journal::{Entry, Event, GIVEN_UP};
use crate::operation::{Operation, OperationError, Operations, RECOVERED};
use crate::plan::{Action, Plan, StateSource, Step, derived_id, new_id};
use crate::planner::{
    OwnIdentity, PlanError, PlanOptions, Tried, drift, fingerprint, plan, restores, unused,
};
use crate::probe::{Access, ProbeOptions, observe, snapshots};
use crate::rules::diagnose;
pub use error::{Declined, RecoverError};
pub use report::{Report, StepReport};
pub use rollback::RollbackReport;

/// Maximum number of rounds; beyond it the plans do not help.
const MAX_ROUNDS: usize = 8;
/// How often to look where nothing is wrong and not all is known, and how long to wait in between: what was just
/// started may not answer yet.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// A plan that was looked at for longer than this is compared with what is now before it is done.
const FRESH: Duration = Duration::from_secs(10);

/// How long a remedy that did not help is not retried.
const REMEMBER: SignedDuration = SignedDuration::from_mins(30);

/// The person who runs Lifeboat.
pub trait Desk {
    /// Shows the findings and the plan.
    fn show(&mut self, round: usize, diagnosis: &Diagnosis, plan: &Plan);
    /// Asks whether to do it.
    fn confirm(&mut self, plan: &Plan) -> bool;
    /// Asks whether a machine may be rebooted, should its node still not be Ready by then.
    fn confirm_reboot(&mut self, step: &Step) -> bool;
    /// Shows an interrupted operation and the remaining steps of its plan.
    fn resuming(&mut self, operation: &Operation, plan: &Plan, left: &[&Step]);
    /// Shows what a rollback would undo, and what stays.
    fn rolling_back(&mut self, operation: &Operation, plan: &Plan, undo: &Undo<'_>);
    /// Shows that an observation starts.
    fn looking(&mut self);
    /// Shows the progress of a step.
    fn progress(&mut self, plan: &Plan, progress: Progress<'_>);
}

/// Whether machines may be rebooted whose nodes a restart of the kubelet does not bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reboots {
    /// Reboot no node.
    Never,
    /// Ask for each.
    Ask,
    /// Each that the plan names.
    All,
}

/// What a recovery works with.
pub struct Recovery<'a> {
    /// The inventory of the cluster.
    pub inventory: &'a Inventory,
    /// The inventory's file, beside which operations are kept.
    pub inventory_path: PathBuf,
    /// The ways in.
    pub access: &'a Access,
    /// State that `--source` chooses for a restore.
    pub source: Option<StateSource>,
    /// Whether machines may be rebooted.
    pub reboots: Reboots,
    /// Who is at work, for the operator lock.
    pub operator: String,
    /// Set when the run must stop at the next safe point.
    pub stop: &'a AtomicBool,
}

impl Recovery<'_> {
    /// Observes the cluster, for a plan that may not be applied: nothing stays on the machines.
    ///
    /// # Errors
    /// The files of operations cannot be read.
    pub async fn facts(&self) -> Result<Facts, RecoverError> {
        let facts = observe(self.inventory, self.access, &ProbeOptions::whole()).await;
        let pending_operation = Operations::pending(&self.inventory_path)?;
        Ok(Facts { pending_operation, ..facts })
    }

    /// Plans one round. If it restores, the snapshots are read, and become facts.
    ///
    /// # Errors
    /// [`PlanError`].
    pub async fn plan(&self, facts: &mut Facts) -> Result<(Diagnosis, Plan), RecoverError> {
        let diagnosis = diagnose(facts);
        let plan = self.decide(facts, &diagnosis, self.source.as_ref()).await?;
        Ok((diagnosis, plan))
    }

    /// Recovers, round after round, until nothing is found and all is known, or nothing more can be done.
    ///
    /// # Errors
    /// [`RecoverError`]; [`RecoverError::Unfinished`] can be resumed.
    pub async fn recover(&self, desk: &mut dyn Desk) -> Result<Report, RecoverError> {
        let operations = Operations::lock(&self.inventory_path)?;
        let mut operation = operations.begin(true)?;
        self.locked(&mut operation, desk, async |this, operation, desk, report| {
            this.rounds(operation, desk, report).await
        })
        .await
    }

    /// Does one plan, if the cluster is still as it was when the plan was made.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn apply(&self, plan: &Plan, desk: &mut dyn Desk) -> Result<Report, RecoverError> {
        let operations = Operations::lock(&self.inventory_path)?;
        self.refuse_unlisted(plan)?;
        if let Some(source) = self.source.as_ref().filter(|source| !plan.sources().any(|its| its == *source))
        {
            return Err(PlanError::BadSource(source.clone(), "the plan does not restore it".into()).into());
        }
        let mut operation = operations.begin(false)?;
        self.locked(&mut operation, desk, async |this, operation, desk, report| {
            desk.looking();
            let (mut facts, diagnosis) = this.observe().await;
            refuse_drift(plan, &facts, &diagnosis)?;
            // What is shown and done is what follows from the cluster as it is; the file only says what was agreed to.
            // Whether one is done is asked for when its turn comes.
            let reboots = plan.steps.iter().any(|step| matches!(step.action, Action::RebootNode { .. }));
            let source = plan.source.as_ref();
            let derived = this.decide_as(&plan.id, &mut facts, &diagnosis, source, reboots).await?;
            refuse_other(plan, &derived)?;
            desk.show(1, &diagnosis, &derived);
            if !desk.confirm(&derived) {
                return Err(RecoverError::Declined(Declined::Nothing));
            }
            this.run(operation, &derived, &[], desk, report).await?;
            this.close(operation, desk, report).await
        })
        .await
    }

    /// Ends the unfinished operation without undoing it: fences stay, and moved data stays moved. The state that it
    /// sent to machines, with every Secret in it, is removed.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn abandon(&self) -> Result<String, RecoverError> {
        let operations = Operations::lock(&self.inventory_path)?;
        let id = operations.abandon(self.inventory)?;
        sweep(&self.access.hosts, &operations.plans_of(&id)).await;
        OperatorLock::new(&id, &self.operator).give_back(&self.access.hosts).await;
        Ok(id)
    }

    fn lock_of(&self, operation: &Operation) -> OperatorLock {
        let began = operation.started().map(|at| at.to_string()).unwrap_or_default();
        let lock = OperatorLock::new(&operation.id, &format!("{}, since {began}", self.operator));
        lock.after(&operation.past())
    }

    /// Runs with the operator lock held. An operation that ends in an error is over, unless a plan of it was begun and can
    /// be resumed.
    async fn locked<F>(
        &self,
        operation: &mut Operation,
        desk: &mut dyn Desk,
        work: F,
    ) -> Result<Report, RecoverError>
    where
        F: AsyncFnOnce(&Self, &mut Operation, &mut dyn Desk, &mut Report) -> Result<(), RecoverError>,
    {
        let mut report = Report::begin(operation);
        let lock = self.lock_of(operation);
        let result = match lock.take(&self.access.hosts).await {
            Ok(()) => {
                report.swept = sweep(&self.access.hosts, &operation.past_plans()).await;
                work(self, operation, desk, &mut report).await
            }
            Err(error) => Err(error.into()),
        };
        let is_over = |error: &RecoverError| {
            matches!(error, RecoverError::Refused(_)) || !has_begun_a_plan(operation, self.inventory)
        };
        if let Some(error) = result.as_ref().err().filter(|error| is_over(error)) {
            operation.journal.record(Event::Ended { how: error.to_string() })?;
        }
        if !matches!(result, Err(RecoverError::Unfinished { .. } | RecoverError::RollbackUnfinished(_))) {
            // The binary of another operator must not be removed.
            if !matches!(result, Err(RecoverError::Lock(_))) {
                forget(&self.access.hosts).await;
            }
            lock.give_back(&self.access.hosts).await;
        }
        result.map(|()| report)
    }

    async fn rounds(
        &self,
        operation: &mut Operation,
        desk: &mut dyn Desk,
        report: &mut Report,
    ) -> Result<(), RecoverError> {
        let mut before: Option<Plan> = None;
        loop {
            desk.looking();
            let rounds = operation.rounds();
            let (mut facts, diagnosis) =
                if rounds > 0 { self.observe_at_end().await } else { self.observe().await };
            let begin = Instant::now();
            let restored = has_restored(operation, self.inventory)?;
            let source = self.source.as_ref().filter(|_| !restored);
            report.unused_source = source.map(unused);
            if diagnosis.is_healthy() || rounds >= MAX_ROUNDS {
                return end(operation, report, &diagnosis);
            }
            // Machines that have come back since the last round are locked with the others.
            self.lock_of(operation).take(&self.access.hosts).await?;
            let plan = self.decide(&mut facts, &diagnosis, source).await?;
            let same = before.as_ref().is_some_and(|before| before.does_the_same(&plan));
            if plan.is_empty() || same {
                report.manual = plan.manual;
                return end(operation, report, &diagnosis);
            }
            desk.show(rounds + 1, &diagnosis, &plan);
            if !desk.confirm(&plan) {
                return Err(RecoverError::Declined(match rounds {
                    0 => Declined::Nothing,
                    done => Declined::Round(done.saturating_add(1)),
                }));
            }
            if begin.elapsed() > FRESH {
                desk.looking();
                let (facts, diagnosis) = self.observe().await;
                refuse_drift(&plan, &facts, &diagnosis)?;
            }
            self.run(operation, &plan, &[], desk, report).await?;
            before = Some(plan);
        }
    }

    async fn run(
        &self,
        operation: &mut Operation,
        plan: &Plan,
        recorded: &[Entry],
        desk: &mut dyn Desk,
        report: &mut Report,
    ) -> Result<(), RecoverError> {
        if recorded.is_empty() && operation.current(self.inventory)?.is_none() {
            operation.accept(plan)?;
        }
        let dir = operation.dir.clone();
        let may_reboot = self.may_reboot(plan, desk);
        let mut context = Context::new(self.inventory, self.access, plan, &dir, &mut operation.journal);
        context.may_reboot = may_reboot;
        let mut watch = |progress: Progress<'_>| {
            report.watch(plan, &progress);
            desk.progress(plan, progress);
        };
        let ended = execute(&context, recorded, self.stop, &mut watch).await;
        ended.map_err(|why| {
            if matches!(why, ExecuteError::Refused { .. }) {
                return RecoverError::Refused(why);
            }
            let current = operation.current(self.inventory).ok().flatten();
            let reversible = current.is_some_and(|(plan, recorded)| Undo::of(&plan, &recorded).is_possible());
            RecoverError::Unfinished { why, reversible }
        })
    }

    fn may_reboot(&self, plan: &Plan, desk: &mut dyn Desk) -> BTreeSet<String> {
        let mut agreed = BTreeSet::new();
        for step in &plan.steps {
            let Action::RebootNode { host } = &step.action else { continue };
            let agrees = match self.reboots {
                Reboots::Never => false,
                Reboots::Ask => desk.confirm_reboot(step),
                Reboots::All => true,
            };
            if agrees {
                agreed.insert(host.clone());
            }
        }
        agreed
    }

    /// Observes again after the only plan of an operation.
    async fn close(
        &self,
        operation: &mut Operation,
        desk: &mut dyn Desk,
        report: &mut Report,
    ) -> Result<(), RecoverError> {
        desk.looking();
        let (_, diagnosis) = self.observe_at_end().await;
        end(operation, report, &diagnosis)
    }

    async fn observe(&self) -> (Facts, Diagnosis) {
        let facts = observe(self.inventory, self.access, &ProbeOptions::whole().keeping_program()).await;
        let diagnosis = diagnose(&facts);
        (facts, diagnosis)
    }

    /// Observes at what may be the end of a recovery.
    async fn observe_at_end(&self) -> (Facts, Diagnosis) {
        for _ in 1..LOOKS {
            let (facts, diagnosis) = self.observe().await;
            if diagnosis.is_healthy() || !diagnosis.causes.is_empty() {
                return (facts, diagnosis);
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.observe().await
    }

    async fn decide(
        &self,
        facts: &mut Facts,
        diagnosis: &Diagnosis,
        source: Option<&StateSource>,
    ) -> Result<Plan, RecoverError> {
        let reboot_nodes = self.reboots != Reboots::Never;
        self.decide_as(&new_id(), facts, diagnosis, source, reboot_nodes).await
    }

    async fn decide_as(
        &self,
        id: &str,
        facts: &mut Facts,
        diagnosis: &Diagnosis,
        source: Option<&StateSource>,
        reboot_nodes: bool,
    ) -> Result<Plan, RecoverError> {
        let tried = self.tried()?;
        if restores(diagnosis, source, &tried) {
            self.read_snapshots(facts, source).await;
        }
        let options = PlanOptions { id: id.into(), source: source.cloned(), tried, reboot_nodes };
        Ok(plan(facts, diagnosis, &options)?)
    }

    /// What was tried in vain lately: in earlier rounds of this operation, and in operations that ended without success.
    fn tried(&self) -> Result<Tried, RecoverError> {
        let mut tried = Tried::default();
        for past in Operations::since(&self.inventory_path, self.inventory, Timestamp::now() - REMEMBER)? {
            past.plans.iter().for_each(|plan| tried.add(plan, &past.journal, past.ended));
        }
        Ok(tried)
    }

    /// Refuses a plan file that brings a snapshot with it: which file is the state of the cluster is for the inventory or the
    /// command line to say.
    fn refuse_unlisted(&self, plan: &Plan) -> Result<(), RecoverError> {
        for source in plan.sources() {
            let Some(path) = source.snapshot() else { continue };
            let is_in = |place: &PathBuf| path == place || path.parent() == Some(place.as_path());
            let named = self.source.as_ref().and_then(StateSource::snapshot);
            if named != Some(path) && !self.inventory.snapshots.iter().any(is_in) {
                return Err(OperationError::UnlistedSnapshot(path.into()).into());
            }
        }
        Ok(())
    }

    /// Reads the snapshots of the inventory, or the one that a person has named.
    async fn read_snapshots(&self, facts: &mut Facts, source: Option<&StateSource>) {
        let places = self.inventory.snapshots.clone();
        let named = source.and_then(StateSource::snapshot).map(Path::to_path_buf);
        let known = facts.clone();
        let find = move || {
            let own = OwnIdentity::of(&known);
            let is_ours = |identity: &SnapshotIdentity| own.contradiction(identity).is_none();
            snapshots::find(&places, named.as_deref(), own.snapshots_needed(), is_ours)
        };
        facts.snapshots = tokio::task::spawn_blocking(find).await.ok();
    }
}

/// Plans one round from recorded facts alone: nothing is queried, and no file is opened. The same facts and options give
/// the same plan and id. What earlier operations tried in vain is not in the facts.
///
/// # Errors
/// [`PlanError`].
pub fn replay(
    facts: &Facts,
    source: Option<StateSource>,
    reboots: Reboots,
) -> Result<(Diagnosis, Plan), RecoverError> {
    let reboot_nodes = reboots != Reboots::Never;
    let id = derived_id(facts.observed_at, &(facts, &source, reboot_nodes))
        .map_err(|error| OperationError::Io(error.into()))?;
    let diagnosis = diagnose(facts);
    let options = PlanOptions { id, source, tried: Tried::default(), reboot_nodes };
    let plan = plan(facts, &diagnosis, &options)?;
    Ok((diagnosis, plan))
}

/// Whether a plan of it is under way, which can be resumed.
fn has_begun_a_plan(operation: &Operation, inventory: &Inventory) -> bool {
    !matches!(operation.current(inventory), Ok(None))
}

/// Whether etcd was rebuilt. That is not done again from what a person has named: more was written since.
fn has_restored(operation: &Operation, inventory: &Inventory) -> Result<bool, RecoverError> {
    Ok(operation.plans(inventory)?.iter().any(Plan::restores))
}

fn refuse_drift(plan: &Plan, facts: &Facts, diagnosis: &Diagnosis) -> Result<(), RecoverError> {
    let drifts = drift(&plan.fingerprint, &fingerprint(facts, diagnosis));
    if drifts.is_empty() { Ok(()) } else { Err(RecoverError::Drift(drifts)) }
}

/// Refuses a plan file that would do something else than what follows from the cluster as it is.
fn refuse_other(plan: &Plan, derived: &Plan) -> Result<(), RecoverError> {
    match plan.first_difference(derived) {
        None => Ok(()),
        Some((theirs, ours)) => Err(RecoverError::OtherPlan { theirs, ours }),
    }
}

fn end(operation: &mut Operation, report: &mut Report, diagnosis: &Diagnosis) -> Result<(), RecoverError> {
    report.end(Timestamp::now(), operation.rounds(), diagnosis);
    report.manual.extend(operation.journal.entries().iter().filter_map(not_rebooted));
    let how = match report {
        Report { recovered: true, .. } => RECOVERED,
        Report { left, .. } if left.is_empty() => "nothing found, but not everything is known",
        _ => "findings remain",
    };
    operation.journal.record(Event::Ended { how: how.into() })?;
    Ok(())
}

/// Why a machine that the plan named was not rebooted, or was in vain.
fn not_rebooted(entry: &Entry) -> Option<String> {
    let Event::Note { note, .. } = &entry.event else { return None };
    let (host, why) = note.strip_prefix(GIVEN_UP)?.split_once(": ")?;
    Some(format!("fix {host}'s node by hand: {why}"))
}

#[cfg(test)]
pub(crate) mod tests;
