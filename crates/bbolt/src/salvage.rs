//! Salvages a damaged file: its trees as far as they can be walked, and stray leaf pages.
//!
//! Each meta page names a root; when both are broken, a page that looks like a root can serve. [`Salvage`] walks a root's
//! tree and accepts only pages that are valid as a whole. bbolt never erases a page, and a page does not store the
//! transaction that wrote it. So a leaf that no tree leads to may belong to the newest root (a branch above it is broken)
//! or to any earlier one (it is free): the caller, who knows the keys, decides.

mod leaves;

pub use leaves::{Element, Leaf};

use crate::Result;
use crate::db::{Bucket, Db};
use crate::error::{Damage, Error};
use crate::meta::{Meta, MetaDefect, PAGE_SIZES};
use crate::metas;
use crate::page::{FLAG_BRANCH, FLAG_FREELIST, FLAG_LEAF, PageHeader, PageId, TxId};
use crate::page_set::PageSet;
use crate::read_at::ReadAt;
use crate::walk::{BrokenPage, TreeVisitor, Walk};

/// Limit of pages read to detect the page size.
const SAMPLE: u64 = 1 << 16;

/// An item of a damaged bucket, in key order.
#[derive(Debug)]
pub enum SalvageItem<'a> {
    /// A key and value on a valid page in its place.
    Value {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// A nested bucket.
    Bucket {
        /// Its name.
        name: &'a [u8],
        /// Where it is.
        bucket: &'a Bucket,
    },
    /// A broken page: its content, and everything below it, is missing.
    Broken(BrokenPage),
}

/// Walks the buckets of one root, entering every page at most once.
pub struct Salvage<'db, R> {
    walk: Walk<'db, R>,
    valid_pages: PageSet,
    leaf_depth: Option<usize>,
}

impl<'db, R: ReadAt> Salvage<'db, R> {
    /// Starts a walk.
    pub fn new(db: &'db Db<R>) -> Self {
        Self { walk: Walk::new(db), valid_pages: PageSet::new(db.pages_in_file()), leaf_depth: None }
    }

    /// Calls `visit` with every item of a bucket.
    ///
    /// # Errors
    /// A failed read, or what `visit` returned, which also ends the walk.
    pub fn bucket<E: From<Error>>(
        &mut self,
        bucket: &Bucket,
        visit: impl FnMut(SalvageItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.leaf_depth = None;
        let mut visitor =
            Visiting { visit, valid_pages: &mut self.valid_pages, leaf_depth: &mut self.leaf_depth };
        self.walk.tree(bucket, &mut visitor)
    }

    /// Levels between root and leaves of the bucket walked last, the same everywhere in a tree; `None` if no leaf was
    /// reached.
    pub fn leaf_depth(&self) -> Option<usize> {
        self.leaf_depth
    }

    /// The pages that were found valid and in their place, with their overflow.
    pub fn into_valid_pages(self) -> PageSet {
        self.valid_pages
    }
}

struct Visiting<'a, F> {
    visit: F,
    valid_pages: &'a mut PageSet,
    leaf_depth: &'a mut Option<usize>,
}

impl<E: From<Error>, F: FnMut(SalvageItem<'_>) -> Result<(), E>> TreeVisitor for Visiting<'_, F> {
    type Error = E;
    const WHOLE_PAGES: bool = true;

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<(), E> {
        (self.visit)(SalvageItem::Value { key, value })
    }

    fn bucket(&mut self, name: &[u8], bucket: &Bucket) -> Result<bool, E> {
        (self.visit)(SalvageItem::Bucket { name, bucket })?;
        Ok(false)
    }

    fn valid_page(&mut self, header: PageHeader, depth: usize) {
        if header.flags == FLAG_LEAF {
            *self.leaf_depth = Some(depth);
        }
        // A page within its bucket's element has no page number of the file.
        for page in header.pages().filter(|page| *page != PageId(0)) {
            self.valid_pages.insert(page);
        }
    }

    fn broken(&mut self, broken: BrokenPage) -> Result<(), E> {
        (self.visit)(SalvageItem::Broken(broken))
    }

    /// Not within a valid page; an element that is a bucket's and does not parse makes its page invalid.
    fn damage(&mut self, damage: Damage) -> Result<(), E> {
        Err(Error::Damaged(damage).into())
    }
}

impl<R: ReadAt + Clone> Db<R> {
    /// The file as of the other meta page, before the last commit; `None` unless both are valid and name different roots.
    pub fn older(&self) -> Option<Self> {
        let other = self.metas.iter().flatten().find(|meta| meta.txid != self.meta.txid)?;
        (other.root != self.meta.root).then(|| Self { meta: *other, ..self.clone() })
    }

    /// The file as of the root bucket at `root`.
    pub fn at_root(&self, root: PageId) -> Self {
        let high_water_mark = PageId(self.pages_in_file());
        Self { meta: Meta { root, high_water_mark, ..self.meta }, ..self.clone() }
    }

    /// Opens the first `size` bytes of a file without a valid meta page. Use [`Db::at_root`] to set a root.
    ///
    /// # Errors
    /// [`Damage::NoValidMeta`] when bbolt has no such `page_size`, or the file is shorter than three pages.
    pub fn without_meta(file: R, size: u64, page_size: u32) -> Result<Self> {
        let metas = metas::read_both(&file, size)?;
        let pages = size.checked_div(u64::from(page_size)).unwrap_or(0);
        let root = PageId(2);
        let meta =
            Meta { page_size, root, freelist: None, high_water_mark: PageId(pages), txid: TxId::default() };
        meta.validate().map_err(|defect: MetaDefect| Damage::NoValidMeta { meta0: defect, meta1: defect })?;
        Ok(Self { file, size, metas, meta })
    }
}

impl<R: ReadAt> Db<R> {
    /// Number of whole pages in the file, regardless of its meta pages.
    pub fn pages_in_file(&self) -> u64 {
        self.size / self.page_size()
    }
}

/// Detects the page size: the one with the most pages at the place that their headers say; `None` if there are none.
///
/// # Errors
/// A failed read.
pub fn detect_page_size<R: ReadAt>(file: &R, size: u64) -> Result<Option<u32>> {
    let mut best = (0, None);
    let sizes = std::iter::successors(Some(*PAGE_SIZES.start()), |size| size.checked_mul(2));
    for page_size in sizes.take_while(|size| PAGE_SIZES.contains(size)) {
        let pages = size / u64::from(page_size);
        let step = usize::try_from(pages / SAMPLE).unwrap_or(usize::MAX).max(1);
        let mut placed = 0_u64;
        for id in (2..pages).step_by(step) {
            placed += u64::from(header_at(file, PageId(id), page_size)?.is_some());
        }
        if placed > best.0 {
            best = (placed, Some(page_size));
        }
    }
    Ok(best.1)
}

/// The header of a page that lies where it says and is of a type that a file has anywhere.
fn header_at<R: ReadAt>(file: &R, id: PageId, page_size: u32) -> Result<Option<PageHeader>> {
    let mut bytes = [0; crate::page::PAGE_HEADER_SIZE];
    let offset = id.0.saturating_mul(u64::from(page_size));
    file.read_exact_at(&mut bytes, offset).map_err(|source| Error::Read {
        offset,
        length: bytes.len(),
        source,
    })?;
    let header = PageHeader::parse(&bytes);
    let is_known = |flags| matches!(flags, FLAG_BRANCH | FLAG_LEAF | FLAG_FREELIST);
    Ok(header.filter(|header| header.id == id && is_known(header.flags)))
}
