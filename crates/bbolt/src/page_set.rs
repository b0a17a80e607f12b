//! A set of page ids, one bit each: 32 KiB per GiB of 4 KiB pages.

use crate::page::PageId;

/// A set of page ids.
#[derive(Debug, Clone)]
pub struct PageSet {
    words: Vec<u64>,
    pages: u64,
}

impl PageSet {
    /// A set that can hold ids below `pages`. The caller bounds `pages` by the size of the file.
    pub fn new(pages: u64) -> Self {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(usize::MAX);
        Self { words: vec![0; words], pages }
    }

    /// Adds a page; `false` when it was there already or cannot be held.
    pub fn insert(&mut self, page: PageId) -> bool {
        let Some(word) = usize::try_from(page.0 / 64).ok().and_then(|index| self.words.get_mut(index)) else {
            return false;
        };
        let bit = 1 << (page.0 % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Whether a page is in it.
    pub fn contains(&self, page: PageId) -> bool {
        usize::try_from(page.0 / 64)
            .ok()
            .and_then(|index| self.words.get(index))
            .is_some_and(|word| word & (1 << (page.0 % 64)) != 0)
    }

    /// The ids this set can hold.
    pub fn range(&self) -> impl Iterator<Item = PageId> + use<> {
        (0..self.pages).map(PageId)
    }
}
