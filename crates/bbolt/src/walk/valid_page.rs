//! Validation of single pages, not including the pages below them.

use super::{Bounds, TreeVisitor, Walk, in_order, wrong_type};
use crate::Result;
use crate::db::Bucket;
use crate::error::{Damage, Error};
use crate::page::{BranchElement, FLAG_BRANCH, FLAG_LEAF, Page, PageDefect};
use crate::read_at::ReadAt;

impl<R: ReadAt> Walk<'_, R> {
    /// Whether a branch or leaf page is valid, not including the pages below it.
    pub(crate) fn is_valid_page(&mut self, page: Page<'_>) -> bool {
        self.validate_page(page, Bounds::NONE).is_ok()
    }

    pub(super) fn validate_page(&mut self, page: Page<'_>, bounds: Bounds<'_>) -> Result<(), Damage> {
        let defect = |defect| Damage::Page { page: page.header.id, defect };
        let count = usize::from(page.header.count);
        let end = match page.header.flags {
            FLAG_LEAF => match self.leaf(page, 0, bounds, &mut FirstDamage) {
                Err(Error::Damaged(damage)) => return Err(damage),
                _ => count.checked_sub(1).and_then(|last| Some(page.leaf_element(last).ok()?.end)),
            },
            FLAG_BRANCH => Some(branch_end(page, bounds).map_err(defect)?),
            _ => return Err(defect(wrong_type(page))),
        };
        // What refers to a page names it by its first key (`node.go`, `spill`): an earlier page may be in its place.
        let first = match page.header.flags {
            FLAG_LEAF => page.leaf_element(0).map(|element| element.key),
            _ => page.branch_element(0).map(|element| element.key),
        };
        if let (Some(min), Ok(first)) = (bounds.min, first)
            && min != first
        {
            return Err(defect(PageDefect::KeyOrder { index: 0 }));
        }
        // A page takes no more pages than it fills (`node.go`, `spill`): others may follow it.
        let filled = (end.unwrap_or(0) as u64) >= u64::from(page.header.overflow) * self.db.page_size();
        if filled { Ok(()) } else { Err(defect(PageDefect::TooLong { pages: page.header.span() })) }
    }
}

/// Ends at the first damage.
struct FirstDamage;

impl TreeVisitor for FirstDamage {
    type Error = Error;

    fn value(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }

    fn bucket(&mut self, _name: &[u8], _bucket: &Bucket) -> Result<bool> {
        Ok(false)
    }
}

/// Where the last element of a branch page ends, or the first defect of any.
fn branch_end(page: Page<'_>, bounds: Bounds<'_>) -> Result<usize, PageDefect> {
    let count = usize::from(page.header.count);
    let mut previous = None;
    let mut filled = page.table_end();
    for index in 0..count {
        let BranchElement { key, start, end, .. } = page.branch_element(index)?;
        if start != std::mem::replace(&mut filled, end) {
            return Err(PageDefect::Layout { index });
        }
        if !in_order(key, previous, bounds) {
            return Err(PageDefect::KeyOrder { index });
        }
        previous = Some(key);
    }
    if count == 0 { Err(PageDefect::Empty) } else { Ok(filled) }
}
