//! How long files may take to be transferred: for the transfers, and for the steps of a plan that make them.

use std::time::Duration;

/// Longest a transfer may take: a minute, and 1 MiB a second.
pub(crate) fn limit(size: u64) -> Duration {
    Duration::from_secs(60 + size / (1 << 20))
}

/// The least that a transfer is given time for, in seconds, when a file of this size is sent to so many machines at once.
pub(crate) fn seconds(size: u64, machines: usize) -> u64 {
    let machines = u64::try_from(machines).unwrap_or(u64::MAX).max(1);
    limit(size).as_secs().saturating_mul(machines)
}
