//! Exit codes are API: scripts decide by them.

use std::process::ExitCode;

use lifeboat_etcd::Error;
use lifeboat_recovery::execute::LockError;
use lifeboat_recovery::inventory::{InventoryError, SecretError};
use lifeboat_recovery::operation::OperationError;
use lifeboat_recovery::ownership::OwnershipError;
use lifeboat_recovery::planner::PlanError;
use lifeboat_recovery::recover::RecoverError;

use crate::output::ReaderGone;

/// How a command ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0.
    Ok,
    /// 3: the command found something wrong in what it read.
    Findings,
    /// What the same command ended with on another machine.
    Elsewhere(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::SUCCESS,
            Status::Findings => Self::from(FINDINGS),
            Status::Elsewhere(code) => Self::from(code),
        }
    }
}

const UNEXPECTED: u8 = 1;
const USAGE: u8 = 2;
const FINDINGS: u8 = 3;
const REFUSED: u8 = 4;
const PARTLY: u8 = 5;

/// Stopped by a safety check before anything was written.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(pub String);

/// Nothing that was named can be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsound(pub String);

/// What was asked for contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints an error with its causes and tells the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    if let Some(Error::Damaged(kind)) = error.downcast_ref::<Error>() {
        eprintln!("    {}", kind.remedy());
    }
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Refused>() || error.is::<OwnershipError>() {
        return REFUSED;
    }
    if let Some(InventoryError::Ownership(_)) = error.downcast_ref::<InventoryError>() {
        return REFUSED;
    }
    if error.is::<Unsound>() {
        return FINDINGS;
    }
    if error.is::<Usage>() || error.is::<InventoryError>() || error.is::<SecretError>() {
        return USAGE;
    }
    if let Some(error) = error.downcast_ref::<RecoverError>() {
        return recovery_code(error);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(_) | Error::Unreplayable(_) | Error::Changed) => REFUSED,
        Some(Error::PartlyRestored { .. }) => PARTLY,
        Some(Error::NotFound { .. } | Error::Invalid(_) | Error::Compacted { .. } | Error::Future { .. }) => {
            USAGE
        }
        Some(Error::Damaged(_) | Error::NotASource { .. }) => FINDINGS,
        _ => UNEXPECTED,
    }
}

fn recovery_code(error: &RecoverError) -> u8 {
    match error {
        RecoverError::Unfinished(_) | RecoverError::Lock(LockError::AtWork { .. }) => PARTLY,
        RecoverError::Plan(PlanError::BadSource(..))
        | RecoverError::Operation(OperationError::BadPlan { .. } | OperationError::Nothing) => USAGE,
        RecoverError::Operation(OperationError::Journal(_) | OperationError::Io(_)) => UNEXPECTED,
        RecoverError::Plan(_)
        | RecoverError::Operation(
            OperationError::Busy(_)
            | OperationError::Unfinished(_)
            | OperationError::OtherCluster { .. }
            | OperationError::ForeignPlan { .. }
            | OperationError::UnlistedSnapshot(_)
            | OperationError::Foreign { .. }
            | OperationError::Ownership(_),
        )
        | RecoverError::Lock(_)
        | RecoverError::Drift(_)
        | RecoverError::OtherPlan { .. }
        | RecoverError::Served { .. }
        | RecoverError::Declined(_) => REFUSED,
    }
}
