//! A bounded list of findings.

use crate::finding::FindingKind;

/// Limit of findings listed.
const MAX_LISTED: usize = 1000;

/// A bounded list of findings with a full count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingList {
    /// The findings, in the order found, up to a limit.
    pub listed: Vec<FindingKind>,
    /// Number of findings, also beyond the limit.
    pub count: u64,
}

impl FindingList {
    pub(super) fn add(&mut self, kind: FindingKind) {
        self.count += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(kind);
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.count += other.count;
        let room = MAX_LISTED.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.iter().take(room).cloned());
    }
}
