//! Rollback of a plan, from its last step to its first: old data dirs are moved back, copies removed, fences lifted,
//! and services that ran before are started. What was restored meanwhile is moved aside, like everything else.
//!
//! Every part is idempotent, so that an interrupted rollback continues where it stopped.

use std::time::{Duration, Instant};

use crate::facts::DataDirs;
use crate::host::Command;
use crate::journal::{Entry, Event};
use crate::plan::{Action, HostService, Plan, Step};

use super::context::Context;
use super::data_dir::Aside;
use super::error::{ExecuteError, StepError};
use super::{Progress, State, leftovers, service};

/// Time limit for moving a data dir back: it is renamed.
const MOVE: Duration = Duration::from_secs(60);

const PUT_BACK: &str = concat!(include_str!("../host/lock.sh"), include_str!("undo/put_back.sh"));

/// The steps of a plan to roll back.
#[derive(Debug)]
pub struct Undo<'a> {
    /// Steps to roll back, last first.
    pub steps: Vec<&'a Step>,
    /// Steps that were begun and stay as they are: machines that were switched on, services that were started.
    pub kept: Vec<&'a Step>,
    /// A step that has started and cannot be rolled back.
    pub final_step: Option<&'a Step>,
}

impl<'a> Undo<'a> {
    /// Derives from the journal what to roll back.
    pub fn of(plan: &'a Plan, recorded: &[Entry]) -> Self {
        let begun = |step: &&Step| {
            recorded
                .iter()
                .any(|entry| matches!(entry.event, Event::Begin { step: begun, .. } if begun == step.number))
        };
        let undone = |step: &Step| {
            recorded
                .iter()
                .any(|entry| matches!(entry.event, Event::Undone { step: undone } if undone == step.number))
        };
        let begun: Vec<&Step> = plan.steps.iter().filter(begun).collect();
        let (steps, kept): (Vec<&Step>, Vec<&Step>) =
            begun.iter().rev().filter(|step| !undone(step)).partition(|step| has_way_back(&step.action));
        let is_wait = |step: &&Step| {
            matches!(
                step.action,
                Action::Preflight
                    | Action::ConfirmState { .. }
                    | Action::WaitForHosts { .. }
                    | Action::Stabilize { .. }
                    | Action::WaitForEtcd { .. }
            )
        };
        Self {
            steps,
            kept: kept.into_iter().filter(|step| !is_wait(step)).collect(),
            final_step: begun.into_iter().find(|step| is_final(step)),
        }
    }

    /// Whether a rollback is possible.
    pub fn is_possible(&self) -> bool {
        self.final_step.is_none()
    }
}

/// Whether nothing before a step can be taken back once it is begun: etcd takes writes, or another member took it in.
fn is_final(step: &Step) -> bool {
    step.irreversible || matches!(step.action, Action::AddLearner { .. } | Action::Release { .. })
}

fn has_way_back(action: &Action) -> bool {
    matches!(
        action,
        Action::Fence { .. }
            | Action::Distribute { .. }
            | Action::MoveAside { .. }
            | Action::RestoreMember { .. }
    )
}

/// Rolls back the steps of the context's plan that have started and were not rolled back yet. Stops at the first that
/// cannot be: no fence is lifted before the old data is back.
///
/// # Errors
/// [`ExecuteError`]; the undo can be done again.
pub async fn undo(
    context: &Context<'_>,
    steps: &[&Step],
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ExecuteError> {
    for step in steps {
        let begin = Instant::now();
        watch(Progress::Undoing(step));
        context.doing(&format!("rollback of step {}: {}", step.number, step.title));
        if let Err(error) = undo_step(context, step).await {
            let why = error.to_string();
            watch(Progress::Failed(step, &why));
            return Err(ExecuteError::Undo { number: step.number, title: step.title.clone(), why });
        }
        context.record(Event::Undone { step: step.number })?;
        watch(Progress::Undone(step, begin.elapsed()));
    }
    Ok(())
}

/// Whether services are fenced and stopped; why not, if they are not, or that cannot be told.
///
/// # Errors
/// Why not.
pub async fn is_still_fenced(context: &Context<'_>, services: &[HostService]) -> Result<(), String> {
    match service::are_fenced(context, services).await {
        Ok(State::Done) => Ok(()),
        Ok(State::NotYet(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

async fn undo_step(context: &Context<'_>, step: &Step) -> Result<(), StepError> {
    match &step.action {
        Action::Fence { services } => service::unfence(context, step.number, services).await,
        Action::Distribute { hosts, .. } => leftovers::clean(context, hosts).await,
        Action::MoveAside { member, dirs, .. } => put_back(context, member, dirs).await,
        // Moved aside when the old data dir is moved back.
        _ => Ok(()),
    }
}

/// Moves a member's old data dir back, unless its etcd runs.
async fn put_back(context: &Context<'_>, member: &str, dirs: &DataDirs) -> Result<(), StepError> {
    let spec = context.member(member)?;
    let service = HostService { host: spec.host.clone(), service: spec.service.clone() };
    if let State::NotYet(why) = service::are_fenced(context, &[service]).await? {
        return Err(StepError::Fatal(format!("{why}: its data dir is not moved back while it may start")));
    }
    let command = Command::script(PUT_BACK, Aside::of(context, dirs).arguments(dirs));
    context.change(&spec.host, command.within(MOVE)).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
