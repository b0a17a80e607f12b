//! Why a machine could not do what it was asked.

use std::time::Duration;

/// Why a machine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No way to it, or the way broke: then a command may have been done or not.
    #[error("{host}: unreachable: {why}")]
    Unreachable {
        /// The machine.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// It shows a host key that is not the one in `known_hosts`, or `known_hosts` has none for it. Never overridden.
    #[error("{host}: host key not accepted: {why}")]
    HostKeyChanged {
        /// The machine.
        host: String,
        /// In the words of `ssh`, and what to do.
        why: String,
    },
    /// It does not let us in, or not become root.
    #[error("{host}: login refused: {why}")]
    Denied {
        /// The machine.
        host: String,
        /// In the words of `ssh` or `sudo`.
        why: String,
    },
    /// The command did not end in time. It may still run there.
    #[error("{host}: {command}: timed out after {}s", limit.as_secs())]
    Timeout {
        /// The machine.
        host: String,
        /// The command.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The command failed.
    #[error("{host}: {command}: {why}")]
    Failed {
        /// The machine.
        host: String,
        /// The command.
        command: String,
        /// Exit code and what it said.
        why: String,
    },
}
