//! What a test does when a peer cannot be had: skip in sight of the reader, or fail where skipping would hide a
//! hole in the coverage.

use std::io::Write;

use super::Unavailable;

/// The peer, or `None` after one line saying why the test is skipped. Tests use [`or_skip!`](crate::or_skip).
///
/// # Panics
///
/// When `CI` is set to anything but nothing: there, every peer has to be present.
#[must_use]
pub fn need<T>(peer: Result<T, Unavailable>) -> Option<T> {
    match peer {
        Ok(peer) => Some(peer),
        Err(missing) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "CI is set, so this test must not be skipped; it needs {missing}");
            // Straight to stderr: the test harness swallows what passing tests print with `eprintln!`.
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
