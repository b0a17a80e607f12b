//! Where a tree lacks revisions.

use lifeboat_bbolt::BrokenPage;

use crate::revision::Revision;

/// Between two revisions that a tree gives, something is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    /// The revision before; `None` at the start.
    pub(super) after: Option<Revision>,
    /// The revision behind; `None` at the end.
    pub(super) before: Option<Revision>,
    /// Whether all that is missing was on leaf pages that are known and broken. Otherwise what led to leaf pages is
    /// broken, and they may be anywhere in the file, whole.
    pub(super) leaves_are_known: bool,
}

/// The holes of a tree, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holes(Vec<Hole>);

impl Holes {
    /// All revisions are missing.
    pub(super) fn everywhere() -> Self {
        Self(vec![Hole { after: None, before: None, leaves_are_known: false }])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one at the end, for what may have come after `newest`.
    pub(super) fn open_end(&mut self, newest: Option<Revision>) {
        match self.0.last_mut().filter(|last| last.before.is_none()) {
            Some(last) => last.leaves_are_known = false,
            None => self.0.push(Hole { after: newest, before: None, leaves_are_known: false }),
        }
    }

    /// The hole that a revision lies in.
    pub(super) fn around(&self, revision: Revision) -> Option<&Hole> {
        let begin_before = self.0.partition_point(|hole| hole.after < Some(revision));
        let hole = self.0.get(begin_before.checked_sub(1)?)?;
        hole.before.is_none_or(|before| revision < before).then_some(hole)
    }

    /// Whether there is a hole anywhere between two revisions that follow each other among those known.
    pub(super) fn is_between(&self, after: Option<Revision>, before: Option<Revision>) -> bool {
        let begin_before = self.0.partition_point(|hole| match before {
            Some(before) => hole.after < Some(before),
            None => true,
        });
        let last = begin_before.checked_sub(1).and_then(|last| self.0.get(last));
        last.is_some_and(|hole| hole.before.is_none_or(|end| Some(end) > after))
    }
}

/// A hole while the walk is in it.
#[derive(Debug)]
pub(super) struct OpenHole {
    after: Option<Revision>,
    /// Levels from the root to the highest page that is broken; `None` while only single elements are.
    depth: Option<usize>,
    misplaced: bool,
}

impl OpenHole {
    pub(super) fn after(after: Option<Revision>) -> Self {
        Self { after, depth: None, misplaced: false }
    }

    pub(super) fn add(&mut self, page: &BrokenPage) {
        self.depth = Some(self.depth.map_or(page.depth, |depth| depth.min(page.depth)));
        self.misplaced |= page.misplaced;
    }

    pub(super) fn close(&self, before: Option<Revision>, leaf_depth: Option<usize>) -> Hole {
        let at_leaves = self.depth.is_none() || self.depth >= leaf_depth && leaf_depth.is_some();
        Hole { after: self.after, before, leaves_are_known: at_leaves && !self.misplaced }
    }
}

impl FromIterator<Hole> for Holes {
    fn from_iter<I: IntoIterator<Item = Hole>>(holes: I) -> Self {
        Self(holes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_found_by_what_lies_around_them() {
        let main = Revision::main;
        let hole = |after, before| Hole { after, before, leaves_are_known: true };
        let holes: Holes =
            [hole(None, Some(main(3))), hole(Some(main(5)), Some(main(9))), hole(Some(main(20)), None)]
                .into_iter()
                .collect();
        for (revision, inside) in
            [(1, true), (3, false), (5, false), (6, true), (9, false), (20, false), (21, true)]
        {
            assert_eq!(holes.around(main(revision)).is_some(), inside, "{revision}");
        }
        assert!(holes.is_between(None, Some(main(2))));
        assert!(!holes.is_between(Some(main(3)), Some(main(4))));
        assert!(holes.is_between(Some(main(7)), Some(main(8))));
        assert!(holes.is_between(Some(main(5)), Some(main(9))));
        assert!(!holes.is_between(Some(main(9)), Some(main(20))));
        assert!(holes.is_between(Some(main(30)), None));
    }
}
