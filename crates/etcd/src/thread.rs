//! The end of a thread.

use std::thread::ScopedJoinHandle;

/// Waits for a thread and gives its result; a panic of its goes on in this one, as it would without threads.
pub(crate) fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
