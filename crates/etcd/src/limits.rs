//! Limits of a replay, which the finding on a log that exceeds them names.

/// Limit of the bytes held for keys that requests read, and again for their writes: far above what a server has not yet
/// committed to its db, far below the memory of a machine that restores.
pub(crate) const MAX_REPLAY_BYTES: u64 = 512 << 20;

/// Limit of keys that compares of transactions read: some minutes of work.
pub(crate) const MAX_COMPARED: u64 = 4_000_000_000;
