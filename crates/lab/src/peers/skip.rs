//! What a test does when a peer is not available: it is skipped with a message, and fails in CI, where skipping would
//! hide a gap in the coverage.

use std::io::Write;

use super::Unavailable;

/// The peer, or `None` after printing why the test is skipped. Tests use [`or_skip!`](crate::or_skip).
///
/// # Panics
///
/// If `CI` is set and not empty: there, every peer must be available.
#[must_use]
pub fn need<T>(peer: Result<T, Unavailable>) -> Option<T> {
    match peer {
        Ok(peer) => Some(peer),
        Err(missing) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "tests must not be skipped when CI is set; this one needs {missing}");
            // Directly to stderr: the test harness hides what passing tests print with `eprintln!`.
            let _ = writeln!(std::io::stderr(), "skipped: needs {missing}");
            None
        }
    }
}

/// Evaluates to the peer, or returns from the test after printing why it is skipped (see [`need`]).
///
/// A second argument is what to return, for tests that return something: `or_skip!(peers::bbolt(), Ok(()))`.
#[macro_export]
macro_rules! or_skip {
    ($peer:expr $(, $skipped:expr)?) => {
        match $crate::peers::need($peer) {
            Some(peer) => peer,
            None => return $($skipped)?,
        }
    };
}
