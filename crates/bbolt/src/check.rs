//! Everything that `bbolt check` checks (`tx_check.go`), as typed damage: reachability, double references,
//! pages both free and in use, pages neither, key order within and across pages; and the meta pages and
//! page headers besides.

use crate::Result;
use crate::db::{Bucket, Db};
use crate::error::{Damage, Error};
use crate::freelist;
use crate::page::PageId;
use crate::page_set::PageSet;
use crate::read_at::ReadAt;
use crate::walk::{TreeVisitor, Walk};

/// What [`check`] reports while it walks all buckets once.
pub trait CheckVisitor {
    /// Something is wrong with the file.
    fn damage(&mut self, damage: Damage);

    /// A bucket is entered. `bucket` is its path from the root bucket, outermost first.
    fn bucket(&mut self, _bucket: &[Vec<u8>]) {}

    /// A key and value that could be read. `bucket` is its path from the root bucket, outermost first.
    fn value(&mut self, bucket: &[Vec<u8>], key: &[u8], value: &[u8]);
}

/// Walks every page of every bucket and reports all damage, in one pass.
///
/// # Errors
/// A read that the operating system refused. Damage is reported, not returned.
pub fn check<R: ReadAt>(db: &Db<R>, visitor: &mut dyn CheckVisitor) -> Result<()> {
    for (index, meta) in (0..).zip(db.metas()) {
        if let Err(defect) = *meta {
            visitor.damage(Damage::Meta { index, defect });
        }
    }
    if let Err(Error::Damaged(damage)) = db.ensure_complete() {
        visitor.damage(damage);
    }

    let mut walk = Walk::new(db);
    walk.tree(&db.root(), &mut Checking { visitor, path: Vec::new() })?;
    let mut used = walk.seen;
    used.insert(PageId(0));
    used.insert(PageId(1));

    let Some(id) = db.meta().freelist else {
        // NoFreelistSync: bbolt computes the free pages when it opens the file, so none can be wrong.
        return Ok(());
    };
    match freelist::read(db, id, &mut |damage| visitor.damage(damage)) {
        Ok((header, free)) => {
            for overflow in 0..header.span() {
                used.insert(PageId(id.0 + overflow));
            }
            compare(&used, &free, visitor);
        }
        Err(Error::Damaged(damage)) => visitor.damage(damage),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Reports pages that are both used and free, or neither, as runs.
fn compare(used: &PageSet, free: &PageSet, visitor: &mut dyn CheckVisitor) {
    let mut run: Option<(bool, PageId, PageId)> = None;
    for page in used.range() {
        let (is_used, is_free) = (used.contains(page), free.contains(page));
        run = match run {
            Some((both, first, _)) if is_used == is_free && both == is_used => Some((both, first, page)),
            ended => {
                ended.map(report).into_iter().for_each(|damage| visitor.damage(damage));
                (is_used == is_free).then_some((is_used, page, page))
            }
        };
    }
    run.map(report).into_iter().for_each(|damage| visitor.damage(damage));
}

fn report((both, first, last): (bool, PageId, PageId)) -> Damage {
    if both { Damage::FreedAndReachable { first, last } } else { Damage::UnreachableUnfreed { first, last } }
}

struct Checking<'visitor> {
    visitor: &'visitor mut dyn CheckVisitor,
    path: Vec<Vec<u8>>,
}

impl TreeVisitor for Checking<'_> {
    type Error = Error;

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.path.is_empty() {
            self.visitor.damage(Damage::ValueInRoot { key: key.to_vec() });
        } else {
            self.visitor.value(&self.path, key, value);
        }
        Ok(())
    }

    fn bucket(&mut self, name: &[u8], _bucket: &Bucket) -> Result<bool> {
        self.path.push(name.to_vec());
        self.visitor.bucket(&self.path);
        Ok(true)
    }

    fn leave_bucket(&mut self) {
        self.path.pop();
    }

    fn damage(&mut self, damage: Damage) -> Result<()> {
        self.visitor.damage(damage);
        Ok(())
    }
}
