//! How long work tells what it is doing. Showing it is the caller's.

/// Receives the progress of long work; called from one or several threads.
pub trait Progress: Sync {
    /// A phase of the work starts, with the bytes it expects to go through if it knows them.
    fn start(&self, phase: &str, total_bytes: Option<u64>);

    /// So many bytes more are done in the phase that started last.
    fn advance(&self, bytes: u64);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _phase: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
}
