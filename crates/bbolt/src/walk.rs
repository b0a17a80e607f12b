//! The one depth-first walk over a bucket's tree, used to read and to check.
//!
//! What bounds it on hostile bytes: every page is read at most once, its overflow included (a set of page
//! ids), and so is every byte of a page (elements must not overlap); depth is limited (a cycle must not
//! become a stack overflow, which cannot be caught); memory is one page and its overflow per level.

mod valid_page;

use crate::Result;
use crate::db::{Bucket, BucketRoot, Db};
use crate::error::{Damage, Error};
use crate::page::{
    BranchElement, ELEMENT_BUCKET, FLAG_BRANCH, FLAG_LEAF, Page, PageDefect, PageHeader, PageId,
};
use crate::page_set::PageSet;
use crate::read_at::ReadAt;

/// Levels below a bucket's root, nested buckets included. A tree of 4 KiB pages with etcd's keys has
/// five levels at a terabyte.
const MAX_DEPTH: usize = 48;

/// What a walk meets, in key order.
pub(crate) trait TreeVisitor {
    type Error: From<Error>;

    /// Whether a page in which anything is wrong is passed over as a whole, instead of only what is wrong in it.
    const WHOLE_PAGES: bool = false;

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// A nested bucket; `true` to walk into it now.
    fn bucket(&mut self, name: &[u8], bucket: &Bucket) -> Result<bool, Self::Error>;

    /// All of the nested bucket entered last was walked.
    fn leave_bucket(&mut self) {}

    /// Reports damage. `Ok` skips the page or element and continues; reading stops at the first damage.
    fn damage(&mut self, damage: Damage) -> Result<(), Self::Error> {
        Err(Error::Damaged(damage).into())
    }

    /// With [`WHOLE_PAGES`](TreeVisitor::WHOLE_PAGES): a valid page is entered, so many levels below its bucket's
    /// root.
    fn valid_page(&mut self, _header: PageHeader, _depth: usize) {}

    /// A page that is passed over with all below it.
    fn broken(&mut self, broken: BrokenPage) -> Result<(), Self::Error> {
        self.damage(broken.damage)
    }
}

/// A page that a tree refers to and that cannot be walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPage {
    /// The page; 0 for one that lies within its bucket's element.
    pub page: PageId,
    /// Levels below its bucket's root.
    pub depth: usize,
    /// Whether the page itself is valid, but does not belong here: what refers to it may be what is broken.
    pub misplaced: bool,
    /// What is wrong.
    pub damage: Damage,
}

/// Keys a subtree may hold: from `min`, below `max`, both as the branch pages above say.
#[derive(Clone, Copy)]
struct Bounds<'key> {
    min: Option<&'key [u8]>,
    max: Option<&'key [u8]>,
}

impl Bounds<'_> {
    const NONE: Self = Self { min: None, max: None };
}

pub(crate) struct Walk<'db, R> {
    db: &'db Db<R>,
    /// Pages entered, their overflow included.
    pub(crate) seen: PageSet,
    spare: Vec<Vec<u8>>,
}

impl<'db, R: ReadAt> Walk<'db, R> {
    pub(crate) fn new(db: &'db Db<R>) -> Self {
        Self { db, seen: PageSet::new(db.readable_pages()), spare: Vec::new() }
    }

    /// Walks a bucket.
    pub(crate) fn tree<V: TreeVisitor>(&mut self, bucket: &Bucket, visitor: &mut V) -> Result<(), V::Error> {
        self.tree_at(bucket, 0, visitor)
    }

    fn tree_at<V: TreeVisitor>(
        &mut self,
        bucket: &Bucket,
        depth: usize,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        match &bucket.root {
            BucketRoot::Page(page) => self.subtree(*page, depth, Bounds::NONE, visitor),
            BucketRoot::Inline(bytes) => match Page::parse(bytes) {
                Some(page) => self.page(page, depth, Bounds::NONE, visitor),
                None => Ok(()),
            },
        }
    }

    fn subtree<V: TreeVisitor>(
        &mut self,
        id: PageId,
        depth: usize,
        bounds: Bounds<'_>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let broken = |misplaced, damage| BrokenPage { page: id, depth, misplaced, damage };
        let defect = |defect| Damage::Page { page: id, defect };
        if depth >= MAX_DEPTH {
            return visitor.broken(broken(true, defect(PageDefect::TooDeep { limit: MAX_DEPTH })));
        }
        let mut buf = self.spare.pop().unwrap_or_default();
        let header = match self.db.read_first(id, &mut buf) {
            Ok(header) => header,
            Err(Error::Damaged(damage)) => return visitor.broken(broken(false, damage)),
            Err(error) => return Err(error.into()),
        };
        if header.flags == FLAG_BRANCH && header.span() > self.db.max_branch_pages() {
            return visitor.broken(broken(false, defect(PageDefect::TooLong { pages: header.span() })));
        }
        // Before the overflow is read: thousands of references to one long page must cost one read of it.
        for overflow in 0..header.span() {
            if !self.seen.insert(PageId(id.0 + overflow)) {
                return visitor.broken(broken(true, defect(PageDefect::ReferencedTwice)));
            }
        }
        let page = self.db.read_overflow(header, &mut buf)?;
        self.page(page, depth, bounds, visitor)?;
        self.spare.push(buf);
        Ok(())
    }

    fn page<V: TreeVisitor>(
        &mut self,
        page: Page<'_>,
        depth: usize,
        bounds: Bounds<'_>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let id = page.header.id;
        if V::WHOLE_PAGES {
            if let Err(damage) = self.validate_page(page, bounds) {
                let misplaced = self.is_valid_page(page);
                return visitor.broken(BrokenPage { page: id, depth, misplaced, damage });
            }
            visitor.valid_page(page.header, depth);
        }
        match page.header.flags {
            FLAG_BRANCH => self.branch(page, depth, bounds, visitor),
            FLAG_LEAF => self.leaf(page, depth, bounds, visitor),
            _ => {
                let damage = Damage::Page { page: id, defect: wrong_type(page) };
                visitor.broken(BrokenPage { page: id, depth, misplaced: false, damage })
            }
        }
    }

    fn branch<V: TreeVisitor>(
        &mut self,
        page: Page<'_>,
        depth: usize,
        bounds: Bounds<'_>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let damage = |defect| Damage::Page { page: page.header.id, defect };
        let count = usize::from(page.header.count);
        if count == 0 {
            return visitor.damage(damage(PageDefect::Empty));
        }
        let mut previous = None;
        let mut filled = page.table_end();
        for index in 0..count {
            let BranchElement { key, child, start, end } = match page.branch_element(index) {
                Ok(element) => element,
                Err(defect) => {
                    visitor.damage(damage(defect))?;
                    continue;
                }
            };
            if start != std::mem::replace(&mut filled, end) {
                visitor.damage(damage(PageDefect::Layout { index }))?;
            }
            if !in_order(key, previous, bounds) {
                visitor.damage(damage(PageDefect::KeyOrder { index }))?;
            }
            previous = Some(key);
            let next = page.branch_element(index + 1).ok().filter(|_| index + 1 < count);
            let bounds = Bounds { min: Some(key), max: next.map(|next| next.key).or(bounds.max) };
            self.subtree(child, depth + 1, bounds, visitor)?;
        }
        Ok(())
    }

    fn leaf<V: TreeVisitor>(
        &mut self,
        page: Page<'_>,
        depth: usize,
        bounds: Bounds<'_>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let damage = |defect| Damage::Page { page: page.header.id, defect };
        let count = usize::from(page.header.count);
        // Only a bucket's root, which no branch page bounds, may be an empty leaf: the bucket is empty.
        if count == 0 && bounds.min.is_some() {
            return visitor.damage(damage(PageDefect::Empty));
        }
        let mut previous = None;
        let mut filled = page.table_end();
        for index in 0..count {
            let element = match page.leaf_element(index) {
                Ok(element) => element,
                Err(defect) => {
                    visitor.damage(damage(defect))?;
                    continue;
                }
            };
            if element.start != filled {
                visitor.damage(damage(PageDefect::Layout { index }))?;
            }
            let overlaps = element.start < filled;
            filled = filled.max(element.end);
            if overlaps {
                continue;
            }
            if !in_order(element.key, previous, bounds) {
                visitor.damage(damage(PageDefect::KeyOrder { index }))?;
            }
            previous = Some(element.key);
            match element.flags {
                0 => visitor.value(element.key, element.value)?,
                ELEMENT_BUCKET if page.is_inline() => {
                    visitor.damage(damage(PageDefect::InlineBucket { index }))?;
                }
                ELEMENT_BUCKET => match Bucket::parse(element.value) {
                    Some(bucket) => {
                        if visitor.bucket(element.key, &bucket)? {
                            self.tree_at(&bucket, depth + 1, visitor)?;
                            visitor.leave_bucket();
                        }
                    }
                    None => visitor.damage(damage(PageDefect::BucketHeader { index }))?,
                },
                flags => visitor.damage(damage(PageDefect::ElementFlags { index, flags }))?,
            }
        }
        if page.is_inline() && filled != page.bytes.len() {
            visitor.damage(damage(PageDefect::Layout { index: count }))?;
        }
        Ok(())
    }
}

/// Of a page that is neither a branch nor a leaf.
fn wrong_type(page: Page<'_>) -> PageDefect {
    PageDefect::WrongType { found: page.header.flags, expected: "branch or leaf" }
}

fn in_order(key: &[u8], previous: Option<&[u8]>, bounds: Bounds<'_>) -> bool {
    previous.is_none_or(|previous| previous < key)
        && bounds.min.is_none_or(|min| min <= key)
        && bounds.max.is_none_or(|max| key < max)
}
