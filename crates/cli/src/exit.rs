//! Exit codes are API: scripts decide by them.

use std::io;
use std::process::ExitCode;

use lifeboat_etcd::{Error, FindingKind};
use lifeboat_recovery::execute::LockError;
use lifeboat_recovery::inventory::{InventoryError, SecretError};
use lifeboat_recovery::operation::OperationError;
use lifeboat_recovery::ownership::OwnershipError;
use lifeboat_recovery::planner::PlanError;
use lifeboat_recovery::recover::RecoverError;

use crate::output::ReaderGone;
use crate::terminal::stderr_line;

/// How a command ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0.
    Ok,
    /// 3: the command found something wrong in what it read.
    Findings,
    /// What the same command ended with on another machine.
    Remote(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::SUCCESS,
            Status::Findings => Self::from(FINDINGS),
            Status::Remote(code) => Self::from(code),
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

/// Stopped before something would be lost, with what can be done instead.
#[derive(Debug, thiserror::Error)]
#[error("refused: {why}")]
pub struct WouldLoseData {
    pub why: String,
    /// What keeps most first.
    pub alternatives: Vec<String>,
}

/// Nothing that was named can be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// A data dir whose log cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", Error::from(kind.clone()))]
pub struct Unreadable {
    /// Why.
    pub kind: FindingKind,
    /// What else can be done, what keeps most first.
    pub alternatives: Vec<String>,
}

/// What was asked for contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints an error with its causes and tells the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<ReaderGone>() {
        return ExitCode::SUCCESS;
    }
    stderr_line(format_args!("error: {error:#}"));
    if let Some(remedy) = remedy(error) {
        stderr_line(format_args!("    {remedy}"));
    }
    if let Some(Unreadable { kind, alternatives }) = error.downcast_ref::<Unreadable>() {
        stderr_line(format_args!("    {}", kind.remedy()));
        alternatives.iter().for_each(|alternative| stderr_line(format_args!("    - {alternative}")));
    }
    if let Some(WouldLoseData { alternatives, .. }) = error.downcast_ref::<WouldLoseData>() {
        alternatives.iter().for_each(|alternative| stderr_line(format_args!("    - {alternative}")));
    }
    ExitCode::from(code(error))
}

/// What to do about an error, where that is known and not in its text.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<Error>() {
        Some(Error::Damaged(kind)) => Some(kind.remedy()),
        Some(Error::Empty { .. }) => Some(
            "check that this is the source you meant (lifeboat inspect); --allow-empty makes a cluster without keys of it",
        ),
        Some(_) => error.chain().find_map(|cause| unreadable(cause.downcast_ref::<io::Error>()?)),
        None => None,
    }
}

/// What to do where the operating system refuses to read. None of it says anything about what is there.
fn unreadable(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some("run it as root, or as the user that owns the files"),
        io::ErrorKind::StaleNetworkFileHandle => {
            Some("the file server has another file system there now: unmount it and mount it again")
        }
        io::ErrorKind::NotConnected | io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => {
            Some("the file system's server does not answer: mount it again")
        }
        // `ErrorKind` has no name for EIO.
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Some(
            "the disk fails to read: see `dmesg`; copy what can be read with `ddrescue`, and give `lifeboat salvage` the copy",
        ),
        _ => None,
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Refused>() || error.is::<WouldLoseData>() || error.is::<OwnershipError>() {
        return REFUSED;
    }
    if let Some(InventoryError::Ownership(_)) = error.downcast_ref::<InventoryError>() {
        return REFUSED;
    }
    if error.is::<Unusable>() {
        return FINDINGS;
    }
    if let Some(Unreadable { kind, .. }) = error.downcast_ref::<Unreadable>() {
        return if matches!(Error::from(kind.clone()), Error::Unreplayable(_)) { REFUSED } else { FINDINGS };
    }
    if error.is::<Usage>() || error.is::<InventoryError>() || error.is::<SecretError>() {
        return USAGE;
    }
    if let Some(error) = error.downcast_ref::<RecoverError>() {
        return recovery_code(error);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(_) | Error::Unreplayable(_) | Error::Changed | Error::Empty { .. }) => REFUSED,
        Some(Error::PartlyRestored { .. }) => PARTLY,
        Some(Error::NotFound { .. } | Error::Invalid(_) | Error::Compacted { .. } | Error::Future { .. }) => {
            USAGE
        }
        Some(Error::Damaged(_) | Error::NotASource { .. } | Error::NotAFile { .. }) => FINDINGS,
        _ => UNEXPECTED,
    }
}

fn recovery_code(error: &RecoverError) -> u8 {
    match error {
        RecoverError::Unfinished { .. }
        | RecoverError::RollbackUnfinished(_)
        | RecoverError::Lock(LockError::AtWork { .. }) => PARTLY,
        RecoverError::Plan(PlanError::BadSource(..))
        | RecoverError::Operation(OperationError::BadPlan { .. } | OperationError::Nothing) => USAGE,
        RecoverError::Operation(OperationError::Journal(_) | OperationError::Io(_)) => UNEXPECTED,
        RecoverError::Plan(_)
        | RecoverError::Operation(
            OperationError::Busy(_)
            | OperationError::Unfinished(_)
            | OperationError::RollingBack(_)
            | OperationError::OtherCluster { .. }
            | OperationError::ForeignPlan { .. }
            | OperationError::UnlistedSnapshot(_)
            | OperationError::Foreign { .. }
            | OperationError::Ownership(_),
        )
        | RecoverError::NoWayBack { .. }
        | RecoverError::Lock(_)
        | RecoverError::Refused(_)
        | RecoverError::Drift(_)
        | RecoverError::OtherPlan { .. }
        | RecoverError::Served { .. }
        | RecoverError::Declined(_) => REFUSED,
    }
}
