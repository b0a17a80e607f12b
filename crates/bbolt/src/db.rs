//! An open bbolt file and its pages (`db.go`, `bucket.go`).

use crate::Result;
use crate::bytes::le_u64;
use crate::error::{Damage, Error};
use crate::meta::{Meta, MetaDefect};
use crate::metas;
use crate::page::{FLAG_LEAF, Page, PageDefect, PageHeader, PageId};
use crate::read_at::ReadAt;

/// Bytes of a bucket header: root page id and sequence. An inline page follows when the id is 0.
const BUCKET_HEADER_SIZE: usize = 16;

/// Longest run of pages read as one, in bytes. etcd's largest request is a few MiB; a damaged overflow
/// count must not become an allocation of the file's size.
const MAX_PAGE_BYTES: u64 = 256 << 20;

/// Longest branch page, in bytes. bbolt makes one longer than a page only for keys of kilobytes.
const MAX_BRANCH_BYTES: u64 = 2 << 20;

/// A bbolt file opened for reading.
#[derive(Debug, Clone)]
pub struct Db<R> {
    pub(crate) file: R,
    pub(crate) size: u64,
    pub(crate) metas: [Result<Meta, MetaDefect>; 2],
    pub(crate) meta: Meta,
}

/// A bucket: the root of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub(crate) root: BucketRoot,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BucketRoot {
    Page(PageId),
    /// A small bucket kept as a leaf page within its parent's element.
    Inline(Vec<u8>),
}

impl Bucket {
    pub(crate) fn at(page: PageId) -> Self {
        Self { root: BucketRoot::Page(page) }
    }

    /// Reads the value of a bucket element. An inline page is a leaf with neither an id nor overflow
    /// (`bucket.go`, `inlineable` and `write`).
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let root = match le_u64(value, 0)? {
            0 => {
                let page = value.get(BUCKET_HEADER_SIZE..)?;
                let PageHeader { id, flags, count: _, overflow } = PageHeader::parse(page)?;
                ((id, flags, overflow) == (PageId(0), FLAG_LEAF, 0)).then_some(())?;
                BucketRoot::Inline(page.to_vec())
            }
            page => BucketRoot::Page(PageId(page)),
        };
        value.get(..BUCKET_HEADER_SIZE)?;
        Some(Self { root })
    }

    /// The value of a bucket element. The inverse of [`Bucket::parse`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (page, inline) = match &self.root {
            BucketRoot::Page(page) => (page.0, &[][..]),
            BucketRoot::Inline(bytes) => (0, bytes.as_slice()),
        };
        let mut value = Vec::with_capacity(BUCKET_HEADER_SIZE + inline.len());
        value.extend_from_slice(&page.to_le_bytes());
        value.extend_from_slice(&0u64.to_le_bytes());
        value.extend_from_slice(inline);
        value
    }
}

impl<R: ReadAt> Db<R> {
    /// Opens a file with its newest valid meta page.
    ///
    /// # Errors
    /// [`Damage::NoValidMeta`] when neither meta page can be used; a failed read.
    pub fn open(file: R) -> Result<Self> {
        let size = file.size().map_err(|source| Error::Read { offset: 0, length: 0, source })?;
        Self::open_prefix(file, size)
    }

    /// Opens the first `size` bytes of `file`: an etcd snapshot has a 32-byte digest after its db.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub fn open_prefix(file: R, size: u64) -> Result<Self> {
        let metas = metas::read_both(&file, size)?;
        let meta = metas::newest(&metas)?;
        Ok(Self { file, size, metas, meta })
    }

    /// The meta page in use: the valid one with the highest transaction id.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Both meta pages, with what is wrong with an invalid one.
    pub fn metas(&self) -> &[Result<Meta, MetaDefect>; 2] {
        &self.metas
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size in bytes by the meta page in use: high-water mark times page size.
    pub fn expected_size(&self) -> u64 {
        self.meta.high_water_mark.0.saturating_mul(u64::from(self.meta.page_size))
    }

    /// The underlying file.
    pub fn file(&self) -> &R {
        &self.file
    }

    /// Fails if a transaction was committed to the file since it was opened. Until then, bbolt writes only to pages that
    /// the opened root does not use, so everything read is consistent.
    ///
    /// # Errors
    /// [`Error::Changed`], or a failed read.
    pub fn ensure_unchanged(&self) -> Result<()> {
        if metas::read_both(&self.file, self.size)? == self.metas { Ok(()) } else { Err(Error::Changed) }
    }

    /// Fails if the file is shorter than its meta page says.
    ///
    /// # Errors
    /// [`Damage::Truncated`].
    pub fn ensure_complete(&self) -> Result<()> {
        let expected = self.expected_size();
        if self.size < expected {
            return Err(Damage::Truncated { expected, found: self.size }.into());
        }
        Ok(())
    }

    /// The root bucket, which holds the named ones.
    pub fn root(&self) -> Bucket {
        Bucket::at(self.meta.root)
    }

    /// Bytes per page.
    pub(crate) fn page_size(&self) -> u64 {
        u64::from(self.meta.page_size)
    }

    /// Pages that can be read: counted by the meta page and present in the file.
    pub(crate) fn readable_pages(&self) -> u64 {
        self.meta.high_water_mark.0.min(self.size / u64::from(self.meta.page_size))
    }

    /// Pages that a branch may span. A walk holds one branch of every level, so that they together must not
    /// take what a single leaf with a large value may.
    pub(crate) fn max_branch_pages(&self) -> u64 {
        MAX_BRANCH_BYTES.div_ceil(u64::from(self.meta.page_size))
    }

    /// Reads a page and its overflow into `buf`. The header's id and span are verified, its type is not.
    pub(crate) fn read_page<'buf>(&self, id: PageId, buf: &'buf mut Vec<u8>) -> Result<Page<'buf>> {
        let header = self.read_first(id, buf)?;
        self.read_overflow(header, buf)
    }

    /// Reads the first of the pages of one into `buf` and verifies what its header says.
    pub(crate) fn read_first(&self, id: PageId, buf: &mut Vec<u8>) -> Result<PageHeader> {
        let defect = |defect| Error::Damaged(Damage::Page { page: id, defect });
        let pages = self.readable_pages();
        let out_of_range = || defect(PageDefect::OutOfRange { high_water_mark: PageId(pages) });
        if id.0 < 2 || id.0 >= pages {
            return Err(out_of_range());
        }
        let page_size = self.meta.page_size as usize;
        self.read_part(id, 0, page_size, buf)?;
        let header = PageHeader::parse(buf).ok_or_else(out_of_range)?;
        if header.id != id {
            return Err(defect(PageDefect::WrongId { found: header.id }));
        }
        let bytes = header.span().saturating_mul(u64::from(self.meta.page_size));
        if header.span() > pages - id.0 || bytes > MAX_PAGE_BYTES {
            return Err(defect(PageDefect::TooLong { pages: header.span() }));
        }
        Ok(header)
    }

    /// Reads the rest of a page whose first part [`Db::read_first`] has read into `buf`.
    pub(crate) fn read_overflow<'buf>(
        &self,
        header: PageHeader,
        buf: &'buf mut Vec<u8>,
    ) -> Result<Page<'buf>> {
        let page_size = self.meta.page_size as usize;
        let end = usize::try_from(header.span().saturating_mul(page_size as u64)).unwrap_or(usize::MAX);
        if header.overflow > 0 {
            self.read_part(header.id, page_size, end, buf)?;
        }
        Ok(Page { header, bytes: buf.get(..end).unwrap_or_default() })
    }

    /// Reads bytes `from..to` of a page into the same range of `buf`, which only ever grows: zeroing a
    /// buffer that the read fills anyway would cost as much as the read.
    pub(crate) fn read_part(&self, id: PageId, from: usize, to: usize, buf: &mut Vec<u8>) -> Result<()> {
        if buf.len() < to {
            buf.resize(to, 0);
        }
        let offset = id.0.saturating_mul(u64::from(self.meta.page_size)).saturating_add(from as u64);
        let part = buf.get_mut(from..to).unwrap_or_default();
        let length = part.len();
        self.file.read_exact_at(part, offset).map_err(|source| Error::Read { offset, length, source })
    }
}
