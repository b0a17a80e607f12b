//! Gaps in the revisions of a tree.

use lifeboat_bbolt::BrokenPage;

use crate::revision::Revision;

/// A broken part of a tree, between two revisions that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The revision before; `None` at the start.
    pub(super) after: Option<Revision>,
    /// The revision after; `None` at the end.
    pub(super) before: Option<Revision>,
    /// Whether all missing revisions were on known, broken leaf pages. Otherwise a branch page is broken, and the leaf pages
    /// below it may be intact anywhere in the file.
    pub(super) leaves_are_known: bool,
}

/// The gaps of a tree, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    /// All revisions are missing.
    pub(super) fn everywhere() -> Self {
        Self(vec![Gap { after: None, before: None, leaves_are_known: false }])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one at the end, for what may have come after `newest`.
    pub(super) fn open_end(&mut self, newest: Option<Revision>) {
        match self.0.last_mut().filter(|last| last.before.is_none()) {
            Some(last) => last.leaves_are_known = false,
            None => self.0.push(Gap { after: newest, before: None, leaves_are_known: false }),
        }
    }

    /// The gap that a revision lies in.
    pub(super) fn around(&self, revision: Revision) -> Option<&Gap> {
        let begin_before = self.0.partition_point(|gap| gap.after < Some(revision));
        let gap = self.0.get(begin_before.checked_sub(1)?)?;
        gap.before.is_none_or(|before| revision < before).then_some(gap)
    }

    /// Whether there is a gap anywhere between two revisions that follow each other among those known.
    pub(super) fn is_between(&self, after: Option<Revision>, before: Option<Revision>) -> bool {
        let begin_before = self.0.partition_point(|gap| match before {
            Some(before) => gap.after < Some(before),
            None => true,
        });
        let last = begin_before.checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|gap| gap.before.is_none_or(|end| Some(end) > after))
    }
}

/// A gap while the walk is in it.
#[derive(Debug)]
pub(super) struct OpenGap {
    after: Option<Revision>,
    /// Levels from the root to the highest page that is broken; `None` while only single elements are.
    depth: Option<usize>,
    misplaced: bool,
}

impl OpenGap {
    pub(super) fn after(after: Option<Revision>) -> Self {
        Self { after, depth: None, misplaced: false }
    }

    pub(super) fn add(&mut self, page: &BrokenPage) {
        self.depth = Some(self.depth.map_or(page.depth, |depth| depth.min(page.depth)));
        self.misplaced |= page.misplaced;
    }

    pub(super) fn close(&self, before: Option<Revision>, leaf_depth: Option<usize>) -> Gap {
        let at_leaves = self.depth.is_none() || self.depth >= leaf_depth && leaf_depth.is_some();
        Gap { after: self.after, before, leaves_are_known: at_leaves && !self.misplaced }
    }
}

impl FromIterator<Gap> for Gaps {
    fn from_iter<I: IntoIterator<Item = Gap>>(gaps: I) -> Self {
        Self(gaps.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_by_what_lies_around_them() {
        let main = Revision::main;
        let gap = |after, before| Gap { after, before, leaves_are_known: true };
        let gaps: Gaps =
            [gap(None, Some(main(3))), gap(Some(main(5)), Some(main(9))), gap(Some(main(20)), None)]
                .into_iter()
                .collect();
        for (revision, inside) in
            [(1, true), (3, false), (5, false), (6, true), (9, false), (20, false), (21, true)]
        {
            assert_eq!(gaps.around(main(revision)).is_some(), inside, "{revision}");
        }
        assert!(gaps.is_between(None, Some(main(2))));
        assert!(!gaps.is_between(Some(main(3)), Some(main(4))));
        assert!(gaps.is_between(Some(main(7)), Some(main(8))));
        assert!(gaps.is_between(Some(main(5)), Some(main(9))));
        assert!(!gaps.is_between(Some(main(9)), Some(main(20))));
        assert!(gaps.is_between(Some(main(30)), None));
    }
}
