//! The freelist page (`internal/freelist/shared.go`): ids of pages that no state in use refers to.
//!
//! A page header, then ids as u64, ascending. A count of 0xFFFF means that the first u64 is the count.

use crate::Result;
use crate::bytes::le_u64;
use crate::db::Db;
use crate::error::Damage;
use crate::page::{FLAG_FREELIST, PAGE_HEADER_SIZE, Page, PageDefect, PageHeader, PageId};
use crate::page_set::PageSet;
use crate::read_at::ReadAt;

const COUNT_IN_FIRST_ID: u16 = 0xFFFF;

/// Reads the freelist page at `id`. Returns its header and the free pages; what is wrong goes to `damage`.
pub(crate) fn read<R: ReadAt>(
    db: &Db<R>,
    id: PageId,
    damage: &mut dyn FnMut(Damage),
) -> Result<(PageHeader, PageSet)> {
    let mut buf = Vec::new();
    let Page { header, bytes } = db.read_page(id, &mut buf)?;
    if header.flags != FLAG_FREELIST {
        let defect = PageDefect::WrongType { found: header.flags, expected: "freelist" };
        return Err(Damage::Page { page: id, defect }.into());
    }
    let ids = bytes.get(PAGE_HEADER_SIZE..).unwrap_or_default();
    let (count, ids) = match header.count {
        COUNT_IN_FIRST_ID => (le_u64(ids, 0).unwrap_or(0), ids.get(8..).unwrap_or_default()),
        count => (u64::from(count), ids),
    };
    let high_water_mark = db.meta().high_water_mark;
    let mut free = PageSet::new(db.readable_pages());
    for index in 0..count {
        let free_id = usize::try_from(index).ok().and_then(|index| le_u64(ids, index.checked_mul(8)?));
        let Some(free_id) = free_id.map(PageId) else {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            damage(Damage::Page { page: id, defect: PageDefect::ElementOutOfPage { index } });
            break;
        };
        if free_id.0 < 2 || free_id >= high_water_mark {
            damage(Damage::FreedOutOfRange { page: free_id, high_water_mark });
        } else if free.contains(free_id) {
            damage(Damage::FreedTwice { page: free_id });
        } else {
            free.insert(free_id);
        }
    }
    Ok((header, free))
}
