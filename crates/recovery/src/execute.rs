//! The executor: runs a plan's steps in order and journals them, so that a crash at any moment only costs time.
//!
//! Every step asks first whether it is done, acts, and asks until it is; asking is what `resume` relies on, not the
//! journal. The journal says how far a run came, and which results must still stand: what an earlier step brought
//! about is verified again, up to the step that takes it back.

mod action;
mod alarm;
mod cloud;
mod context;
mod data_dir;
mod distribute;
mod enable;
mod error;
mod fences;
mod file;
mod guard;
mod join;
mod leader_lease;
mod learner;
mod leftovers;
mod lock;
mod node;
mod reboot;
mod service;
mod undo;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::journal::{Entry, Event};
use crate::plan::{Needs, Step};
pub use context::Context;
pub use error::{ExecuteError, StepError};
pub use leftovers::{forget, sweep};
pub use lock::{LockError, OperatorLock};
pub use undo::{Undo, is_still_fenced, undo};

/// Poll interval of a waiting step.
const POLL: Duration = Duration::from_millis(300);
/// Pause before a transient failure is retried.
const RETRY: Duration = Duration::from_secs(1);
/// Maximum attempts of a rejected action, with growing pauses.
const MAX_REJECTIONS: u32 = 4;

/// Whether a step's result is there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The result is there; nothing to do.
    Done,
    /// The result is missing, with the reason.
    NotYet(String),
}

/// What a run reports while it goes on.
#[derive(Debug, Clone)]
pub enum Progress<'a> {
    /// A step begins.
    Begin(&'a Step),
    /// A step still waits for this.
    Waiting(&'a Step, &'a str),
    /// A step is done, in this time; `already` when there was nothing to do.
    Done {
        /// Step that is executed.
        step: &'a Step,
        /// How long it took.
        took: Duration,
        /// Whether it was done before.
        already: bool,
    },
    /// A step failed.
    Failed(&'a Step, &'a str),
    /// A step is rolled back.
    Undoing(&'a Step),
    /// It is taken back, in this time.
    Undone(&'a Step, Duration),
}

/// Does the steps of the context's plan, leaving out what `recorded` shows done and is found to stand.
///
/// `stop` is checked between steps: a run that is asked to stop ends at the next safe point.
///
/// # Errors
/// [`ExecuteError::Step`] with the step that failed, [`ExecuteError::Stopped`]; both can be resumed.
pub async fn execute(
    context: &Context<'_>,
    recorded: &[Entry],
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ExecuteError> {
    let history = History::of(recorded);
    let mut failed = Vec::new();
    for step in &context.plan.steps {
        if history.is_superseded(step) || history.stabilized(step) {
            continue;
        }
        if !step.needs.allow(&failed) {
            failed.push(step.number);
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(ExecuteError::Stopped { before: step.number });
        }
        match run_step(context, step, &history, watch).await {
            // Independent steps continue, and the next round decides without this one.
            Err(ExecuteError::Step { .. }) if is_dispensable(context, step) => failed.push(step.number),
            result => result?,
        }
    }
    context.record(Event::PlanDone { plan: context.plan.id.clone() })?;
    Ok(())
}

/// Whether the plan says of every step behind this one what it needs, so that they can be told from those it ends.
fn is_dispensable(context: &Context<'_>, step: &Step) -> bool {
    let behind = context.plan.steps.iter().filter(|other| other.number > step.number);
    step.needs != Needs::EverythingBefore
        && behind.into_iter().all(|other| other.needs != Needs::EverythingBefore)
}

/// What the journal tells of an earlier run of the same plan.
struct History {
    /// The furthest step that was begun.
    reached: u32,
    done: Vec<u32>,
}

impl History {
    fn of(entries: &[Entry]) -> Self {
        let mut history = Self { reached: 0, done: Vec::new() };
        for entry in entries {
            match entry.event {
                Event::Begin { step, .. } => history.reached = history.reached.max(step),
                Event::Done { step, .. } => history.done.push(step),
                _ => {}
            }
        }
        history
    }

    fn is_done(&self, step: &Step) -> bool {
        self.done.contains(&step.number)
    }

    fn is_begun(&self, step: &Step) -> bool {
        self.reached >= step.number
    }

    /// Whether a later step that was begun has taken this one's result back.
    fn is_superseded(&self, step: &Step) -> bool {
        step.holds_until.is_some_and(|until| until <= self.reached)
    }

    /// Whether it is a pause that is over.
    fn stabilized(&self, step: &Step) -> bool {
        matches!(step.action, crate::plan::Action::Stabilize { .. }) && self.is_done(step)
    }
}

async fn run_step(
    context: &Context<'_>,
    step: &Step,
    history: &History,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ExecuteError> {
    let begin = Instant::now();
    // Done before and still so: nothing to write down again.
    if history.is_done(step) && matches!(action::state(context, step).await, Ok(State::Done)) {
        watch(Progress::Done { step, took: begin.elapsed(), already: true });
        return Ok(());
    }
    watch(Progress::Begin(step));
    context.doing(&format!("step {}: {}", step.number, step.title));
    // Before the step counts as begun: a fence that does not hold is then closed again by a resumed run.
    let result = match until_checked(context, step, history.is_begun(step), watch).await {
        Ok(()) => {
            context.record(Event::Begin { step: step.number, title: step.title.clone() })?;
            until_done(context, step, watch).await
        }
        Err(why) => Err(Failure { why, refused: false }),
    };
    match result {
        Ok(already) => {
            action::tidy_up(context, step).await;
            context.record(Event::Done { step: step.number, already })?;
            watch(Progress::Done { step, took: begin.elapsed(), already });
            Ok(())
        }
        Err(Failure { why, refused }) => {
            context.record(Event::Failed { step: step.number, why: why.clone() })?;
            watch(Progress::Failed(step, &why));
            if refused && !history.is_begun(step) && context.plan.is_first_change(step) {
                return Err(ExecuteError::Refused { why });
            }
            Err(ExecuteError::Step { number: step.number, title: step.title.clone(), why })
        }
    }
}

/// Waits until the fences that a step relies on are known to hold; why not, if they do not.
async fn until_checked(
    context: &Context<'_>,
    step: &Step,
    begun: bool,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<(), String> {
    let limit = Duration::from_secs(step.timeout_seconds);
    let deadline = Instant::now() + limit;
    loop {
        match fences::ensure(context, step, begun).await {
            Ok(()) => return Ok(()),
            Err(StepError::Fatal(why) | StepError::Rejected(why) | StepError::Refused(why)) => {
                return Err(why);
            }
            Err(StepError::Passing(why)) if Instant::now() >= deadline => {
                return Err(format!("could not verify the fences within {} s: {why}", limit.as_secs()));
            }
            Err(StepError::Passing(why)) => watch(Progress::Waiting(step, &why)),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Why a step failed.
struct Failure {
    why: String,
    /// Whether a guard did not hold and the step has done nothing.
    refused: bool,
}

/// Acts and asks until the step's result is there; true when it was there from the start.
async fn until_done(
    context: &Context<'_>,
    step: &Step,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<bool, Failure> {
    let failed = |why: String| Failure { why, refused: false };
    let limit = Duration::from_secs(step.timeout_seconds);
    let deadline = tokio::time::Instant::now() + limit;
    let (mut acted, mut why, mut rejections) = (false, String::from("nothing was heard"), 0_u32);
    let attempts = async {
        loop {
            match action::state(context, step).await {
                Ok(State::Done) => return Ok(!acted),
                Ok(State::NotYet(reason)) => why = reason,
                Err(StepError::Passing(reason) | StepError::Rejected(reason)) => why = reason,
                Err(StepError::Fatal(reason) | StepError::Refused(reason)) => return Err(failed(reason)),
            }
            watch(Progress::Waiting(step, &why));
            if acted {
                tokio::time::sleep(POLL).await;
                continue;
            }
            match guarded(context, step).await {
                Ok(()) => acted = true,
                Err(StepError::Passing(reason)) => {
                    why = reason;
                    watch(Progress::Waiting(step, &why));
                    tokio::time::sleep(RETRY).await;
                }
                Err(StepError::Rejected(reason)) => {
                    rejections += 1;
                    if rejections == MAX_REJECTIONS {
                        return Err(failed(format!("{reason} (tried {rejections} times)")));
                    }
                    watch(Progress::Waiting(step, &reason));
                    tokio::time::sleep(RETRY * 2_u32.pow(rejections)).await;
                }
                Err(StepError::Fatal(reason)) => return Err(failed(reason)),
                Err(StepError::Refused(why)) => {
                    // A guard waits for some seconds; by then a member that is to be restarted may serve.
                    return match action::state(context, step).await {
                        Ok(State::Done) => Ok(true),
                        _ => Err(Failure { why, refused: true }),
                    };
                }
            }
        }
    };
    match tokio::time::timeout_at(deadline, attempts).await {
        Ok(result) => result,
        Err(_) => Err(failed(format!("not done after {} s: {why}", limit.as_secs()))),
    }
}

/// Acts, once the step's guards hold.
async fn guarded(context: &Context<'_>, step: &Step) -> Result<(), StepError> {
    guard::hold(context, &step.guards.iter().collect::<Vec<_>>()).await?;
    action::act(context, step).await
}
