//! Why a recovery ended early.

use crate::execute::{ExecuteError, LockError};
use crate::journal::JournalError;
use crate::operation::OperationError;
use crate::planner::{Drift, PlanError};

/// Why a recovery ended early.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// No plan helps with what is there.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The operation's files.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// Another operator holds the lock, or it cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A step failed or a stop was asked for; `lifeboat recover resume` goes on, and where it can still be undone,
    /// `lifeboat recover rollback` does.
    #[error(
        "{why}; continue with: lifeboat recover resume{}",
        if *.reversible { "; or undo it: lifeboat recover rollback" } else { "" }
    )]
    Unfinished {
        /// What ended it.
        why: ExecuteError,
        /// Whether the plan can be rolled back.
        reversible: bool,
    },
    /// A rollback failed, and can be run again.
    #[error("{0}; continue with: lifeboat recover rollback")]
    RollbackUnfinished(ExecuteError),
    /// The operation cannot be rolled back.
    #[error(
        "operation {operation} cannot be rolled back: step {number} ({title}) has started, and {why}. Continue \
         with: lifeboat recover resume. By hand: the old data dirs are on the machines, as DATA_DIR.lifeboat-{plan} \
         (lifeboat explain service.fenced)"
    )]
    NoWayBack {
        /// Operation id.
        operation: String,
        /// Plan id.
        plan: String,
        /// The step that closed it.
        number: u32,
        /// Step title, as in the plan.
        title: String,
        /// Why it cannot be rolled back.
        why: String,
    },
    /// A safety check did not hold before anything was done.
    #[error(transparent)]
    Refused(ExecuteError),
    /// What the plan rests on has changed.
    #[error("the cluster has changed since the plan was made: {}; plan again", describe(.0))]
    Drift(Vec<Drift>),
    /// A plan file holds other steps than those that follow from the cluster.
    #[error(
        "the plan file does not match the cluster: it has {theirs:?} where {ours:?} is expected; plan again"
    )]
    OtherPlan {
        /// The first step that differs, of the file.
        theirs: String,
        /// The step in its place.
        ours: String,
    },
    /// The confirmation was refused.
    #[error("not confirmed; {0}")]
    Declined(Declined),
    /// Somebody started etcd since it was fenced for the restore that would go on.
    #[error(
        "{member} serves cluster {cluster}, which is not the one being restored: etcd was started after it was \
         fenced, and writes since then would be lost; abandon this operation with `lifeboat recover abandon`, then \
         run: lifeboat diagnose"
    )]
    Served {
        /// Name of the etcd member.
        member: String,
        /// The cluster it is in, in hexadecimal.
        cluster: String,
    },
}

/// What was done before the confirmation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Nothing was done.
    #[error("nothing was done")]
    Nothing,
    /// Rounds that are done.
    #[error("round {0} was not started; earlier rounds stand; run `lifeboat recover` to continue")]
    Round(usize),
    /// A rollback was not confirmed.
    #[error("nothing was rolled back")]
    Rollback,
    /// The steps before the interruption.
    #[error(
        "nothing more was done: `lifeboat recover resume` asks again, `lifeboat recover abandon` ends it as it is"
    )]
    Resumed,
}

impl From<JournalError> for RecoverError {
    fn from(error: JournalError) -> Self {
        Self::Operation(error.into())
    }
}

fn describe(drifts: &[Drift]) -> String {
    let parts = drifts.iter().map(|drift| format!("{} was {:?}, is {:?}", drift.what, drift.was, drift.is));
    parts.collect::<Vec<_>>().join("; ")
}
