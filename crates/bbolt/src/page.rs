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
//! key, and a leaf's value follows its key. The first key directly follows the table, and each later one directly
//! follows the bytes of the element before (`inode.go`, `WriteInodeToPage`): nothing is shared, and a wrong
//! count or size shows.

use std::fmt;
use std::ops::Range;

use crate::bytes::{le_u16, le_u32, le_u64};

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

/// What is wrong with one page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageDefect {
    /// A reference to a page at or above the high-water mark, or to a meta page.
    #[error("referred to, but outside the file's pages (2 to {high_water_mark})")]
    OutOfRange {
        /// Pages of the file.
        high_water_mark: PageId,
    },
    /// The page's own id differs from the place it lies at.
    #[error("its header says page {found}")]
    WrongId {
        /// The id in the header.
        found: PageId,
    },
    /// The page's type is not one that belongs here.
    #[error("its type is {found:#06x}, expected {expected}")]
    WrongType {
        /// The flags in the header.
        found: u16,
        /// What belongs here.
        expected: &'static str,
    },
    /// The page says it continues past the end of the file, or past what one element may need.
    #[error("it claims {pages} pages, more than there are or than an element may take")]
    TooLong {
        /// Pages it claims, itself included.
        pages: u64,
    },
    /// An element's header or bytes lie outside the page.
    #[error("element {index} lies outside the page")]
    ElementOutOfPage {
        /// Index of the element in the page.
        index: usize,
    },
    /// A leaf element carries flags bbolt does not know.
    #[error("element {index} has unknown flags {flags:#x}")]
    ElementFlags {
        /// Index of the element in the page.
        index: usize,
        /// The flags.
        flags: u32,
    },
    /// A leaf page within a bucket element, which bbolt makes only of keys and values, has a bucket.
    #[error("element {index} is a bucket within an inline page")]
    InlineBucket {
        /// Index of the element in the page.
        index: usize,
    },
    /// An element's key is empty or longer than bbolt accepts.
    #[error("key of element {index} has {size} bytes")]
    KeySize {
        /// Index of the element in the page.
        index: usize,
        /// Bytes of the key.
        size: usize,
    },
    /// An element's bytes do not directly follow those of the one before: the element count, a position
    /// or a size is wrong.
    #[error("the bytes of element {index} do not follow those before them")]
    Layout {
        /// Index of the element in the page.
        index: usize,
    },
    /// Keys out of order, or outside the range the parent page gives.
    #[error("key of element {index} is out of order")]
    KeyOrder {
        /// Index of the element in the page.
        index: usize,
    },
    /// A branch page without children, or a leaf page without keys below a branch page; bbolt takes both out.
    #[error("a page without elements")]
    Empty,
    /// Two places refer to the page, or the page refers to itself through its children.
    #[error("referred to more than once")]
    ReferencedTwice,
    /// The tree is deeper than any that bbolt builds.
    #[error("more than {limit} levels below its bucket's root")]
    TooDeep {
        /// Levels this crate follows.
        limit: usize,
    },
    /// A bucket element that holds no valid bucket header, or no valid inline page after it.
    #[error("element {index}: not a bucket's header")]
    BucketHeader {
        /// Index of the element in the page.
        index: usize,
    },
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

    /// Those pages.
    pub(crate) fn pages(self) -> impl Iterator<Item = PageId> {
        (self.id.0..=self.id.0.saturating_add(u64::from(self.overflow))).map(PageId)
    }
}

/// A key and value in a leaf page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafElement<'page> {
    pub(crate) flags: u32,
    pub(crate) key: &'page [u8],
    pub(crate) value: &'page [u8],
    /// Where in the page key and value lie.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A child of a branch page: no key below it is smaller than `key`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BranchElement<'page> {
    pub(crate) key: &'page [u8],
    pub(crate) child: PageId,
    /// Where in the page the key lies.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A page that was read, its overflow included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'page> {
    pub(crate) header: PageHeader,
    /// From the header on.
    pub(crate) bytes: &'page [u8],
}

impl<'page> Page<'page> {
    /// A page whose bytes are at hand, such as one kept within a bucket element.
    pub(crate) fn parse(bytes: &'page [u8]) -> Option<Self> {
        Some(Self { header: PageHeader::parse(bytes)?, bytes })
    }

    /// Element `index` of a leaf page.
    pub(crate) fn leaf_element(self, index: usize) -> Result<LeafElement<'page>, PageDefect> {
        let read = || {
            let element = self.element(index)?;
            let key = data(index, le_u32(element, 4)?, le_u32(element, 8)?)?;
            let value = key.end..key.end.checked_add(le_u32(element, 12)? as usize)?;
            Some(LeafElement {
                flags: le_u32(element, 0)?,
                start: key.start,
                end: value.end,
                key: self.bytes.get(key)?,
                value: self.bytes.get(value)?,
            })
        };
        let element = read().ok_or(PageDefect::ElementOutOfPage { index })?;
        verify_key(index, element.key).map(|()| element)
    }

    /// Element `index` of a branch page.
    pub(crate) fn branch_element(self, index: usize) -> Result<BranchElement<'page>, PageDefect> {
        let read = || {
            let element = self.element(index)?;
            let key = data(index, le_u32(element, 0)?, le_u32(element, 4)?)?;
            let child = PageId(le_u64(element, 8)?);
            Some(BranchElement { child, start: key.start, end: key.end, key: self.bytes.get(key)? })
        };
        let element = read().ok_or(PageDefect::ElementOutOfPage { index })?;
        verify_key(index, element.key).map(|()| element)
    }

    /// Whether it lies within a bucket element: such pages have no id of their own.
    pub(crate) fn is_inline(self) -> bool {
        self.header.id == PageId(0)
    }

    /// Where the element table ends and the first key starts.
    pub(crate) fn table_end(self) -> usize {
        element_start(usize::from(self.header.count))
    }

    /// The page from the start of an element's header on.
    fn element(self, index: usize) -> Option<&'page [u8]> {
        self.bytes.get(element_start(index)..)
    }
}

fn element_start(index: usize) -> usize {
    PAGE_HEADER_SIZE + index * ELEMENT_SIZE
}

/// The `size` bytes that start `pos` bytes from the element's own start.
fn data(index: usize, pos: u32, size: u32) -> Option<Range<usize>> {
    let start = element_start(index).checked_add(pos as usize)?;
    Some(start..start.checked_add(size as usize)?)
}

/// bbolt stores neither an empty key nor one that is longer than it accepts.
fn verify_key(index: usize, key: &[u8]) -> Result<(), PageDefect> {
    match key.len() {
        1..=MAX_KEY_SIZE => Ok(()),
        size => Err(PageDefect::KeySize { index, size }),
    }
}
