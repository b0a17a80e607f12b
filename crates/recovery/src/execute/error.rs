//! Why a step or a run did not end well.

use crate::host::HostError;
use crate::journal::JournalError;
use crate::provider::ProviderError;

/// Why an action or a question failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It may work in a moment: no answer, or not ready.
    #[error("{0}")]
    Passing(String),
    /// It was refused by whom it was asked of, and may be taken in a while: worth a few tries.
    #[error("{0}")]
    Rejected(String),
    /// Trying again would not help, or would hurt.
    #[error("{0}")]
    Fatal(String),
    /// A guard of the step does not hold: it was not done.
    #[error("{0}")]
    Refused(String),
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        match &error {
            HostError::Unreachable { .. } | HostError::Timeout { .. } => Self::Passing(error.to_string()),
            HostError::HostKeyChanged { .. } | HostError::Denied { .. } | HostError::Failed { .. } => {
                Self::Fatal(error.to_string())
            }
        }
    }
}

impl From<ProviderError> for StepError {
    fn from(error: ProviderError) -> Self {
        match &error {
            ProviderError::Unreachable { .. } | ProviderError::Timeout { .. } => {
                Self::Passing(error.to_string())
            }
            ProviderError::JobFailed { .. } => Self::Rejected(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}

impl From<lifeboat_client::Error> for StepError {
    fn from(error: lifeboat_client::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<std::io::Error> for StepError {
    fn from(error: std::io::Error) -> Self {
        Self::Fatal(error.to_string())
    }
}

impl From<JournalError> for StepError {
    fn from(error: JournalError) -> Self {
        Self::Fatal(error.to_string())
    }
}

/// Why a run ended before its plan did.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A step failed.
    #[error("step {number} failed: {title}: {why}")]
    Step {
        /// Step number, from 1.
        number: u32,
        /// Step title, as in the plan.
        title: String,
        /// Reason, as text for people.
        why: String,
    },
    /// A step could not be taken back.
    #[error("step {number} is not rolled back: {title}: {why}")]
    Undo {
        /// Step number, from 1.
        number: u32,
        /// Step title, as in the plan.
        title: String,
        /// Reason, as text for people.
        why: String,
    },
    /// A guard did not hold before anything of the plan was done.
    #[error("refused before any change: {why}")]
    Refused {
        /// What does not hold.
        why: String,
    },
    /// It was asked to stop, and did at a safe point.
    #[error("stopped before step {before}")]
    Stopped {
        /// The step that comes next.
        before: u32,
    },
    /// The journal could not be written, so nothing more was done.
    #[error("journal: {0}")]
    Journal(#[from] JournalError),
}
