//! Errors and damage.
//!
//! [`Damage`] is data: what a reader or [`check`](crate::check()) found wrong in the bytes, with its place.
//! [`Error`] is returned when a call cannot continue.

use std::io;

use crate::meta::MetaDefect;
use crate::page::PageId;

/// Error of this crate's functions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read.
    #[error("read {length} bytes at offset {offset}")]
    Read {
        /// Byte offset in the file.
        offset: u64,
        /// Bytes asked for.
        length: usize,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another program committed to the file while it was read.
    #[error("the file changed while it was read")]
    Changed,
    /// The operating system refused a write.
    #[error("write the bbolt file")]
    Write(#[from] io::Error),
    /// The bytes are not what bbolt writes.
    #[error("{0}")]
    Damaged(Damage),
    /// A caller of [`Writer`](crate::Writer) gave keys or buckets that are not in ascending order.
    #[error("key {key:02x?} is not above the one written before it")]
    KeyOrder {
        /// The offending key or bucket name.
        key: Vec<u8>,
    },
    /// A caller of [`Writer`](crate::Writer) gave a key or value that bbolt cannot hold.
    #[error("{what} of {size} bytes: bbolt allows {limit}")]
    Size {
        /// `key`, `value`, `bucket name` or `page size`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// What bbolt allows, in words.
        limit: &'static str,
    },
    /// [`Writer::put`](crate::Writer::put) was called with no bucket started.
    #[error("no bucket was started")]
    NoBucket,
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// Something wrong in the bytes of a bbolt file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Neither meta page is valid: the file has no root to read from.
    #[error("not a readable bbolt file: no valid meta page: page 0: {meta0}; page 1: {meta1}")]
    NoValidMeta {
        /// What is wrong with meta page 0.
        meta0: MetaDefect,
        /// What is wrong with meta page 1.
        meta1: MetaDefect,
    },
    /// One of the two meta pages is invalid; the other one is used.
    #[error("meta page {index}: {defect}")]
    Meta {
        /// 0 or 1.
        index: u8,
        /// What is wrong with it.
        defect: MetaDefect,
    },
    /// The file is shorter than its meta page says.
    #[error("the file holds {found} bytes but its meta page counts {expected}: the end is missing")]
    Truncated {
        /// High-water mark times page size.
        expected: u64,
        /// Size of the file in bytes.
        found: u64,
    },
    /// A page is not what the place that refers to it says.
    #[error("page {page}: {defect}")]
    Page {
        /// The page.
        page: PageId,
        /// What is wrong with it.
        defect: PageDefect,
    },
    /// A value in the root bucket, which holds nothing but buckets: a bucket is lost.
    #[error("key {} in the root bucket is not a bucket", shown(key))]
    ValueInRoot {
        /// The key.
        key: Vec<u8>,
    },
    /// A bucket where only keys and values belong.
    #[error("{} is a bucket, expected a value", shown(name))]
    NestedBucket {
        /// Its name.
        name: Vec<u8>,
    },
    /// Pages that are both in use and on the freelist: the next write may overwrite live data.
    #[error("{}: in use and on the freelist: the next write may overwrite them", pages(*first, *last))]
    FreedAndReachable {
        /// First page of the run.
        first: PageId,
        /// Last page of the run.
        last: PageId,
    },
    /// Pages that are neither in use nor on the freelist: lost space.
    #[error("{}: neither in use nor on the freelist: lost space", pages(*first, *last))]
    UnreachableUnfreed {
        /// First page of the run.
        first: PageId,
        /// Last page of the run.
        last: PageId,
    },
    /// The freelist names a page twice.
    #[error("page {page}: on the freelist twice")]
    FreedTwice {
        /// The page.
        page: PageId,
    },
    /// The freelist names a page that the file does not have.
    #[error("page {page}: on the freelist, but the file ends at page {high_water_mark}")]
    FreedOutOfRange {
        /// The page.
        page: PageId,
        /// Pages of the file.
        high_water_mark: PageId,
    },
}

/// A name, escaped and cut short: a damaged file may hold keys of 32 KiB.
fn shown(name: &[u8]) -> String {
    match name.split_at_checked(64) {
        Some((start, rest)) if !rest.is_empty() => {
            format!("\"{}...\" ({} bytes)", start.escape_ascii(), name.len())
        }
        _ => format!("\"{}\"", name.escape_ascii()),
    }
}

fn pages(first: PageId, last: PageId) -> String {
    if first == last { format!("page {first}") } else { format!("pages {first} to {last}") }
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
