//! Progress of long operations; the caller displays it.

/// Receives progress of a long operation, from one or more threads.
pub trait Progress: Sync {
    /// A phase starts, with the bytes it will process, if known.
    fn start(&self, phase: &str, total_bytes: Option<u64>);

    /// The current phase has processed this many more bytes.
    fn advance(&self, bytes: u64);
}

/// Discards progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _phase: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
}
