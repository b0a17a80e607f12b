//! Finds missing revisions above the compact revision.

use crate::finding::FindingKind;
use crate::ranges::Ranges;
use crate::revision::Revision;

/// Finds gaps between revisions. Above the compact revision there are none in an undamaged store: every transaction that changes anything takes the next main, and its changes number their subs from 0
/// (`mvcc/kvstore_txn.go`).
pub(crate) struct GapFinder {
    last: Revision,
    /// Main revisions that are missing in whole or in part.
    pub(crate) missing: Ranges,
}

impl GapFinder {
    /// Those above `compact`.
    pub(crate) fn above(compact: i64) -> Self {
        Self { last: Revision { main: compact, sub: i64::MAX }, missing: Ranges::default() }
    }

    /// What is missing, as a finding.
    pub(crate) fn finding(&self) -> Option<FindingKind> {
        let (first, last) = *self.missing.listed.first()?;
        let ranges = self.missing.count;
        Some(FindingKind::RevisionsMissing { first, last: last.unwrap_or(first), ranges })
    }

    /// Goes on to the next revision that is there.
    pub(crate) fn meet(&mut self, next: Revision) {
        let Revision { main, sub } = self.last;
        if next <= self.last {
            return;
        }
        self.last = next;
        if next.main == main && next.sub > sub.saturating_add(1) {
            self.missing.add(main, Some(main));
        } else if next.main > main {
            // Of the next one's transaction, changes before it may be missing.
            let last = if next.sub > 0 { next.main } else { next.main.saturating_sub(1) };
            self.missing.add(main.saturating_add(1), Some(last));
        }
    }
}
