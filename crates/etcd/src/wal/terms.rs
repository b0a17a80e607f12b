//! Raft's terms along a log.

/// The terms of the entries read so far that no later one overruled, as runs of one term.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// First index and term; a term of `None` where entries are missing.
    runs: Vec<(u64, Option<u64>)>,
    last: u64,
}

impl Terms {
    /// Adds an entry; those of its index and above are overruled.
    pub(super) fn put(&mut self, index: u64, term: u64) {
        let kept = self.runs.partition_point(|(first, _)| *first < index);
        self.runs.truncate(kept);
        let missing = self.last.saturating_add(1);
        if !self.runs.is_empty() && index > missing {
            self.runs.push((missing, None));
        }
        if self.runs.last().is_none_or(|(_, last)| *last != Some(term)) {
            self.runs.push((index, Some(term)));
        }
        self.last = index;
    }

    /// Index of the last entry; `None` before any.
    pub(super) fn last(&self) -> Option<u64> {
        (!self.runs.is_empty()).then_some(self.last)
    }

    /// The term of an entry.
    pub(super) fn of(&self, index: u64) -> Option<u64> {
        let after = self.runs.partition_point(|(first, _)| *first <= index);
        let (_, term) = self.runs.get(after.checked_sub(1)?).filter(|_| index <= self.last)?;
        *term
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_those_of_the_entries_that_count() {
        let mut terms = Terms::default();
        assert_eq!((terms.last(), terms.of(3)), (None, None));
        for (index, term) in [(5, 1), (6, 1), (7, 2), (8, 2), (7, 3), (8, 3), (11, 3)] {
            terms.put(index, term);
        }
        let found: Vec<_> = (4..=12).map(|index| terms.of(index)).collect();
        let expected = [None, Some(1), Some(1), Some(3), Some(3), None, None, Some(3), None];
        assert_eq!((found.as_slice(), terms.last()), (expected.as_slice(), Some(11)));
    }
}
