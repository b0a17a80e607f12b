//! Both meta pages of a file, and the newest of them (`db.go`, `mmap`, `meta`).

use crate::Result;
use crate::error::{Damage, Error};
use crate::meta::{META_PAGE_PREFIX, Meta, MetaDefect, PAGE_SIZES};
use crate::read_at::ReadAt;

/// Reads both meta pages of `file`.
///
/// Meta page 1 is at offset page size, and the page size is in the meta pages: when meta page 0 is broken,
/// every possible page size is tried, as bbolt does (`db.go`, `getPageSize`).
pub(crate) fn read_both<R: ReadAt>(file: &R, size: u64) -> Result<[Result<Meta, MetaDefect>; 2]> {
    let first = read_one(file, size, 0, 0)?;
    if let Ok(meta) = first {
        let second = read_one(file, size, 1, u64::from(meta.page_size))?;
        return Ok([first, second]);
    }
    let mut second = Err(MetaDefect::Missing);
    let mut page_size = *PAGE_SIZES.start();
    while page_size <= *PAGE_SIZES.end() {
        let found = read_one(file, size, 1, u64::from(page_size))?;
        if found.is_ok_and(|meta| meta.page_size == page_size) {
            return Ok([first, found]);
        }
        // Remember what stands where meta page 1 of the usual page size would be, for the message.
        if page_size == 4096 {
            second = found.and(Err(MetaDefect::Field { field: "page size" }));
        }
        page_size = page_size.saturating_mul(2);
    }
    Ok([first, second])
}

/// The valid meta with the highest transaction id.
pub(crate) fn newest(metas: &[Result<Meta, MetaDefect>; 2]) -> Result<Meta, Damage> {
    match *metas {
        [Ok(meta0), Ok(meta1)] => Ok(if meta1.txid > meta0.txid { meta1 } else { meta0 }),
        [Ok(meta), Err(_)] | [Err(_), Ok(meta)] => Ok(meta),
        [Err(meta0), Err(meta1)] => Err(Damage::NoValidMeta { meta0, meta1 }),
    }
}

fn read_one<R: ReadAt>(file: &R, size: u64, index: u64, offset: u64) -> Result<Result<Meta, MetaDefect>> {
    let mut page = [0; META_PAGE_PREFIX];
    if offset.checked_add(META_PAGE_PREFIX as u64).is_none_or(|end| end > size) {
        return Ok(Err(MetaDefect::Missing));
    }
    file.read_exact_at(&mut page, offset).map_err(|source| Error::Read {
        offset,
        length: page.len(),
        source,
    })?;
    Ok(Meta::parse(index, &page))
}

#[cfg(test)]
mod tests {
    use crate::page::{PageId, TxId};

    use super::*;

    const META: Meta = Meta {
        page_size: 4096,
        root: PageId(3),
        freelist: Some(PageId(2)),
        high_water_mark: PageId(10),
        txid: TxId(7),
    };

    #[test]
    fn newest_valid_meta_wins() {
        let newer = Meta { txid: TxId(8), ..META };
        assert_eq!(newest(&[Ok(META), Ok(newer)]), Ok(newer));
        assert_eq!(newest(&[Ok(META), Err(MetaDefect::Checksum)]), Ok(META));
        assert!(newest(&[Err(MetaDefect::Missing), Err(MetaDefect::Checksum)]).is_err());
    }
}
