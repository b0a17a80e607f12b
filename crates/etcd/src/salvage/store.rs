//! The salvaged store: the revisions of one tree and of stray pages, and each metadata bucket from the root that has most
//! of it.

use std::collections::BTreeMap;

use lifeboat_bbolt::Damage;

use super::finding_list::FindingList;
use super::index::{Entry, Marks, Reader};
use super::report::BucketReport;
use super::roots::Roots;
use super::tree_view::{RootKind, TreeView};
use crate::error::Result;
use crate::finding::FindingKind;
use crate::revision::Revision;
use crate::schema::Bucket;
use crate::source::{VisitPair, VisitRevision};

/// Where a metadata bucket was recovered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketOrigin {
    /// The tree of one of the file's roots.
    Root(RootKind),
    /// Leaf pages that no tree leads to.
    Pages,
    /// The base that the log was read on top of, in place of the data dir's own db.
    Base,
    /// Not found: the bucket is lost.
    Lost,
}

/// What was salvaged from a db.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) roots: Roots,
    /// Revisions on stray pages, ascending.
    kept: Vec<Entry>,
    /// Leases on stray pages, by their keys.
    leases: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    pub(super) fn new(roots: Roots) -> Self {
        Self { roots, kept: Vec::new(), leases: BTreeMap::new() }
    }

    /// Adds what was found on stray pages.
    pub(super) fn add(&mut self, kept: Vec<Entry>, leases: BTreeMap<Vec<u8>, Vec<u8>>) {
        (self.kept, self.leases) = (kept, leases);
    }

    /// The tree that revisions are read from.
    pub(super) fn base(&self) -> &TreeView {
        &self.roots.base
    }

    /// Calls `visit` with all revisions, ascending.
    pub(super) fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        let mut reader = Reader::new(&self.roots.pages);
        let mut kept = self.kept.iter().peekable();
        self.base().revisions(&mut |key, value| {
            while let Some(entry) = kept.next_if(|entry| entry.revision() < key.revision) {
                reader.read(entry, visit)?;
            }
            visit(key, value)
        })?;
        kept.try_for_each(|entry| reader.read(entry, visit))?;
        Ok(self.roots.pages.ensure_unchanged()?)
    }

    /// Number of revisions from stray pages.
    pub(super) fn revisions_of_pages(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Revisions that may not belong to the store, ascending.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = Revision> {
        self.kept.iter().filter(|entry| entry.marks.has(Marks::DOUBTFUL)).map(Entry::revision)
    }

    /// Calls `visit` with the pairs of a metadata bucket, in key order.
    pub(super) fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        let leases = (bucket == Bucket::Lease).then_some(&self.leases);
        let mut found = leases.into_iter().flatten().peekable();
        if let Some(view) = self.holder(bucket) {
            view.metadata_bucket(bucket, &mut |key, value| {
                while let Some((key, value)) = found.next_if(|(found, _)| found.as_slice() < key) {
                    visit(key, value)?;
                }
                found.next_if(|(found, _)| found.as_slice() == key);
                visit(key, value)
            })?;
        }
        found.try_for_each(|(key, value)| visit(key, value))
    }

    /// Whether a tree has all of a metadata bucket.
    pub(super) fn has_whole(&self, bucket: Bucket) -> bool {
        self.holder(bucket).is_some_and(|view| view.has_whole(bucket))
    }

    /// The compact revision, and whether it is certain that it is not higher.
    pub(super) fn compact_revision(&self) -> (Option<i64>, bool) {
        let newest = self.roots.newest();
        let is_known = newest.kind == RootKind::Newest && newest.has_whole(Bucket::Meta);
        let compact = self.roots.views().filter_map(|view| view.state.compact_revision()).max();
        (compact, is_known)
    }

    /// Origin of each metadata bucket.
    pub(super) fn bucket_reports(&self) -> Vec<BucketReport> {
        let report = |bucket| {
            let origin = match self.holder(bucket) {
                Some(view) => BucketOrigin::Root(view.kind),
                None if bucket == Bucket::Lease && !self.leases.is_empty() => BucketOrigin::Pages,
                None => BucketOrigin::Lost,
            };
            BucketReport { bucket, origin, is_whole: self.has_whole(bucket) }
        };
        Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key).map(report).collect()
    }

    /// Adds the damage of the file, the newest tree and the base.
    pub(super) fn add_problems(&self, problems: &mut FindingList) {
        let metas = self.roots.pages.metas();
        if let [Err(meta0), Err(meta1)] = *metas {
            problems.add(FindingKind::Bbolt(Damage::NoValidMeta { meta0, meta1 }));
        } else {
            for (index, meta) in (0..).zip(metas) {
                if let Err(defect) = *meta {
                    problems.add(FindingKind::Bbolt(Damage::Meta { index, defect }));
                }
            }
        }
        let newest = self.roots.newest();
        if let Err(lifeboat_bbolt::Error::Damaged(damage)) = newest.db.ensure_complete() {
            problems.add(FindingKind::Bbolt(damage));
        }
        problems.append(&newest.problems);
        if newest.db.meta().root != self.base().db.meta().root {
            problems.append(&self.base().problems);
        }
    }

    /// The tree that a metadata bucket is read from: the newest that has all of it, otherwise the newest that has any.
    fn holder(&self, bucket: Bucket) -> Option<&TreeView> {
        let whole = self.roots.views().find(|view| view.has_whole(bucket));
        whole.or_else(|| self.roots.views().find(|view| view.has(bucket)))
    }
}
