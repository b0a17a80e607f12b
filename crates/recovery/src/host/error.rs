//! Errors of commands on machines.

use std::time::Duration;

/// Errors of commands on machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No connection, or it was lost: then the command may or may not have run.
    #[error("{host}: unreachable: {why}")]
    Unreachable {
        /// Inventory name of the machine.
        host: String,
        /// Error text of `ssh`.
        why: String,
    },
    /// It shows a host key that is not the one in `known_hosts`, or `known_hosts` has none for it. Never overridden.
    #[error("{host}: host key not accepted: {why}")]
    HostKeyChanged {
        /// Inventory name of the machine.
        host: String,
        /// Error text of `ssh`, and what to do.
        why: String,
    },
    /// The login or `sudo` was refused.
    #[error("{host}: login refused: {why}")]
    Denied {
        /// Inventory name of the machine.
        host: String,
        /// Error text of `ssh` or `sudo`.
        why: String,
    },
    /// The command timed out. It may still be running.
    #[error("{host}: {command}: timed out after {}s", limit.as_secs())]
    Timeout {
        /// Inventory name of the machine.
        host: String,
        /// Command, shortened for messages.
        command: String,
        /// Time limit that it exceeded.
        limit: Duration,
    },
    /// The command failed.
    #[error("{host}: {command}: {why}")]
    Failed {
        /// Inventory name of the machine.
        host: String,
        /// Command, shortened for messages.
        command: String,
        /// Exit code and stderr.
        why: String,
    },
}
