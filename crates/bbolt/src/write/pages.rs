//! Pages as they are filled and written.

use std::io::Write;

use crate::Result;
use crate::page::{ELEMENT_SIZE, FLAG_BRANCH, FLAG_LEAF, PAGE_HEADER_SIZE, PageHeader, PageId};

/// Output for finished pages, written in sequence.
#[derive(Debug)]
pub(super) struct PageSink<W> {
    out: W,
    page_size: usize,
    next: PageId,
    zeros: Vec<u8>,
}

impl<W: Write> PageSink<W> {
    pub(super) fn new(out: W, page_size: usize, first: PageId) -> Self {
        Self { out, page_size, next: first, zeros: vec![0; page_size] }
    }

    /// The output, and one above the last page written.
    pub(super) fn into_parts(self) -> (W, PageId) {
        (self.out, self.next)
    }

    /// Writes a page at the next free place and tells its id.
    fn write(&mut self, page: &PageBuilder) -> Result<PageId> {
        let id = self.next;
        let span = page.size().div_ceil(self.page_size).max(1);
        let overflow = u32::try_from(span - 1).unwrap_or(u32::MAX);
        let (header, table) = page.encode(id, overflow);
        self.out.write_all(&header)?;
        self.out.write_all(&table)?;
        self.out.write_all(&page.data)?;
        let padding = span * self.page_size - page.size();
        self.out.write_all(self.zeros.get(..padding).unwrap_or_default())?;
        self.next = PageId(id.0 + span as u64);
        Ok(id)
    }
}

/// The leaf or branch page that elements are added to.
#[derive(Debug)]
pub(super) struct PageBuilder {
    flags: u16,
    elements: Vec<Element>,
    /// Keys, each followed by its value in a leaf.
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    /// Offset of the key in `data`.
    start: usize,
    key_size: usize,
    value_size: usize,
    /// Leaf: element flags. Branch: child page.
    tag: u64,
}

impl PageBuilder {
    pub(super) fn leaf() -> Self {
        Self { flags: FLAG_LEAF, elements: Vec::new(), data: Vec::new() }
    }

    pub(super) fn branch() -> Self {
        Self { flags: FLAG_BRANCH, elements: Vec::new(), data: Vec::new() }
    }

    /// Adds a leaf element.
    pub(super) fn push_value(&mut self, flags: u32, key: &[u8], value: &[u8]) {
        self.push(key, value, u64::from(flags));
    }

    /// Adds a branch element.
    pub(super) fn push_child(&mut self, key: &[u8], child: PageId) {
        self.push(key, &[], child.0);
    }

    fn push(&mut self, key: &[u8], value: &[u8], tag: u64) {
        let start = self.data.len();
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
        self.elements.push(Element { start, key_size: key.len(), value_size: value.len(), tag });
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Bytes, header and element table included.
    pub(super) fn size(&self) -> usize {
        PAGE_HEADER_SIZE + self.elements.len() * ELEMENT_SIZE + self.data.len()
    }

    /// Bytes it would have with one more element of `payload` bytes.
    pub(super) fn size_with(&self, payload: usize) -> usize {
        self.size() + ELEMENT_SIZE + payload
    }

    pub(super) fn has_buckets(&self) -> bool {
        self.flags == FLAG_LEAF && self.elements.iter().any(|element| element.tag != 0)
    }

    pub(super) fn first_key(&self) -> &[u8] {
        self.elements.first().map(|first| self.key(*first)).unwrap_or_default()
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.elements.last().map(|last| self.key(*last))
    }

    fn key(&self, element: Element) -> &[u8] {
        self.data.get(element.start..element.start + element.key_size).unwrap_or_default()
    }

    /// Takes the last element of a branch out again.
    pub(super) fn pop_child(&mut self) -> Option<(Vec<u8>, PageId)> {
        let last = self.elements.pop()?;
        Some((self.data.split_off(last.start), PageId(last.tag)))
    }

    /// Writes the page, empties it, and tells its id.
    pub(super) fn flush<W: Write>(&mut self, sink: &mut PageSink<W>) -> Result<PageId> {
        let id = sink.write(self)?;
        self.elements.clear();
        self.data.clear();
        Ok(id)
    }

    /// The page as an inline page in its parent's element: id 0 and no padding.
    pub(super) fn inline(&self) -> Vec<u8> {
        let (header, mut table) = self.encode(PageId(0), 0);
        let mut page = header.to_vec();
        page.append(&mut table);
        page.extend_from_slice(&self.data);
        page
    }

    /// The header and the element table. Sizes fit: keys and values are bounded when they are put, and a
    /// page ends before it has 0xFFFF elements.
    fn encode(&self, id: PageId, overflow: u32) -> ([u8; PAGE_HEADER_SIZE], Vec<u8>) {
        let narrow = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let count = u16::try_from(self.elements.len()).unwrap_or(u16::MAX);
        let header = PageHeader { id, flags: self.flags, count, overflow }.encode();
        let mut table = Vec::with_capacity(self.elements.len() * ELEMENT_SIZE);
        for (index, element) in self.elements.iter().enumerate() {
            // From the element's own header to its key.
            let position = narrow((self.elements.len() - index) * ELEMENT_SIZE + element.start);
            if self.flags == FLAG_LEAF {
                table.extend_from_slice(&narrow(usize::try_from(element.tag).unwrap_or(0)).to_le_bytes());
                table.extend_from_slice(&position.to_le_bytes());
                table.extend_from_slice(&narrow(element.key_size).to_le_bytes());
                table.extend_from_slice(&narrow(element.value_size).to_le_bytes());
            } else {
                table.extend_from_slice(&position.to_le_bytes());
                table.extend_from_slice(&narrow(element.key_size).to_le_bytes());
                table.extend_from_slice(&element.tag.to_le_bytes());
            }
        }
        (header, table)
    }
}
