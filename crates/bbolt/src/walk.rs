//! The one depth-first walk over a bucket's tree, used to read and to check.
//!
//! What bounds it on hostile bytes: every page is read at most once, its overflow included (a set of page
//! ids), and so is every byte of a page (elements must not overlap); depth is limited (a cycle must not
//! become a stack overflow, which cannot be caught); memory is one page and its overflow per level.

use crate::Result;
use crate::db::{Bucket, BucketRoot, Db};
use crate::error::{Damage, Error, PageDefect};
use crate::page::{BranchElement, ELEMENT_BUCKET, FLAG_BRANCH, FLAG_LEAF, Page, PageId};
use crate::page_set::PageSet;
use crate::read_at::ReadAt;

/// Levels below a bucket's root, nested buckets included. A tree of 4 KiB pages with etcd's keys has
/// five levels at a terabyte.
const MAX_DEPTH: usize = 48;

/// What a walk meets, in key order.
pub(crate) trait TreeVisitor {
    type Error: From<Error>;

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// A nested bucket; `true` to walk into it now.
    fn bucket(&mut self, name: &[u8], bucket: &Bucket) -> Result<bool, Self::Error>;

    /// All of the nested bucket entered last was walked.
    fn leave_bucket(&mut self) {}

    /// Damage. `Ok` passes over the page or element and goes on; reading stops at the first.
    fn damage(&mut self, damage: Damage) -> Result<(), Self::Error> {
        Err(Error::Damaged(damage).into())
    }
}

/// Keys a subtree may hold: from `min`, below `max`, both as the branch pages above say.
#[derive(Clone, Copy)]
struct Bounds<'key> {
    min: Option<&'key [u8]>,
    max: Option<&'key [u8]>,
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
        let bounds = Bounds { min: None, max: None };
        match &bucket.root {
            BucketRoot::Page(page) => self.subtree(*page, depth, bounds, visitor),
            BucketRoot::Inline(bytes) => match Page::inline(bytes) {
                Some(page) => self.leaf(page, depth, bounds, visitor),
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
        let damage = |defect| Damage::Page { page: id, defect };
        if depth >= MAX_DEPTH {
            return visitor.damage(damage(PageDefect::TooDeep { limit: MAX_DEPTH }));
        }
        let mut buf = self.spare.pop().unwrap_or_default();
        let header = match self.db.read_first(id, &mut buf) {
            Ok(header) => header,
            Err(Error::Damaged(damage)) => return visitor.damage(damage),
            Err(error) => return Err(error.into()),
        };
        if header.flags == FLAG_BRANCH && header.span() > self.db.most_branch_pages() {
            return visitor.damage(damage(PageDefect::TooLong { pages: header.span() }));
        }
        // Before the overflow is read: thousands of references to one long page must cost one read of it.
        for overflow in 0..header.span() {
            if !self.seen.insert(PageId(id.0 + overflow)) {
                return visitor.damage(damage(PageDefect::ReferencedTwice));
            }
        }
        let page = self.db.read_overflow(header, &mut buf)?;
        match page.header.flags {
            FLAG_BRANCH => self.branch(page, depth, bounds, visitor)?,
            FLAG_LEAF => self.leaf(page, depth, bounds, visitor)?,
            found => visitor.damage(damage(PageDefect::WrongType { found, expected: "branch or leaf" }))?,
        }
        self.spare.push(buf);
        Ok(())
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

fn in_order(key: &[u8], previous: Option<&[u8]>, bounds: Bounds<'_>) -> bool {
    previous.is_none_or(|previous| previous < key)
        && bounds.min.is_none_or(|min| min <= key)
        && bounds.max.is_none_or(|max| key < max)
}
