//! What was found to be wrong, as a list that damage cannot make as long as it likes.

use crate::finding::FindingKind;

/// FindingList listed at most.
const MAX_LISTED: usize = 1000;

/// What was found to be wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingList {
    /// The first of them, in the order met.
    pub listed: Vec<FindingKind>,
    /// How many there are.
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
