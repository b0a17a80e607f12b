//! Errors and damage.
//!
//! [`Damage`] is data: what a reader or [`check`](crate::check()) found wrong in the bytes, with its place.
//! [`Error`] is returned when a call cannot continue.

use std::io;

use crate::meta::MetaDefect;
use crate::page::{PageDefect, PageId};

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
