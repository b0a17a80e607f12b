//! Rolls back an operation's plan: until the restored etcd has started, everything can be undone.

use jiff::Timestamp;
use lifeboat_etcd::InitialCluster;
use serde::Serialize;

use crate::execute::{Context, Progress, Undo, forget, is_still_fenced, undo};
use crate::journal::Event;
use crate::operation::{Operation, Operations};
use crate::plan::{Action, Plan, Step};

use super::{Declined, Desk, RecoverError, Recovery};

/// How a rolled back operation ended.
const ROLLED_BACK: &str = "rolled back";

/// What a rollback did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackReport {
    /// Operation id.
    pub operation: String,
    /// When it ended.
    pub ended: Timestamp,
    /// The titles of the steps that were taken back, in that order.
    pub undone: Vec<String>,
    /// The titles of the steps that were begun and stay as they are.
    pub kept: Vec<String>,
}

impl Recovery<'_> {
    /// Rolls back the plan of the unfinished operation, or of the newest if it was abandoned: old data dirs are moved
    /// back, fences lifted, services that ran before are started.
    ///
    /// # Errors
    /// [`RecoverError::NoWayBack`] once the restored etcd was started; [`RecoverError::RollbackUnfinished`] when a step
    /// could not be taken back: then it can be run again.
    pub async fn rollback(&self, desk: &mut dyn Desk) -> Result<RollbackReport, RecoverError> {
        let operations = Operations::lock(&self.inventory_path)?;
        let mut operation = operations.to_roll_back()?;
        operation.plans(self.inventory)?;
        let lock = self.lock_of(&operation);
        let mut report = RollbackReport {
            operation: operation.id.clone(),
            ended: Timestamp::now(),
            undone: Vec::new(),
            kept: Vec::new(),
        };
        if let Some((plan, recorded)) = operation.current(self.inventory)? {
            let found = Undo::of(&plan, &recorded);
            self.ensure_way_back(&mut operation, &plan, &found).await?;
            desk.rolling_back(&operation, &plan, &found);
            if !desk.confirm(&plan) {
                return Err(RecoverError::Declined(Declined::Rollback));
            }
            lock.take(&self.access.hosts).await?;
            operation.journal.record(Event::RollingBack { plan: plan.id.clone() })?;
            self.undo(&mut operation, &plan, &found.steps, desk).await?;
            let titles = |steps: &[&Step]| steps.iter().map(|step| step.title.clone()).collect();
            (report.undone, report.kept) = (titles(&found.steps), titles(&found.kept));
        }
        operation.journal.record(Event::Ended { how: ROLLED_BACK.into() })?;
        forget(&self.access.hosts).await;
        lock.give_back(&self.access.hosts).await;
        report.ended = Timestamp::now();
        Ok(report)
    }

    async fn undo(
        &self,
        operation: &mut Operation,
        plan: &Plan,
        steps: &[&Step],
        desk: &mut dyn Desk,
    ) -> Result<(), RecoverError> {
        let dir = operation.dir.clone();
        let context = Context::new(self.inventory, self.access, plan, &dir, &mut operation.journal);
        let mut watch = |progress: Progress<'_>| desk.progress(plan, progress);
        undo(&context, steps, &mut watch).await.map_err(RecoverError::RollbackUnfinished)
    }

    /// Refuses once the restored etcd may have taken writes. A start that was written down and not begun, since
    /// everything is still fenced, does not count.
    async fn ensure_way_back(
        &self,
        operation: &mut Operation,
        plan: &Plan,
        found: &Undo<'_>,
    ) -> Result<(), RecoverError> {
        let id = operation.id.clone();
        let no_way = |step: &Step, why: String| RecoverError::NoWayBack {
            operation: id.clone(),
            plan: plan.id.clone(),
            number: step.number,
            title: step.title.clone(),
            why,
        };
        if let (Some(step), Some(cluster)) = (restore_of(plan), restored_cluster(plan))
            && let Some(serving) = self.serving().await.into_iter().find(|serving| serving.cluster == cluster)
        {
            return Err(no_way(step, format!("{} serves the restored cluster {cluster}", serving.member)));
        }
        let Some(step) = found.final_step else { return Ok(()) };
        let why = match &step.action {
            Action::Release { services } => {
                let dir = operation.dir.clone();
                let context = Context::new(self.inventory, self.access, plan, &dir, &mut operation.journal);
                match is_still_fenced(&context, services).await {
                    Ok(()) => return Ok(()),
                    Err(why) => format!("it may have taken writes since ({why})"),
                }
            }
            _ => "the cluster has changed with it".into(),
        };
        Err(no_way(step, why))
    }
}

fn restore_of(plan: &Plan) -> Option<&Step> {
    plan.steps.iter().find(|step| matches!(step.action, Action::RestoreMember { .. }))
}

/// The id of the cluster that a plan restores.
pub(super) fn restored_cluster(plan: &Plan) -> Option<String> {
    let Action::RestoreMember { cluster, .. } = &restore_of(plan)?.action else { return None };
    Some(InitialCluster::parse(&cluster.initial_cluster, &cluster.token).ok()?.id().to_string())
}
