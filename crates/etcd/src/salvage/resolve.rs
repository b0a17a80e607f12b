//! Decides which of the revisions found on pages that no tree leads to belong to the store.
//!
//! A page does not say when it was written, but what is on it does. Revisions are immutable, are added in ascending
//! order, and are removed by compactions alone, permanently. So, for any page of the `key` bucket, however old:
//!
//! - A revision above the compact revision belongs to the store: nothing removed it.
//! - A revision at or below it that *any* whole page spans and lacks was removed: when that page was written a
//!   higher revision was already there, so this one had been, and had gone. The pages that still have it are stale.
//! - Other revisions at or below it count only if they are on a page that may be in use: none that is known to be
//!   stale, and where the page in use is known and broken, none but that one. Otherwise a key that was deleted and
//!   compacted away since could be live again.
//! - Between two revisions that follow each other on a whole page there was no other.

use std::cmp::Reverse;

use lifeboat_bbolt::PageSet;

use super::gap::Gaps;
use super::index::{Entry, Marks, crc};
use super::tree_view::TreeView;
use crate::error::Result;
use crate::ranges::Ranges;
use crate::revision::Revision;

/// Limit of revisions listed because their copies differ.
const MAX_LISTED: usize = 1000;

/// Which of the revisions found are kept, lost or left out.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// One copy of each revision that belongs to the store, ascending.
    pub(super) kept: Vec<Entry>,
    /// Main revisions that may have been in the store, in whole or in part, and are not kept.
    pub(super) possibly_lost: Ranges,
    /// Revisions that were found and are left out, since they may have been compacted away.
    pub(super) left_out: u64,
    pub(super) conflicts: Conflicts,
}

/// A bounded list of revisions with differing copies, and a full count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// The revisions, up to a limit.
    pub listed: Vec<Revision>,
    /// Number of revisions, also beyond the limit.
    pub count: u64,
}

impl Conflicts {
    fn add(&mut self, revision: Revision) {
        self.count += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(revision);
        }
    }
}

/// Decides which copies to keep, given the compact revision as far as it is known; `is_known` says that it is certainly
/// not higher.
pub(super) fn resolve(
    view: &TreeView,
    gaps: &Gaps,
    mut entries: Vec<Entry>,
    compact: Option<i64>,
    is_known: bool,
) -> Result<Resolution> {
    let mut sweep = Sweep {
        view,
        gaps,
        compact: if is_known { compact.unwrap_or(0) } else { i64::MAX },
        whole_pages: 0,
        last: None,
        stale: PageSet::new(view.db.pages_in_file()),
        highest_stale: None,
        missing: Vec::new(),
        conflicts: Conflicts::default(),
    };
    let mut groups = entries.chunk_by_mut(|a, b| a.revision() == b.revision()).peekable();
    view.revisions(&mut |key, value| {
        while let Some(group) = groups.next_if(|group| revision(group) < Some(key.revision)) {
            sweep.group(group, None);
        }
        match groups.next_if(|group| revision(group) == Some(key.revision)) {
            Some(group) => sweep.group(group, Some(crc(&key.to_bytes(), value))),
            None => sweep.known(key.revision),
        }
        Ok(())
    })?;
    groups.for_each(|group| sweep.group(group, None));
    sweep.end();

    let Sweep { stale, highest_stale, missing, conflicts, .. } = sweep;
    let compact = compact.max(highest_stale).unwrap_or(0);
    let mut resolution = Resolution { conflicts, ..Resolution::default() };
    let mut lost = missing;
    for group in entries.chunk_by(|a, b| a.revision() == b.revision()) {
        let Some(first) = group.first().filter(|entry| entry.marks.has(Marks::CANDIDATE)) else { continue };
        let revision = first.revision();
        let leaves_are_known = gaps.around(revision).is_some_and(|gap| gap.leaves_are_known);
        let is_there = revision.main > compact || view.key.wanted.contains(&revision);
        let counts = |entry: &&Entry| {
            let may_be_in_use = !leaves_are_known && !stale.contains(entry.page());
            is_there || may_be_in_use || entry.marks.has(Marks::IN_PLACE)
        };
        // Of copies that differ: the one in its place, one on a page that may be in use, the one there are most of.
        let worth = |entry: &&Entry| {
            let in_place = entry.marks.has(Marks::IN_PLACE);
            let same = group.iter().filter(|other| other.crc == entry.crc).count();
            (in_place, !stale.contains(entry.page()), same, Reverse(entry.page()))
        };
        let chosen = group.iter().filter(counts).max_by_key(worth);
        let Some(mut chosen) = chosen.copied() else {
            resolution.left_out += 1;
            lost.push((revision.main, Some(revision.main)));
            continue;
        };
        if differ(group) || !is_there && !chosen.marks.has(Marks::IN_PLACE) {
            chosen.marks.set(Marks::DOUBTFUL);
        }
        resolution.kept.push(chosen);
    }
    lost.sort_unstable();
    lost.into_iter().for_each(|(first, last)| resolution.possibly_lost.add(first, last));
    Ok(resolution)
}

fn revision(group: &[Entry]) -> Option<Revision> {
    group.first().map(Entry::revision)
}

fn differ(group: &[Entry]) -> bool {
    group.iter().any(|entry| Some(entry.crc) != group.first().map(|first| first.crc))
}

/// Goes over the revisions of the tree and those found, together and ascending.
struct Sweep<'a> {
    view: &'a TreeView,
    gaps: &'a Gaps,
    compact: i64,
    /// Whole pages that began and have not ended.
    whole_pages: usize,
    /// The revision met last.
    last: Option<Revision>,
    /// Pages with a revision that is not in the store any more.
    stale: PageSet,
    /// The highest such revision's main.
    highest_stale: Option<i64>,
    /// Ranges of main revisions that no page covers.
    missing: Vec<(i64, Option<i64>)>,
    conflicts: Conflicts,
}

impl Sweep<'_> {
    /// The copies of a revision that were found, and the crc of that in the tree.
    fn group(&mut self, group: &mut [Entry], in_tree: Option<u32>) {
        let Some(revision) = revision(group) else { return };
        self.known(revision);
        let count = |mark| group.iter().filter(|entry| entry.marks.has(mark)).count();
        self.whole_pages += count(Marks::FIRST);
        let is_lacked = self.whole_pages > count(Marks::WHOLE_PAGE);
        self.whole_pages -= count(Marks::LAST);

        if differ(group) || in_tree.is_some_and(|crc| group.iter().any(|entry| entry.crc != crc)) {
            self.conflicts.add(revision);
        }
        if in_tree.is_some() {
            return;
        }
        let in_gap = self.gaps.around(revision).is_some();
        let covered = !in_gap && Some(revision) < self.view.key.newest;
        if (covered || is_lacked) && revision.main <= self.compact {
            self.highest_stale = Some(revision.main);
            for entry in &*group {
                self.stale.insert(entry.page());
            }
        } else if in_gap {
            group.iter_mut().for_each(|entry| entry.marks.set(Marks::CANDIDATE));
        }
    }

    /// A known revision, from the tree or a page.
    fn known(&mut self, revision: Revision) {
        self.missing_until(Some(revision));
        self.last = Some(revision);
    }

    fn end(&mut self) {
        self.missing_until(None);
    }

    fn missing_until(&mut self, next: Option<Revision>) {
        if self.whole_pages > 0 || !self.gaps.is_between(self.last, next) {
            return;
        }
        // Of the last one's transaction, later changes may be missing, and of the next one's, earlier changes.
        let first = self.last.map_or(1, |last| last.main);
        let last = next.map(|next| if next.sub > 0 { next.main } else { next.main.saturating_sub(1) });
        self.missing.push((first, last));
    }
}
