//! A bounded list of ranges of main revisions.

/// Limit of ranges listed.
const MAX_LISTED: usize = 100_000;

/// Ranges of main revisions, first to last; `None` if the end is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The ranges, ascending, up to a limit.
    pub listed: Vec<(i64, Option<i64>)>,
    /// Number of ranges, also beyond the limit.
    pub count: u64,
    /// Mains of those that are not open, together.
    mains: u64,
    /// The highest main in any; `i64::MAX` when the last one is open.
    pub(crate) highest: Option<i64>,
}

impl Ranges {
    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One, from a main on.
    pub(crate) fn from(first: i64) -> Self {
        let mut ranges = Self::default();
        ranges.add(first, None);
        ranges
    }

    /// What of them is above a main.
    pub(crate) fn above(&self, main: i64) -> Self {
        let mut above = Self::default();
        let first = |first: i64| first.max(main.saturating_add(1));
        self.listed.iter().for_each(|(from, last)| above.add(first(*from), *last));
        above.count += self.count.saturating_sub(self.listed.len() as u64);
        Self { highest: self.highest.filter(|highest| *highest > main), ..above }
    }

    /// Number of main revisions in all ranges, a lower bound beyond the limit; `None` if the last range is open.
    pub fn mains(&self) -> Option<u64> {
        (self.highest != Some(i64::MAX)).then_some(self.mains)
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        let (highest, count) = (self.highest.max(other.highest), self.count.max(other.count));
        let mains = self.mains.max(other.mains);
        let mut all: Vec<_> = self.listed.iter().chain(&other.listed).copied().collect();
        all.sort_unstable();
        *self = Self::default();
        all.into_iter().for_each(|(first, last)| self.add(first, last));
        self.highest = highest;
        // For full lists, the count is a lower bound.
        if self.listed.len() == MAX_LISTED {
            self.count = self.count.max(count);
            self.mains = self.mains.max(mains);
        }
    }

    /// Adds a range that begins no earlier than the one before, and joins it with that one where they meet.
    pub(crate) fn add(&mut self, first: i64, last: Option<i64>) {
        if last.is_some_and(|last| last < first) {
            return;
        }
        let meets = self.highest.is_some_and(|highest| first <= highest.saturating_add(1));
        let before_first = self.highest.unwrap_or(i64::MIN).max(first.saturating_sub(1));
        let more = last.map_or(0, |last| u64::try_from(last.saturating_sub(before_first)).unwrap_or(0));
        self.mains = self.mains.saturating_add(more);
        self.highest = self.highest.max(Some(last.unwrap_or(i64::MAX)));
        if !meets {
            self.count += 1;
            if self.listed.len() < MAX_LISTED {
                self.listed.push((first, last));
            }
        } else if self.count <= MAX_LISTED as u64
            && let Some((_, end)) = self.listed.last_mut()
        {
            *end = end.zip(last).map(|(ours, other)| ours.max(other));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one() {
        let mut ranges = Ranges::default();
        for (first, last) in
            [(3, Some(2)), (3, Some(4)), (5, Some(5)), (5, Some(9)), (11, Some(11)), (12, None)]
        {
            ranges.add(first, last);
        }
        assert_eq!(ranges.listed, [(3, Some(9)), (11, None)]);
        assert_eq!((ranges.count, ranges.highest, ranges.mains()), (2, Some(i64::MAX), None));
        let above = ranges.above(8);
        assert_eq!(above.listed, [(9, Some(9)), (11, None)]);
        ranges = Ranges::default();
        [(3, Some(4)), (4, Some(6)), (9, Some(9))]
            .into_iter()
            .for_each(|(first, last)| ranges.add(first, last));
        assert_eq!(
            (ranges.mains(), ranges.above(5).mains(), ranges.above(9).mains()),
            (Some(5), Some(2), Some(0))
        );
        assert!(ranges.above(9).is_empty());
    }
}
