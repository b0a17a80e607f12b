//! What a step takes away must not be what the quorum hangs on: asked of the members themselves right before it acts,
//! however fresh the plan is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::plan::{Action, Plan, Step};
use crate::probe;
use crate::quorum::{Margin, keep, seats};

use super::context::Context;
use super::error::StepError;

/// So long the others may be no quorum before the step is refused: an election takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to ask again.
const POLL: Duration = Duration::from_secs(1);

/// What must be true right before a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    /// The other members are a quorum without this one, which is replaced.
    Without(String),
    /// If a quorum serves, it still does while these members are stopped.
    Kept(Vec<String>),
    /// No member serves a quorum: a restore takes nothing away that works.
    Lost,
}

/// What a step of a plan must not act without.
fn guard(context: &Context<'_>, plan: &Plan, step: &Step) -> Option<Guard> {
    let replaced = plan.steps.iter().find_map(|other| match &other.action {
        Action::AddLearner { member } if other.number > step.number => Some(member),
        _ => None,
    });
    match (&step.action, replaced) {
        (Action::Fence { .. } | Action::MoveAside { .. } | Action::RemoveMember { .. }, Some(member)) => {
            Some(Guard::Without(member.clone()))
        }
        // A person who named the state has seen that etcd serves another one.
        (Action::Fence { .. }, None) if plan.restores() && plan.source.is_none() => Some(Guard::Lost),
        (Action::Restart { services }, _) => {
            let members: Vec<String> =
                context.inventory.members_of(services).into_iter().map(str::to_owned).collect();
            (!members.is_empty()).then_some(Guard::Kept(members))
        }
        _ => None,
    }
}

/// Fails where what remains is no quorum without what the step takes away.
pub(super) async fn ensure(context: &Context<'_>, step: &Step) -> Result<(), StepError> {
    let Some(guard) = guard(context, context.plan, step) else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    while let Some(why) = breach(context, &guard).await {
        if Instant::now() >= deadline {
            return Err(StepError::Fatal(format!("not begun: {why}")));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// What speaks against a guard.
async fn breach(context: &Context<'_>, guard: &Guard) -> Option<String> {
    let votes = probe::etcd::votes(context.inventory, context.access).await;
    let serving =
        votes.iter().find(|(_, member)| member.linearizable.get() == Some(&true)).map(|(name, _)| name);
    let seats = seats(context.inventory, &votes);
    match guard {
        Guard::Without(member) => match seats.map(|seats| Margin::replacing(&seats, member)) {
            Some(margin) if margin.holds() => None,
            margin => Some(keep(member, margin.as_ref())),
        },
        Guard::Kept(members) => {
            serving?;
            let names: Vec<&str> = members.iter().map(String::as_str).collect();
            match seats.map(|seats| Margin::stopping(&seats, &names)) {
                Some(margin) if margin.holds() => None,
                Some(margin) => Some(format!("stopping {} would cost the quorum: {margin}", names.join(", "))),
                None => Some(format!("it is not known whether the quorum lasts without {}", names.join(", "))),
            }
        }
        Guard::Lost => serving.map(|name| {
            format!("etcd serves again: a linearizable read through {name} succeeds; a restore would stop it, plan again")
        }),
    }
}
