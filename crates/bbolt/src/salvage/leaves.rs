//! Stray leaf pages, found by a scan of the whole file.

use super::header_at;
use crate::Result;
use crate::db::Db;
use crate::error::Error;
use crate::page::{ELEMENT_BUCKET, FLAG_LEAF, Page, PageHeader, PageId};
use crate::page_set::PageSet;
use crate::read_at::ReadAt;
use crate::walk::Walk;

/// A leaf page found by a scan.
#[derive(Debug)]
pub struct Leaf<'a> {
    page: Page<'a>,
    /// Whether the page is valid, and no later page lies in its overflow.
    pub is_valid: bool,
}

/// A key and value of a leaf page.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// Its index in the page.
    pub index: u16,
    /// Whether the value is a bucket's header.
    pub is_bucket: bool,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// The page that [`Db::leaf`] read into `buf` last; `None` when it read none.
    pub fn reread(buf: &'a [u8]) -> Option<Self> {
        Some(Self { page: Page::parse(buf)?, is_valid: false })
    }

    /// Its page id.
    pub fn id(&self) -> PageId {
        self.page.header.id
    }

    /// Number of elements in its header.
    pub fn count(&self) -> u16 {
        self.page.header.count
    }

    /// Its elements; those that can be read if the page is not valid.
    pub fn elements(&self) -> impl Iterator<Item = Element<'a>> + use<'a> {
        let page = self.page;
        // Elements of a valid page do not overlap; those of a hostile one may all claim all of it.
        let mut left = page.bytes.len();
        (0..page.header.count)
            .map_while(move |index| {
                let element = element(page, index);
                let size = element.map_or(0, |element| element.key.len() + element.value.len());
                left = left.checked_sub(size)?;
                Some(element)
            })
            .flatten()
    }

    /// One of its elements, if it can be read.
    pub fn element(&self, index: u16) -> Option<Element<'a>> {
        element(self.page, index)
    }
}

fn element(page: Page<'_>, index: u16) -> Option<Element<'_>> {
    if index >= page.header.count {
        return None;
    }
    let element = page.leaf_element(usize::from(index)).ok()?;
    let is_bucket = match element.flags {
        0 => false,
        ELEMENT_BUCKET => true,
        _ => return None,
    };
    Some(Element { index, is_bucket, key: element.key, value: element.value })
}

impl<R: ReadAt> Db<R> {
    /// Calls `visit` with every leaf page that is not in `known`, in the order they lie in the file.
    ///
    /// `known` are pages whose use is known; they cannot be overflow of a stray page.
    ///
    /// # Errors
    /// A failed read, or what `visit` returned, which also ends the search.
    pub fn for_each_leaf<E: From<Error>>(
        &self,
        known: &PageSet,
        mut visit: impl FnMut(&Leaf<'_>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        R: Clone,
    {
        let whole = self.at_root(self.meta.root);
        let mut walk = Walk::new(&whole);
        let mut buf = Vec::new();
        for id in (2..whole.pages_in_file()).map(PageId).filter(|id| !known.contains(*id)) {
            let header = match whole.read_first(id, &mut buf) {
                Ok(header) if header.flags == FLAG_LEAF => header,
                Ok(_) | Err(Error::Damaged(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            if whole.is_overwritten(header, known)? {
                continue;
            }
            let page = whole.read_overflow(header, &mut buf)?;
            let is_valid = walk.is_valid_page(page);
            visit(&Leaf { page, is_valid })?;
        }
        Ok(())
    }

    /// Reads the leaf page at `id`, which [`Db::for_each_leaf`] found, into a reusable buffer. It is not validated.
    ///
    /// # Errors
    /// Another page, or a failed read.
    pub fn leaf<'buf>(&self, id: PageId, buf: &'buf mut Vec<u8>) -> Result<Leaf<'buf>> {
        Ok(Leaf { page: self.read_page(id, buf)?, is_valid: false })
    }

    /// Whether a page lies where the overflow of this one should be. It was written later: writing this one would
    /// have overwritten its header. So this one was free by then, and its end is gone.
    fn is_overwritten(&self, header: PageHeader, known: &PageSet) -> Result<bool> {
        for page in header.pages().skip(1) {
            if known.contains(page) || header_at(&self.file, page, self.meta.page_size)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
