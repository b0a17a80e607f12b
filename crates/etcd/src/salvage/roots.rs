//! The roots of a file, and which of them the revisions are read from.

use std::fs::File;
use std::sync::Arc;

use lifeboat_bbolt::{Db, Leaf, PageId, PageSet, detect_page_size};

use super::tree_view::{RootKind, SharedDb, TreeView};
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::schema::Bucket;

/// Limit of pages that look like roots: every commit leaves one, and they are soon overwritten.
const MAX_ROOTS: usize = 8;
/// Limit of keys read from a bucket `meta`; etcd has fewer than ten.
const MAX_META_KEYS: usize = 64;

/// The roots whose trees were walked.
#[derive(Debug)]
pub(super) struct Roots {
    /// The root that revisions are read from.
    pub(super) base: TreeView,
    /// Newer roots, the newest first.
    newer: Vec<TreeView>,
    /// Older roots, the newest first.
    older: Vec<TreeView>,
    /// Whether both meta pages are valid, so that no newer root existed.
    pub(super) metas_are_valid: bool,
    /// The file, with all its pages.
    pub(super) pages: SharedDb,
}

impl Roots {
    /// Walks the trees of the roots in the first `size` bytes of `file`, until one is complete.
    pub(super) fn of(file: Arc<File>, size: u64) -> Result<Self> {
        match Db::open_prefix(file.clone(), size) {
            Ok(newest) => Self::of_metas(&newest),
            Err(lifeboat_bbolt::Error::Damaged(damage)) => {
                let page_size = detect_page_size(&file, size)?;
                let page_size = page_size.ok_or(Error::Damaged(FindingKind::Bbolt(damage)))?;
                Self::of_roots(&Db::without_meta(file, size, page_size)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of_metas(newest: &SharedDb) -> Result<Self> {
        let mut views = vec![TreeView::examine(newest, RootKind::Newest)?];
        let clean = views.iter().any(TreeView::is_clean);
        if let Some(older) = newest.older().filter(|_| !clean) {
            views.push(TreeView::examine(&older, RootKind::Older)?);
        }
        let metas_are_valid = newest.metas().iter().all(Result::is_ok);
        Ok(Self::new(views, metas_are_valid, newest))
    }

    fn of_roots(db: &SharedDb) -> Result<Self> {
        let mut views = Vec::new();
        for root in find_roots(db)? {
            views.push(TreeView::examine(&db.at_root(root), RootKind::Found)?);
            if views.last().is_some_and(TreeView::is_clean) {
                break;
            }
        }
        Ok(Self::new(views, false, db))
    }

    /// Revisions are read from the first complete tree, otherwise from the one with the most revisions.
    fn new(mut views: Vec<TreeView>, metas_are_valid: bool, db: &SharedDb) -> Self {
        let most = views.iter().map(|view| view.key.revisions).max();
        let clean = views.iter().position(TreeView::is_clean);
        let base = clean.or_else(|| views.iter().position(|view| Some(view.key.revisions) == most));
        let older = base.map(|base| views.split_off(base.saturating_add(1))).unwrap_or_default();
        let base = views.pop().unwrap_or_else(|| TreeView::of_nothing(db.clone()));
        let pages = db.at_root(db.meta().root);
        Self { base, newer: views, older, metas_are_valid, pages }
    }

    /// All roots, the newest first.
    pub(super) fn views(&self) -> impl Iterator<Item = &TreeView> {
        self.newer.iter().chain([&self.base]).chain(&self.older)
    }

    /// The newest root.
    pub(super) fn newest(&self) -> &TreeView {
        self.newer.first().unwrap_or(&self.base)
    }

    /// Drops all roots but the base.
    pub(super) fn keep_base_alone(&mut self) {
        self.newer.clear();
        self.older.clear();
    }
}

/// Pages that hold nothing but etcd's buckets, the newest first: the consistent index only grows.
fn find_roots(db: &SharedDb) -> Result<Vec<PageId>> {
    let mut roots = Vec::new();
    db.for_each_leaf::<Error>(&PageSet::new(0), |leaf| {
        if is_root(leaf) {
            let index = consistent_index(&db.at_root(leaf.id()))?;
            roots.push((index, leaf.id()));
            roots.sort_unstable_by(|a, b| b.cmp(a));
            roots.truncate(MAX_ROOTS);
        }
        Ok(())
    })?;
    Ok(roots.into_iter().map(|(_, root)| root).collect())
}

fn is_root(leaf: &Leaf<'_>) -> bool {
    let has = |bucket: Bucket| leaf.elements().any(|element| element.key == bucket.name().as_bytes());
    leaf.is_valid
        && leaf.elements().all(|element| element.is_bucket && Bucket::named(element.key).is_some())
        && has(Bucket::Key)
        && has(Bucket::Meta)
}

/// Reads only the start of a bucket `meta`: etcd's is that small, and a hostile file may consist of pages that look like
/// roots and lead to a bucket as large as the file.
fn consistent_index(db: &SharedDb) -> Result<Option<u64>> {
    let Ok(Some(meta)) = db.bucket(Bucket::Meta.name().as_bytes()) else { return Ok(None) };
    let (mut found, mut looked_at) = (None, 0);
    let walked = db.for_each::<Error>(&meta, |key, value| {
        if key == crate::schema::meta::CONSISTENT_INDEX.as_bytes() {
            found = value.try_into().ok().map(u64::from_be_bytes);
        }
        looked_at += 1;
        if looked_at == MAX_META_KEYS {
            Err(FindingKind::NotEtcd { bucket: Bucket::Meta.name() }.into())
        } else {
            Ok(())
        }
    });
    match walked {
        Ok(()) | Err(Error::Damaged(_)) => Ok(found),
        Err(error) => Err(error),
    }
}
