//! Pages and their elements (`internal/common/page.go`, `inode.go`).
//!
//! Every page starts with a 16-byte header, little-endian:
//!
//! ```text
//! offset  size  field
//!      0     8  page id: the page lies at id * page size
//!      8     2  flags: 0x01 branch, 0x02 leaf, 0x04 meta, 0x10 freelist
//!     10     2  element count
//!     12     4  overflow: how many pages more belong to this one
//! ```
//!
//! Leaf elements (`flags u32, pos u32, ksize u32, vsize u32`) and branch elements
//! (`pos u32, ksize u32, child page id u64`) follow as a table; `pos` counts from the element itself to its
//! key, and a leaf's value follows its key.

use std::fmt;

use crate::bytes::{le_u16, le_u32, le_u64};
use crate::error::PageDefect;

/// Bytes of a page header.
pub(crate) const PAGE_HEADER_SIZE: usize = 16;
/// Bytes of a leaf or branch element's header.
pub(crate) const ELEMENT_SIZE: usize = 16;

pub(crate) const FLAG_BRANCH: u16 = 0x01;
pub(crate) const FLAG_LEAF: u16 = 0x02;
pub(crate) const FLAG_META: u16 = 0x04;
pub(crate) const FLAG_FREELIST: u16 = 0x10;

/// Leaf element flag: the value is a bucket header.
pub(crate) const ELEMENT_BUCKET: u32 = 0x01;

/// Longest key bbolt accepts, in bytes (`internal/common/types.go`).
pub const MAX_KEY_SIZE: usize = 32768;
/// Longest value bbolt accepts, in bytes.
pub const MAX_VALUE_SIZE: usize = (1 << 31) - 2;

/// Number of a page: it lies at this many page sizes from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PageId(pub u64);

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a transaction; each commit is one above the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TxId(pub u64);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageHeader {
    pub(crate) id: PageId,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    pub(crate) overflow: u32,
}

impl PageHeader {
    pub(crate) fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: PageId(le_u64(page, 0)?),
            flags: le_u16(page, 8)?,
            count: le_u16(page, 10)?,
            overflow: le_u32(page, 12)?,
        })
    }

    pub(crate) fn encode(self) -> [u8; PAGE_HEADER_SIZE] {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = self.id.0.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        let [c0, c1] = self.count.to_le_bytes();
        let [o0, o1, o2, o3] = self.overflow.to_le_bytes();
        [i0, i1, i2, i3, i4, i5, i6, i7, f0, f1, c0, c1, o0, o1, o2, o3]
    }

    /// Pages it takes, itself included.
    pub(crate) fn span(self) -> u64 {
        u64::from(self.overflow) + 1
    }
}

/// A key and value in a leaf page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafElement<'page> {
    pub(crate) flags: u32,
    pub(crate) key: &'page [u8],
    pub(crate) value: &'page [u8],
}

/// A child of a branch page: no key below it is smaller than `key`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BranchElement<'page> {
    pub(crate) key: &'page [u8],
    pub(crate) child: PageId,
}

/// A page that was read, its overflow included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'page> {
    pub(crate) header: PageHeader,
    /// From the header on.
    pub(crate) bytes: &'page [u8],
}

impl<'page> Page<'page> {
    /// A page kept within a bucket element.
    pub(crate) fn inline(bytes: &'page [u8]) -> Option<Self> {
        Some(Self { header: PageHeader::parse(bytes)?, bytes })
    }

    /// Element `index` of a leaf page.
    pub(crate) fn leaf_element(self, index: usize) -> Result<LeafElement<'page>, PageDefect> {
        let read = || {
            let element = self.element(index)?;
            let flags = le_u32(element, 0)?;
            let (key, rest) =
                data(element, le_u32(element, 4)?)?.split_at_checked(le_u32(element, 8)? as usize)?;
            let value = rest.get(..le_u32(element, 12)? as usize)?;
            Some(LeafElement { flags, key, value })
        };
        read().ok_or(PageDefect::ElementOutOfPage { index })
    }

    /// Element `index` of a branch page.
    pub(crate) fn branch_element(self, index: usize) -> Result<BranchElement<'page>, PageDefect> {
        let read = || {
            let element = self.element(index)?;
            let key = data(element, le_u32(element, 0)?)?.get(..le_u32(element, 4)? as usize)?;
            Some(BranchElement { key, child: PageId(le_u64(element, 8)?) })
        };
        read().ok_or(PageDefect::ElementOutOfPage { index })
    }

    /// The page from the start of an element's header on.
    fn element(self, index: usize) -> Option<&'page [u8]> {
        self.bytes.get(PAGE_HEADER_SIZE + index * ELEMENT_SIZE..)
    }
}

/// What lies `pos` bytes from the element's own start.
fn data(element: &[u8], pos: u32) -> Option<&[u8]> {
    element.get(pos as usize..)
}
