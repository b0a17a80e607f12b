//! The two meta pages (`internal/common/meta.go`).
//!
//! A meta page is a page header (16 bytes) and this structure, little-endian:
//!
//! ```text
//! offset  size  field
//!      0     4  magic 0xED0CDAED
//!      4     4  version 2
//!      8     4  page size in bytes
//!     12     4  flags (unused)
//!     16     8  root bucket: page id
//!     24     8  root bucket: sequence
//!     32     8  freelist page id; all ones when the freelist is not on disk (NoFreelistSync)
//!     40     8  high-water mark: one above the highest page id in use
//!     48     8  transaction id
//!     56     8  FNV-1a 64 of the 56 bytes above
//! ```
//!
//! A commit writes meta page `txid % 2`, so a torn write leaves the other one whole. Only meta pages carry
//! a checksum: nothing else in the file can be verified by itself.

use crate::bytes::{le_u32, le_u64};
use crate::page::{FLAG_META, PAGE_HEADER_SIZE, PageHeader, PageId, TxId};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const CHECKSUM_OFFSET: usize = 56;
/// Bytes of the structure above.
const META_SIZE: usize = 64;
/// Bytes from the start of a meta page that say all there is to say.
pub(crate) const META_PAGE_PREFIX: usize = PAGE_HEADER_SIZE + META_SIZE;
const NO_FREELIST: u64 = u64::MAX;

/// Page sizes this crate reads and writes, in bytes: powers of two in this range.
pub(crate) const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=(1 << 20);

/// Pages of the largest file read: 8 TiB of 4 KiB pages, a thousand times what etcd is run with. A set of
/// so many pages takes 256 MiB, which a sparse file could otherwise make as large as it likes.
const MAX_PAGES: u64 = 1 << 31;

/// A valid meta page: the root of one committed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Bytes per page.
    pub page_size: u32,
    /// Root page of the root bucket, which holds the named buckets.
    pub root: PageId,
    /// Page of the freelist; `None` when it is not on disk (NoFreelistSync, etcd's way on Linux).
    pub freelist: Option<PageId>,
    /// One above the highest page id in use.
    pub high_water_mark: PageId,
    /// The transaction that wrote it.
    pub txid: TxId,
}

/// Why a meta page is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaDefect {
    /// The file ends before it.
    #[error("the file ends before it")]
    Missing,
    /// Not a bbolt meta page.
    #[error("no bbolt magic number (found {found:#010x})")]
    Magic {
        /// The first four bytes as found.
        found: u32,
    },
    /// Written on a big-endian machine, which this crate does not read.
    #[error("written on a big-endian machine, which is not supported")]
    BigEndian,
    /// A file format version other than 2.
    #[error("file format version {found}, expected 2")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The checksum does not match: a torn write or bit rot.
    #[error("checksum mismatch (a torn write or bit rot)")]
    Checksum,
    /// The checksum matches but a field is out of range.
    #[error("{field} is out of range")]
    Field {
        /// Which field.
        field: &'static str,
    },
    /// The page header does not say `meta page N`.
    #[error("its page header is not that of a meta page")]
    Header,
}

impl Meta {
    /// Reads a meta page from its first bytes (header included).
    pub(crate) fn parse(index: u64, page: &[u8]) -> Result<Self, MetaDefect> {
        let header = PageHeader::parse(page).ok_or(MetaDefect::Missing)?;
        let meta = page.get(PAGE_HEADER_SIZE..META_PAGE_PREFIX).ok_or(MetaDefect::Missing)?;
        let u32_at = |offset| le_u32(meta, offset).ok_or(MetaDefect::Missing);
        let u64_at = |offset| le_u64(meta, offset).ok_or(MetaDefect::Missing);

        match u32_at(0)? {
            MAGIC => {}
            found if found == MAGIC.swap_bytes() => return Err(MetaDefect::BigEndian),
            found => return Err(MetaDefect::Magic { found }),
        }
        // The checksum before everything else: no field means anything until it holds.
        let summed = meta.get(..CHECKSUM_OFFSET).ok_or(MetaDefect::Missing)?;
        if fnv1a64(summed) != u64_at(CHECKSUM_OFFSET)? {
            return Err(MetaDefect::Checksum);
        }
        let found = u32_at(4)?;
        if found != VERSION {
            return Err(MetaDefect::Version { found });
        }
        if header.flags != FLAG_META || header.id != PageId(index) {
            return Err(MetaDefect::Header);
        }
        let freelist = u64_at(32)?;
        let parsed = Self {
            page_size: u32_at(8)?,
            root: PageId(u64_at(16)?),
            freelist: (freelist != NO_FREELIST).then_some(PageId(freelist)),
            high_water_mark: PageId(u64_at(40)?),
            txid: TxId(u64_at(48)?),
        };
        parsed.validate()?;
        Ok(parsed)
    }

    /// Bounds every field that later arithmetic uses, so that no product of them can overflow.
    pub(crate) fn validate(&self) -> Result<(), MetaDefect> {
        let field = |ok: bool, field| if ok { Ok(()) } else { Err(MetaDefect::Field { field }) };
        field(PAGE_SIZES.contains(&self.page_size) && self.page_size.is_power_of_two(), "page size")?;
        field((3..=MAX_PAGES).contains(&self.high_water_mark.0), "high-water mark")?;
        let in_range = |page: PageId| page.0 >= 2 && page < self.high_water_mark;
        field(in_range(self.root), "root page")?;
        field(self.freelist.is_none_or(in_range), "freelist page")
    }

    /// The page's first bytes, header included. The inverse of [`Meta::parse`].
    pub(crate) fn encode(&self, index: u64) -> Vec<u8> {
        let mut page =
            PageHeader { id: PageId(index), flags: FLAG_META, count: 0, overflow: 0 }.encode().to_vec();
        page.extend_from_slice(&MAGIC.to_le_bytes());
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&self.page_size.to_le_bytes());
        page.extend_from_slice(&0u32.to_le_bytes());
        page.extend_from_slice(&self.root.0.to_le_bytes());
        page.extend_from_slice(&0u64.to_le_bytes());
        page.extend_from_slice(&self.freelist.map_or(NO_FREELIST, |page| page.0).to_le_bytes());
        page.extend_from_slice(&self.high_water_mark.0.to_le_bytes());
        page.extend_from_slice(&self.txid.0.to_le_bytes());
        let checksum = fnv1a64(page.get(PAGE_HEADER_SIZE..).unwrap_or_default());
        page.extend_from_slice(&checksum.to_le_bytes());
        page
    }
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        page_size: 4096,
        root: PageId(3),
        freelist: Some(PageId(2)),
        high_water_mark: PageId(10),
        txid: TxId(7),
    };

    #[test]
    fn encode_then_parse_is_the_same() {
        assert_eq!(Meta::parse(0, &META.encode(0)), Ok(META));
        let unsynced = Meta { freelist: None, ..META };
        assert_eq!(Meta::parse(1, &unsynced.encode(1)), Ok(unsynced));
    }

    #[test]
    fn every_flipped_bit_of_the_structure_is_found() {
        let good = META.encode(0);
        for bit in PAGE_HEADER_SIZE * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::parse(0, &bad).is_err(), "bit {bit}");
        }
    }
}
