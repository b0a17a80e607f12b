//! Taking a plan back, from its newest step to its first: old data dirs are put back, copies removed, fences lifted, and
//! what ran before is started. What was restored meanwhile is moved aside, like everything else.
//!
//! Every part can be done again, so that an undo that was cut short goes on where it stopped.

use std::time::{Duration, Instant};

use crate::facts::DataDirs;
use crate::host::Command;
use crate::journal::{Entry, Event};
use crate::plan::{Action, HostService, Plan, Step};

use super::context::Context;
use super::data_dir::Aside;
use super::error::{ExecuteError, StepError};
use super::{Progress, State, leftovers, service};

/// Longest a data dir takes to be put back: it is renamed.
const MOVE: Duration = Duration::from_secs(60);

const PUT_BACK: &str = include_str!("undo/put_back.sh");

/// What there is to take back of a plan.
#[derive(Debug)]
pub struct Undo<'a> {
    /// The steps to take back, the newest first.
    pub steps: Vec<&'a Step>,
    /// Steps that were begun and stay as they are: machines that were switched on, services that were started.
    pub kept: Vec<&'a Step>,
    /// A step that was begun and ends the way back.
    pub final_step: Option<&'a Step>,
}

impl<'a> Undo<'a> {
    /// What the journal says that there is to take back.
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

    /// Whether the way back is open.
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

/// Takes back the steps of the context's plan that were begun and not taken back yet. Stops at the first that cannot be:
/// no fence is lifted before the old data is back.
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
        // Moved aside when the old data dir is put back.
        _ => Ok(()),
    }
}

/// Puts a member's old data dir back, unless its etcd runs.
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
