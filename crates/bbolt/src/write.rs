//! The bulk writer: sorted keys and values in, a finished file out, in one sequential pass.
//!
//! Layout: meta pages 0 and 1, an empty freelist at page 2, then leaf and branch pages in the order they
//! fill. A leaf is written as soon as the next element does not fit; its first key and page id go to the
//! branch page above it, which is written when it is full itself, and so on up. Memory is one page per
//! level. The meta pages are written last: until then the file has no valid root and cannot be taken for
//! finished.
//!
//! The freelist is written although etcd on Linux runs with NoFreelistSync: with it, bbolt opens the file
//! without walking all of it (`db.go`, `hasSyncedFreelist`), so etcd starts faster.

mod pages;
mod tree;

use std::io::{Seek, SeekFrom, Write};

use crate::Result;
use crate::db::{Bucket, BucketRoot};
use crate::error::Error;
use crate::meta::{Meta, PAGE_SIZES};
use crate::page::{FLAG_FREELIST, MAX_KEY_SIZE, PageHeader, PageId, TxId};
use pages::PageSink;
use tree::TreeWriter;

const FREELIST_PAGE: PageId = PageId(2);
const FIRST_TREE_PAGE: PageId = PageId(3);

/// How [`Writer`] lays out a file.
#[derive(Debug, Clone, Copy)]
pub struct WriterOptions {
    /// Bytes per page: a power of two from 512 to 1 MiB. bbolt takes the operating system's, mostly 4096.
    pub page_size: u32,
    /// How much of a leaf or branch page to fill before the next is started, in percent (10 to 100).
    pub fill_percent: u8,
}

impl Default for WriterOptions {
    /// 4 KiB pages, filled completely: etcd appends revisions after the last one, never into full pages.
    fn default() -> Self {
        Self { page_size: 4096, fill_percent: 100 }
    }
}

/// Size of a finished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteStats {
    /// Pages of the file.
    pub pages: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a bbolt file from sorted input.
///
/// Buckets are started in ascending order of their names, and each takes its keys in ascending order.
#[derive(Debug)]
pub struct Writer<W: Write + Seek> {
    options: WriterOptions,
    sink: PageSink<W>,
    root: TreeWriter,
    bucket: Option<(Vec<u8>, TreeWriter)>,
}

impl<W: Write + Seek> Writer<W> {
    /// Starts a file at the beginning of `out`, which must be empty and should be buffered.
    ///
    /// # Errors
    /// A page size or fill that bbolt cannot have; a failed write.
    pub fn new(mut out: W, options: WriterOptions) -> Result<Self> {
        let page_size = options.page_size;
        if !PAGE_SIZES.contains(&page_size) || !page_size.is_power_of_two() {
            let limit = "a power of two from 512 bytes to 1 MiB";
            return Err(Error::Size { what: "page size", size: page_size as usize, limit });
        }
        if !(10..=100).contains(&options.fill_percent) {
            let size = usize::from(options.fill_percent);
            return Err(Error::Size { what: "fill percent", size, limit: "10 to 100" });
        }
        for _ in 0..FIRST_TREE_PAGE.0 {
            out.write_all(&vec![0; page_size as usize])?;
        }
        let sink = PageSink::new(out, page_size as usize, FIRST_TREE_PAGE);
        Ok(Self { options, sink, root: TreeWriter::new(options), bucket: None })
    }

    /// Finishes the current bucket, if any, and starts the bucket `name`.
    ///
    /// # Errors
    /// [`Error::KeyOrder`] when `name` is not above the bucket before; a failed write.
    pub fn start_bucket(&mut self, name: &[u8]) -> Result<()> {
        self.finish_bucket()?;
        if name.is_empty() || name.len() > MAX_KEY_SIZE {
            return Err(Error::Size { what: "bucket name", size: name.len(), limit: "1 to 32768 bytes" });
        }
        self.bucket = Some((name.to_vec(), TreeWriter::new(self.options)));
        Ok(())
    }

    /// Adds a key and value to the current bucket.
    ///
    /// # Errors
    /// [`Error::KeyOrder`] when `key` is not above the one before, [`Error::Size`] when bbolt cannot hold
    /// it, [`Error::NoBucket`] with no bucket started, a failed write.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (_, tree) = self.bucket.as_mut().ok_or(Error::NoBucket)?;
        tree.put(&mut self.sink, 0, key, value)
    }

    /// Writes the remaining pages, the freelist and both meta pages, and returns `out`. The caller syncs it to disk.
    ///
    /// # Errors
    /// A failed write.
    pub fn finish(mut self) -> Result<(W, WriteStats)> {
        self.finish_bucket()?;
        let root = self.root.finish(&mut self.sink)?;
        let (mut out, high_water_mark) = self.sink.into_parts();

        let page_size = self.options.page_size;
        let freelist = PageHeader { id: FREELIST_PAGE, flags: FLAG_FREELIST, count: 0, overflow: 0 };
        out.seek(SeekFrom::Start(FREELIST_PAGE.0 * u64::from(page_size)))?;
        out.write_all(&freelist.encode())?;
        // Meta page N carries the even or odd transaction ids; the higher one, 1, is the one in use.
        for (index, txid) in [(0, TxId(0)), (1, TxId(1))] {
            let meta = Meta { page_size, root, freelist: Some(FREELIST_PAGE), high_water_mark, txid };
            out.seek(SeekFrom::Start(index * u64::from(page_size)))?;
            out.write_all(&meta.encode(index))?;
        }
        out.flush()?;
        let pages = high_water_mark.0;
        Ok((out, WriteStats { pages, bytes: pages.saturating_mul(u64::from(page_size)) }))
    }

    fn finish_bucket(&mut self) -> Result<()> {
        let Some((name, mut tree)) = self.bucket.take() else { return Ok(()) };
        let root = match tree.take_inline() {
            Some(page) => BucketRoot::Inline(page),
            None => BucketRoot::Page(tree.finish(&mut self.sink)?),
        };
        let value = Bucket { root }.encode();
        self.root.put(&mut self.sink, crate::page::ELEMENT_BUCKET, &name, &value)
    }
}
