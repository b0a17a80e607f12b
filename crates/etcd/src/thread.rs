//! Joins scoped threads.

use std::thread::ScopedJoinHandle;

/// Waits for a thread and returns its result; a panic in it is resumed here.
pub(crate) fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
