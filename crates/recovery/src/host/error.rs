//! Why a machine could not do what it was asked.

use std::time::Duration;

/// Why a machine could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No way to it, or the way broke: then a command may have been done or not.
    #[error("{host}: unreachable: {why}")]
    Unreachable {
        /// Inventory name of the machine.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// It shows a host key that is not the one in `known_hosts`, or `known_hosts` has none for it. Never overridden.
    #[error("{host}: host key not accepted: {why}")]
    HostKeyChanged {
        /// Inventory name of the machine.
        host: String,
        /// In the words of `ssh`, and what to do.
        why: String,
    },
    /// It does not let us in, or not become root.
    #[error("{host}: login refused: {why}")]
    Denied {
        /// Inventory name of the machine.
        host: String,
        /// In the words of `ssh` or `sudo`.
        why: String,
    },
    /// The command did not end in time. It may still run there.
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
        /// Exit code and what it said.
        why: String,
    },
}
