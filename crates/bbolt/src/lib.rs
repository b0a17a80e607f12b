//! The bbolt file format: read it, check it, write it in bulk.
//!
//! bbolt is the copy-on-write B+tree file that etcd keeps its state in. This crate follows
//! [bbolt](https://github.com/etcd-io/bbolt) v1.5.0 (`internal/common/page.go`, `meta.go`,
//! `bucket.go`, `node.go`, `tx_check.go`); `docs/formats/bbolt.md` describes the bytes.
//!
//! - [`Db`] opens a file read-only, picks the newest valid meta page and walks buckets with positional
//!   reads: no memory map, one page of memory per tree level, and every page visited at most once, so
//!   a damaged file costs bounded memory and time.
//! - [`check()`] finds what `bbolt check` finds, as typed [`Damage`] with page ids.
//! - [`Salvage`] walks a tree as far as its pages are valid, and [`Db::for_each_leaf`] finds the leaf pages that no
//!   tree leads to any more.
//! - [`Writer`] turns sorted keys and values into a finished file in one sequential pass.
//!
//! ```
//! use lifeboat_bbolt::{Db, Writer, WriterOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut bytes = Vec::new();
//! let mut writer = Writer::new(std::io::Cursor::new(&mut bytes), WriterOptions::default())?;
//! writer.start_bucket(b"meta")?;
//! writer.put(b"consistent_index", &7u64.to_be_bytes())?;
//! writer.finish()?;
//!
//! let db = Db::open(bytes)?;
//! let meta = db.bucket(b"meta")?.ok_or("no such bucket")?;
//! assert_eq!(db.get(&meta, b"consistent_index")?, Some(7u64.to_be_bytes().to_vec()));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::host_endian_bytes
    )
)]

mod buckets;
mod bytes;
mod check;
mod db;
mod error;
mod freelist;
mod meta;
mod metas;
mod page;
mod page_set;
mod read_at;
mod salvage;
mod walk;
mod write;

pub use check::{CheckVisitor, check};
pub use db::{Bucket, Db};
pub use error::{Damage, Error};
pub use meta::{Meta, MetaDefect};
pub use page::{MAX_KEY_SIZE, MAX_VALUE_SIZE, PageDefect, PageId, TxId};
pub use page_set::PageSet;
pub use read_at::ReadAt;
pub use salvage::{Element, Leaf, Salvage, SalvageItem, detect_page_size};
pub use walk::BrokenPage;
pub use write::{WriteStats, Writer, WriterOptions};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
