//! One bucket's tree, built from the left, bottom up.

use std::io::Write;

use super::WriterOptions;
use super::pages::{PageBuilder, PageSink};
use crate::Result;
use crate::error::Error;
use crate::page::{MAX_KEY_SIZE, MAX_VALUE_SIZE, PageId};

/// Elements a page may hold: the count is 16 bits, and bbolt keeps the highest one free.
const MAX_ELEMENTS: usize = 0xFFFE;
/// bbolt never makes a page of fewer elements while there are more to come (`node.go`,
/// `minKeysPerPage`): a large value shares its pages with a neighbour.
const MIN_ELEMENTS: usize = 2;

/// Pages a leaf may span to waste less, when no single element needs more.
const MAX_SPAN: usize = 8;
/// A leaf is closed when no more than this part of its pages stays unused.
const MAX_WASTE: usize = 16;

#[derive(Debug)]
pub(super) struct TreeWriter {
    page_size: usize,
    fill_percent: usize,
    /// Bytes up to which a bucket is kept in its parent's element (`bucket.go`, `maxInlineBucketSize`).
    inline_limit: usize,
    leaf: PageBuilder,
    /// The open branch page of each level, the lowest first.
    branches: Vec<PageBuilder>,
    last_key: Option<Vec<u8>>,
}

impl TreeWriter {
    pub(super) fn new(options: WriterOptions) -> Self {
        let page_size = options.page_size as usize;
        Self {
            page_size,
            fill_percent: usize::from(options.fill_percent),
            inline_limit: page_size / 4,
            leaf: PageBuilder::leaf(),
            branches: Vec::new(),
            last_key: None,
        }
    }

    /// Appends an element.
    pub(super) fn put<W: Write>(
        &mut self,
        sink: &mut PageSink<W>,
        flags: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        if key.is_empty() || key.len() > MAX_KEY_SIZE {
            return Err(Error::Size { what: "key", size: key.len(), limit: "1 to 32768 bytes" });
        }
        if value.len() > MAX_VALUE_SIZE {
            return Err(Error::Size { what: "value", size: value.len(), limit: "at most 2147483646 bytes" });
        }
        if self.leaf.last_key().or(self.last_key.as_deref()).is_some_and(|last| last >= key) {
            return Err(Error::KeyOrder { key: key.to_vec() });
        }
        if self.is_leaf_full(key.len() + value.len()) {
            self.last_key = self.leaf.last_key().map(<[u8]>::to_vec);
            self.flush_leaf(sink)?;
        }
        self.leaf.push_value(flags, key, value);
        Ok(())
    }

    /// The whole bucket as an inline page, when it is small enough to live in its parent's element.
    pub(super) fn take_inline(&mut self) -> Option<Vec<u8>> {
        let fits =
            self.branches.is_empty() && self.leaf.size() <= self.inline_limit && !self.leaf.has_buckets();
        fits.then(|| self.leaf.inline())
    }

    /// Writes the pages still open and tells the root.
    pub(super) fn finish<W: Write>(mut self, sink: &mut PageSink<W>) -> Result<PageId> {
        if self.branches.is_empty() {
            return self.leaf.flush(sink);
        }
        self.flush_leaf(sink)?;
        let mut level = 0;
        loop {
            let Some(branch) = self.branches.get_mut(level) else {
                // Not reached: every level flushed below adds one to the level above it.
                return Err(Error::NoBucket);
            };
            let first_key = branch.first_key().to_vec();
            let page = branch.flush(sink)?;
            level += 1;
            if level == self.branches.len() {
                return Ok(page);
            }
            self.push_child(sink, level, &first_key, page)?;
        }
    }

    /// Whether the leaf is to be written before an element of `payload` bytes is added.
    ///
    /// Values of two to four KiB, which Kubernetes has many of, would leave a quarter of all pages unused
    /// if every leaf were closed at the first element that does not fit. So a leaf goes on over further
    /// pages until little is left unused; bbolt reads such pages, and splits them when it changes them.
    fn is_leaf_full(&self, payload: usize) -> bool {
        if self.leaf.len() >= MAX_ELEMENTS {
            return true;
        }
        let span = self.leaf.size().div_ceil(self.page_size);
        let budget = self.budget(span);
        let unused = budget.saturating_sub(self.leaf.size());
        let closed = unused * MAX_WASTE <= budget || span >= MAX_SPAN;
        self.leaf.size_with(payload) > budget && self.leaf.len() >= MIN_ELEMENTS && closed
    }

    /// Bytes to fill of so many pages.
    fn budget(&self, pages: usize) -> usize {
        pages * self.page_size * self.fill_percent / 100
    }

    fn flush_leaf<W: Write>(&mut self, sink: &mut PageSink<W>) -> Result<()> {
        let first_key = self.leaf.first_key().to_vec();
        let page = self.leaf.flush(sink)?;
        self.push_child(sink, 0, &first_key, page)
    }

    fn push_child<W: Write>(
        &mut self,
        sink: &mut PageSink<W>,
        level: usize,
        key: &[u8],
        child: PageId,
    ) -> Result<()> {
        if level == self.branches.len() {
            self.branches.push(PageBuilder::branch());
        }
        let full = self.budget(1);
        let Some(branch) = self.branches.get_mut(level) else { return Ok(()) };
        // Keep the last child back when a full page is written, so that the page after it, be it the
        // last, never has a single child: bbolt would not build one. That takes one above the minimum.
        let crowded = branch.size_with(key.len()) > full && branch.len() > MIN_ELEMENTS;
        if crowded || branch.len() >= MAX_ELEMENTS {
            let kept = branch.pop_child();
            let first_key = branch.first_key().to_vec();
            let page = branch.flush(sink)?;
            if let Some((key, child)) = kept {
                branch.push_child(&key, child);
            }
            branch.push_child(key, child);
            return self.push_child(sink, level + 1, &first_key, page);
        }
        branch.push_child(key, child);
        Ok(())
    }
}
