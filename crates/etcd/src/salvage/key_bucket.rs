//! The `key` bucket of a tree, as far as it can be walked.

use std::collections::HashSet;

use lifeboat_bbolt::{BrokenPage, Damage, PageId, ReadAt, Salvage, SalvageItem};

use super::finding_list::FindingList;
use super::gap::{Gaps, OpenGap};
use crate::check::check_revision;
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::revision::{BucketKey, Revision};

/// What the walk meets, in key order.
pub(super) enum Item<'a> {
    /// A valid revision.
    Revision(BucketKey, &'a [u8]),
    /// Bytes that are not an element, and the revision that its key says, if it says one.
    Element(Option<Revision>, FindingKind),
    /// A page with all below it.
    Page(BrokenPage),
}

/// Walks over the bucket at `place`.
pub(super) fn each_item<R: ReadAt>(
    walk: &mut Salvage<'_, R>,
    place: &lifeboat_bbolt::Bucket,
    visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Revision> = None;
    walk.bucket::<Error>(place, |item| match item {
        SalvageItem::Value { key, value } => match check_revision(key, value) {
            Ok(key) if Some(key.revision) > last => {
                last = Some(key.revision);
                visit(Item::Revision(key, value))
            }
            // A put and a tombstone of one revision.
            Ok(_) => visit(Item::Element(None, FindingKind::RevisionKey { key: key.to_vec() })),
            Err(kind) => {
                let revision = BucketKey::from_bytes(key).map(|key| key.revision);
                visit(Item::Element(revision, kind))
            }
        },
        SalvageItem::Bucket { name, .. } => {
            visit(Item::Element(None, FindingKind::Bbolt(Damage::NestedBucket { name: name.to_vec() })))
        }
        SalvageItem::Broken(page) => visit(Item::Page(page)),
    })
}

/// What a walk over it found.
#[derive(Debug, Default)]
pub(super) struct KeyBucket {
    pub(super) gaps: Gaps,
    /// Leaf pages that lie where they belong, with something wrong in them.
    pub(super) broken_leaves: HashSet<PageId>,
    /// Revisions that are there, with a value that does not decode.
    pub(super) wanted: HashSet<Revision>,
    /// Pages that are broken, those below them not counted.
    pub(super) broken_pages: u64,
    pub(super) newest: Option<Revision>,
    /// Number of valid revisions.
    pub(super) revisions: u64,
}

impl KeyBucket {
    /// A bucket that is not to be found.
    pub(super) fn missing() -> Self {
        Self { gaps: Gaps::everywhere(), ..Self::default() }
    }

    /// Walks over the bucket at `place`.
    pub(super) fn examine<R: ReadAt>(
        walk: &mut Salvage<'_, R>,
        place: &lifeboat_bbolt::Bucket,
        problems: &mut FindingList,
    ) -> Result<Self> {
        let mut found = Self::default();
        let mut open: Option<OpenGap> = None;
        let (mut gaps, mut pages) = (Vec::new(), Vec::new());
        each_item(walk, place, &mut |item| {
            match item {
                Item::Revision(key, _) => {
                    gaps.extend(open.take().map(|gap| (gap, Some(key.revision))));
                    found.newest = Some(key.revision);
                    found.revisions += 1;
                }
                Item::Element(revision, kind) => {
                    open.get_or_insert(OpenGap::after(found.newest));
                    found.wanted.extend(revision);
                    problems.add(kind);
                }
                Item::Page(page) => {
                    open.get_or_insert(OpenGap::after(found.newest)).add(&page);
                    problems.add(FindingKind::Bbolt(page.damage.clone()));
                    found.broken_pages += 1;
                    pages.push((page.page, page.depth, page.misplaced));
                }
            }
            Ok(())
        })?;
        gaps.extend(open.take().map(|gap| (gap, None)));
        let leaf_depth = walk.leaf_depth();
        found.gaps = gaps.into_iter().map(|(gap, before)| gap.close(before, leaf_depth)).collect();
        let leaves =
            pages.into_iter().filter(|(_, depth, misplaced)| Some(*depth) == leaf_depth && !misplaced);
        found.broken_leaves = leaves.map(|(page, ..)| page).collect();
        Ok(found)
    }
}
