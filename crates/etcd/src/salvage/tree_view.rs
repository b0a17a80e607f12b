//! The tree of one root, as far as it can be walked.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use lifeboat_bbolt::{Damage, Db, PageSet, Salvage, SalvageItem};

use super::finding_list::FindingList;
use super::key_bucket::{Item, KeyBucket, each_item};
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::schema::{self, Bucket};
use crate::source::{VisitPair, VisitRevision};
use crate::state::State;

/// The file, shared by the views of it.
pub(super) type SharedDb = Db<Arc<File>>;

/// Where a root was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// Named by the newest valid meta page.
    Newest,
    /// Named by the other meta page: one commit earlier.
    Older,
    /// A page that looks like a root, because no meta page is valid.
    Found,
}

/// The tree of one root, walked once.
#[derive(Debug)]
pub(super) struct TreeView {
    pub(super) db: SharedDb,
    pub(super) kind: RootKind,
    buckets: Vec<(Bucket, lifeboat_bbolt::Bucket)>,
    /// Whether the root page is complete, so that no bucket is missing.
    root_is_whole: bool,
    /// Incomplete metadata buckets.
    partial: HashSet<Bucket>,
    pub(super) key: KeyBucket,
    /// The metadata buckets, as far as they decode.
    pub(super) state: State,
    /// Valid pages, in their places.
    pub(super) valid_pages: PageSet,
    /// Pages that are broken; those below them are not counted.
    pub(super) broken_pages: u64,
    pub(super) problems: FindingList,
}

impl TreeView {
    /// For a file without a root: nothing is reached.
    pub(super) fn of_nothing(db: SharedDb) -> Self {
        Self { root_is_whole: false, ..Self::begin(db, RootKind::Found) }
    }

    fn begin(db: SharedDb, kind: RootKind) -> Self {
        Self {
            kind,
            buckets: Vec::new(),
            root_is_whole: true,
            partial: HashSet::new(),
            key: KeyBucket::missing(),
            state: State::default(),
            valid_pages: PageSet::new(0),
            broken_pages: 0,
            problems: FindingList::default(),
            db,
        }
    }

    /// Walks the tree of a root.
    pub(super) fn examine(db: &SharedDb, kind: RootKind) -> Result<Self> {
        let mut view = Self::begin(db.clone(), kind);
        let mut walk = Salvage::new(db);
        view.examine_root(&mut walk)?;
        if let Some(place) = view.place(Bucket::Key).cloned() {
            view.key = KeyBucket::examine(&mut walk, &place, &mut view.problems)?;
            view.broken_pages += view.key.broken_pages;
        }
        for bucket in Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key) {
            view.examine_metadata(bucket, &mut walk)?;
        }
        view.valid_pages = walk.into_valid_pages();
        Ok(view)
    }

    /// Whether the tree is complete.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.count == 0 && self.has(Bucket::Key)
    }

    /// Whether the root leads to any bucket.
    pub(super) fn has_root(&self) -> bool {
        !self.buckets.is_empty()
    }

    /// Whether a bucket is complete, or certainly does not exist.
    pub(super) fn has_whole(&self, bucket: Bucket) -> bool {
        !self.partial.contains(&bucket) && (self.root_is_whole || self.has(bucket))
    }

    /// Whether the bucket was found.
    pub(super) fn has(&self, bucket: Bucket) -> bool {
        self.place(bucket).is_some()
    }

    /// Calls `visit` with the valid revisions, ascending.
    pub(super) fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        let Some(place) = self.place(Bucket::Key) else { return Ok(()) };
        each_item(&mut Salvage::new(&self.db), place, &mut |item| match item {
            Item::Revision(key, value) => visit(key, value),
            Item::Element(..) | Item::Page(_) => Ok(()),
        })
    }

    /// Calls `visit` with the valid keys and values of a metadata bucket, in key order.
    pub(super) fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        let Some(place) = self.place(bucket) else { return Ok(()) };
        Salvage::new(&self.db).bucket::<Error>(place, |item| match item {
            SalvageItem::Value { key, value } if decodes(bucket, key, value) => visit(key, value),
            _ => Ok(()),
        })
    }

    fn place(&self, bucket: Bucket) -> Option<&lifeboat_bbolt::Bucket> {
        self.buckets.iter().find_map(|(known, place)| (*known == bucket).then_some(place))
    }

    fn examine_root(&mut self, walk: &mut Salvage<'_, Arc<File>>) -> Result<()> {
        walk.bucket::<Error>(&self.db.root(), |item| {
            let kind = match item {
                SalvageItem::Bucket { name, bucket } => match Bucket::named(name) {
                    Some(known) => {
                        self.buckets.push((known, bucket.clone()));
                        return Ok(());
                    }
                    None => FindingKind::UnknownBucket { name: name.to_vec() },
                },
                SalvageItem::Value { key, .. } => {
                    FindingKind::Bbolt(Damage::ValueInRoot { key: key.to_vec() })
                }
                SalvageItem::Broken(page) => {
                    self.broken_pages += 1;
                    FindingKind::Bbolt(page.damage)
                }
            };
            // What is missing, or has a damaged name, may be any of etcd's buckets.
            self.root_is_whole = false;
            self.problems.add(kind);
            Ok(())
        })?;
        let missing = [Bucket::Key, Bucket::Meta].into_iter().find(|bucket| !self.has(*bucket));
        if let Some(bucket) = missing.filter(|_| self.root_is_whole) {
            self.problems.add(FindingKind::NotEtcd { bucket: bucket.name() });
        }
        Ok(())
    }

    fn examine_metadata(&mut self, bucket: Bucket, walk: &mut Salvage<'_, Arc<File>>) -> Result<()> {
        let Some(place) = self.place(bucket).cloned() else { return Ok(()) };
        walk.bucket::<Error>(&place, |item| {
            let kind = match item {
                SalvageItem::Value { key, value } => match self.state.take(bucket, key, value) {
                    Some(()) if schema::is_known(bucket, key) => return Ok(()),
                    Some(()) => FindingKind::UnknownKey { bucket, key: key.to_vec() },
                    None => FindingKind::MetadataBucket { bucket, key: key.to_vec() },
                },
                SalvageItem::Bucket { name, .. } => {
                    FindingKind::Bbolt(Damage::NestedBucket { name: name.to_vec() })
                }
                SalvageItem::Broken(page) => {
                    self.broken_pages += 1;
                    FindingKind::Bbolt(page.damage)
                }
            };
            self.partial.insert(bucket);
            self.problems.add(kind);
            Ok(())
        })
    }
}

fn decodes(bucket: Bucket, key: &[u8], value: &[u8]) -> bool {
    State::default().take(bucket, key, value).is_some()
}
