//! Index of the revisions on stray leaf pages: those that no tree leads to.

use std::collections::BTreeMap;

use lifeboat_bbolt::{Element, Leaf, PageId};

use super::gap::Gaps;
use super::tree_view::{SharedDb, TreeView};
use crate::check::check_revision;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::revision::{BucketKey, Revision};
use crate::schema::Bucket;
use crate::state::State;

/// Leases taken from pages at most: no server has so many.
const MAX_LEASES: usize = 1_000_000;

/// A copy of a revision on a page: 24 bytes, of which there are as many as an 8 GB file has revisions. Ordered by
/// revision, then by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    main: i64,
    sub: u32,
    page: u32,
    index: u16,
    pub(super) marks: Marks,
    /// Of key and value: copies of one revision are the same bytes.
    pub(super) crc: u32,
}

/// What is known of a copy; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// Its page is whole: between two revisions that follow each other on it, there was no other when it was written.
    pub(super) const WHOLE_PAGE: Self = Self(1);
    /// It is the first of its whole page.
    pub(super) const FIRST: Self = Self(2);
    /// It is the last of its whole page.
    pub(super) const LAST: Self = Self(4);
    /// Its page is the one the tree leads to, and broken.
    pub(super) const IN_PLACE: Self = Self(8);
    /// The tree lacks its revision, and may have had it.
    pub(super) const CANDIDATE: Self = Self(16);
    /// It may have been compacted away since, or copies of it differ.
    pub(super) const DOUBTFUL: Self = Self(32);

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }
}

impl Entry {
    pub(super) fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }

    pub(super) fn page(&self) -> PageId {
        PageId(u64::from(self.page))
    }

    /// `None` for an element that is not a valid revision.
    fn of(page: PageId, element: &Element<'_>) -> Option<Self> {
        let Element { index, is_bucket: false, key, value } = *element else { return None };
        let Revision { main, sub } = check_revision(key, value).ok()?.revision;
        let (sub, page) = (u32::try_from(sub).ok()?, u32::try_from(page.0).ok()?);
        Some(Self { main, sub, page, index, marks: Marks::default(), crc: crc(key, value) })
    }
}

/// The crc32c of a revision's key and value.
pub(super) fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// What the search for leaf pages found.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Ascending.
    pub(super) entries: Vec<Entry>,
    /// Encoded leases by their keys, when they were searched for.
    pub(super) leases: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Index {
    /// Goes through the file page by page, past those that `view` leads to, and takes in every page with a revision
    /// in one of the gaps.
    pub(super) fn collect(
        db: &SharedDb,
        view: &TreeView,
        gaps: &Gaps,
        leases: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        progress.start("search pages", Some(db.size()));
        let mut index = Self::default();
        let mut advanced = 0;
        db.for_each_leaf::<Error>(&view.valid_pages, |leaf| {
            let offset = leaf.id().0.saturating_mul(u64::from(db.meta().page_size));
            progress.advance(offset.saturating_sub(advanced));
            advanced = offset;
            index.add_revisions(leaf, view, gaps);
            if leases {
                index.add_leases(leaf);
            }
            Ok(())
        })?;
        index.entries.sort_unstable();
        Ok(index)
    }

    fn add_revisions(&mut self, leaf: &Leaf<'_>, view: &TreeView, gaps: &Gaps) {
        let start = self.entries.len();
        self.entries.extend(leaf.elements().filter_map(|element| Entry::of(leaf.id(), &element)));
        let found = self.entries.get_mut(start..).unwrap_or_default();
        if !found.iter().any(|entry| gaps.around(entry.revision()).is_some()) {
            self.entries.truncate(start);
            return;
        }
        let is_whole = leaf.is_valid && found.len() == usize::from(leaf.count());
        let in_place = view.key.broken_leaves.contains(&leaf.id());
        for entry in &mut *found {
            if is_whole {
                entry.marks.set(Marks::WHOLE_PAGE);
            }
            if in_place {
                entry.marks.set(Marks::IN_PLACE);
            }
        }
        if is_whole {
            found.first_mut().into_iter().for_each(|first| first.marks.set(Marks::FIRST));
            found.last_mut().into_iter().for_each(|last| last.marks.set(Marks::LAST));
        }
    }

    /// Takes in a page of leases. One that was revoked since only lives once more for its time.
    fn add_leases(&mut self, leaf: &Leaf<'_>) {
        let mut state = State::default();
        let mut is_lease = |element: &Element<'_>| {
            !element.is_bucket && state.take(Bucket::Lease, element.key, element.value).is_some()
        };
        if !leaf.is_valid || !leaf.elements().all(|element| is_lease(&element)) {
            return;
        }
        for Element { key, value, .. } in leaf.elements() {
            if self.leases.len() < MAX_LEASES {
                self.leases.insert(key.to_vec(), value.to_vec());
            }
        }
    }
}

/// Reads revisions where an index says they are.
pub(super) struct Reader<'a> {
    db: &'a SharedDb,
    buf: Vec<u8>,
    page: Option<PageId>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(db: &'a SharedDb) -> Self {
        Self { db, buf: Vec::new(), page: None }
    }

    /// Gives `visit` the revision of an entry.
    pub(super) fn read(
        &mut self,
        entry: &Entry,
        visit: &mut dyn FnMut(BucketKey, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let leaf = match self.page.filter(|page| *page == entry.page()) {
            Some(_) => Leaf::reread(&self.buf),
            None => Some(self.db.leaf(entry.page(), &mut self.buf)?),
        };
        self.page = Some(entry.page());
        let element = leaf.and_then(|leaf| leaf.element(entry.index));
        let found = element.filter(|element| crc(element.key, element.value) == entry.crc);
        let found = found.and_then(|element| Some((BucketKey::from_bytes(element.key)?, element.value)));
        let (key, value) = found.ok_or(Error::Changed)?;
        visit(key, value)
    }
}
