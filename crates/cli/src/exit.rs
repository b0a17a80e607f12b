//! Exit codes. They are API: scripts depend on them.

use std::io;
use std::process::ExitCode;

use lifeboat_etcd::{Error, FindingKind};
use lifeboat_recovery::execute::LockError;
use lifeboat_recovery::facts::FactsFileError;
use lifeboat_recovery::inventory::{InventoryError, SecretError};
use lifeboat_recovery::operation::OperationError;
use lifeboat_recovery::ownership::OwnershipError;
use lifeboat_recovery::planner::PlanError;
use lifeboat_recovery::recover::RecoverError;

use crate::output::ReaderGone;
use crate::terminal::stderr_line;

/// Outcome of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Exit code 0.
    Ok,
    /// Exit code 3: something is wrong with what was read.
    Findings,
    /// Exit code of the same command on another machine.
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

/// Stopped before data would be lost.
#[derive(Debug, thiserror::Error)]
#[error("refused: {why}")]
pub struct WouldLoseData {
    pub why: String,
    /// What can be done instead; what keeps the most data comes first.
    pub alternatives: Vec<String>,
}

/// None of the sources can be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// A data dir whose log cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", Error::from(kind.clone()))]
pub struct Unreadable {
    /// What is wrong with the log.
    pub kind: FindingKind,
    /// What can be done instead; what keeps the most data comes first.
    pub alternatives: Vec<String>,
}

/// A usage error that clap cannot detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints an error with its causes and returns the exit code.
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

/// Advice for an error whose message does not give it.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<Error>() {
        Some(Error::Damaged(kind)) => Some(kind.remedy()),
        Some(Error::Empty { .. }) => Some(
            "check with `lifeboat inspect` that this is the right source; --allow-empty creates a cluster without keys",
        ),
        Some(Error::UnknownVersion { .. }) => Some("pass --etcd-version, as MAJOR.MINOR"),
        Some(Error::BumpOverflow { .. }) => Some("pass a lower --bump-revision"),
        Some(_) => error.chain().find_map(|cause| io_advice(cause.downcast_ref::<io::Error>()?)),
        None => None,
    }
}

/// Advice for errors of the operating system, which say nothing about the data itself.
fn io_advice(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some("run lifeboat as root or as the owner of the files"),
        io::ErrorKind::StaleNetworkFileHandle => {
            Some("the file server has replaced this file system: unmount it and mount it again")
        }
        io::ErrorKind::NotConnected | io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => {
            Some("the file server does not answer: remount the file system")
        }
        // `ErrorKind` has no variant for EIO.
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Some(
            "read error on the disk: see `dmesg`, copy what can be read with `ddrescue`, and run `lifeboat salvage` on the copy",
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
    if let Some(error) = error.downcast_ref::<FactsFileError>() {
        return if matches!(error, FactsFileError::Io(_)) { UNEXPECTED } else { USAGE };
    }
    if let Some(error) = error.downcast_ref::<RecoverError>() {
        return recovery_code(error);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(_) | Error::Unreplayable(_) | Error::Changed | Error::Empty { .. }) => REFUSED,
        Some(Error::PartlyRestored { .. }) => PARTLY,
        Some(
            Error::NotFound { .. }
            | Error::Invalid(_)
            | Error::Compacted { .. }
            | Error::Future { .. }
            | Error::BumpOverflow { .. }
            | Error::UnknownVersion { .. },
        ) => USAGE,
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
