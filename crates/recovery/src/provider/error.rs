//! What can go wrong between Lifeboat and a cloud.

use std::error::Error;
use std::time::Duration;

/// The result of every call to a cloud.
pub type Result<T, E = ProviderError> = std::result::Result<T, E>;

/// Why a call to the cloud failed.
///
/// No variant carries a key, a password or a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The endpoint cannot be used as given.
    #[error("the cloud's endpoint: {reason}")]
    Endpoint {
        /// What is wrong with it.
        reason: String,
    },
    /// No answer: no connection, one that broke, a gateway with nothing behind it, or none in time.
    #[error("the cloud's API at {endpoint} does not answer; check that its management node runs")]
    Unreachable {
        /// URL of the cloud's API.
        endpoint: String,
        /// Error of the HTTP client.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cloud rejected the key, the account or the session.
    #[error("the cloud at {endpoint} rejected the credentials: {message}")]
    Unauthorized {
        /// URL of the cloud's API.
        endpoint: String,
        /// What the cloud says.
        message: String,
    },
    /// The cloud took the job and could not do it.
    #[error("{api} failed in the cloud: {message} (job {job}, {code})")]
    JobFailed {
        /// The cloud's name of what was asked for.
        api: &'static str,
        /// The job's id, as the cloud knows it.
        job: String,
        /// The cloud's error code.
        code: String,
        /// The cloud's own message.
        message: String,
    },
    /// The job was taken, but its end is not known: the cloud has forgotten it.
    #[error("{api}: the cloud no longer lists job {job}; check whether it was done")]
    JobForgotten {
        /// The cloud's name of what was asked for.
        api: &'static str,
        /// The job's id, as the cloud knows it.
        job: String,
    },
    /// It was not done, and asking again will not change that: by the cloud's answer or by what it has.
    #[error("refused: {message}")]
    Refused {
        /// Why, and what to do.
        message: String,
    },
    /// The job timed out and continues in the cloud: request the same job again to wait for it.
    #[error("{api}: job {job} did not end within {deadline:?}; it continues in the cloud")]
    Timeout {
        /// The cloud's name of what was asked for.
        api: &'static str,
        /// The job's id, as the cloud knows it.
        job: String,
        /// The time allowed.
        deadline: Duration,
    },
    /// An answer that is not the cloud's API.
    #[error("the answer to {call} is not the cloud's API: {reason}")]
    Protocol {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ProviderError {
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into() }
    }

    /// Whether the same call may work later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}
