//! What was saved, put together: the tree of one state, revisions from pages besides, and each small bucket from
//! where most of it is left.

use std::collections::BTreeMap;

use lifeboat_bbolt::Damage;

use super::account::BucketAccount;
use super::index::{Entry, Marks, Reader};
use super::problems::Problems;
use super::states::States;
use super::view::{View, Which};
use crate::error::Result;
use crate::finding::FindingKind;
use crate::revision::Revision;
use crate::schema::Bucket;
use crate::source::{VisitPair, VisitRevision};

/// Where something was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A state of the file.
    From(Which),
    /// Pages found by themselves.
    Pages,
    /// What the log was read on top of, in place of the data dir's own db.
    Base,
    /// Nowhere: it is lost.
    Nowhere,
}

/// What was saved of a db.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) states: States,
    /// Revisions on pages besides, ascending.
    kept: Vec<Entry>,
    /// Leases on pages besides, by their keys.
    leases: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    pub(super) fn new(states: States) -> Self {
        Self { states, kept: Vec::new(), leases: BTreeMap::new() }
    }

    /// Adds what was found on pages.
    pub(super) fn add(&mut self, kept: Vec<Entry>, leases: BTreeMap<Vec<u8>, Vec<u8>>) {
        (self.kept, self.leases) = (kept, leases);
    }

    /// The state that the revisions rest on.
    pub(super) fn base(&self) -> &View {
        &self.states.base
    }

    /// Calls `visit` with all revisions, ascending.
    pub(super) fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        let mut reader = Reader::new(&self.states.pages);
        let mut kept = self.kept.iter().peekable();
        self.base().revisions(&mut |key, value| {
            while let Some(entry) = kept.next_if(|entry| entry.revision() < key.revision) {
                reader.read(entry, visit)?;
            }
            visit(key, value)
        })?;
        kept.try_for_each(|entry| reader.read(entry, visit))?;
        Ok(self.states.pages.ensure_unchanged()?)
    }

    /// Revisions from pages.
    pub(super) fn revisions_of_pages(&self) -> u64 {
        self.kept.len() as u64
    }

    /// Revisions that may not belong to the store, ascending.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = Revision> {
        self.kept.iter().filter(|entry| entry.marks.has(Marks::DOUBTFUL)).map(Entry::revision)
    }

    /// Calls `visit` with the pairs of a small bucket, in key order.
    pub(super) fn small_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        let leases = (bucket == Bucket::Lease).then_some(&self.leases);
        let mut found = leases.into_iter().flatten().peekable();
        if let Some(view) = self.holder(bucket) {
            view.small_bucket(bucket, &mut |key, value| {
                while let Some((key, value)) = found.next_if(|(found, _)| found.as_slice() < key) {
                    visit(key, value)?;
                }
                found.next_if(|(found, _)| found.as_slice() == key);
                visit(key, value)
            })?;
        }
        found.try_for_each(|(key, value)| visit(key, value))
    }

    /// Whether a state has all of a small bucket.
    pub(super) fn has_whole(&self, bucket: Bucket) -> bool {
        self.holder(bucket).is_some_and(|view| view.has_whole(bucket))
    }

    /// The compact revision, and whether it is sure that it is no higher.
    pub(super) fn compact_revision(&self) -> (Option<i64>, bool) {
        let newest = self.states.newest();
        let is_known = newest.which == Which::Newest && newest.has_whole(Bucket::Meta);
        let compact = self.states.views().filter_map(|view| view.state.compact_revision()).max();
        (compact, is_known)
    }

    /// Where each small bucket comes from.
    pub(super) fn bucket_accounts(&self) -> Vec<BucketAccount> {
        let account = |bucket| {
            let taken = match self.holder(bucket) {
                Some(view) => Taken::From(view.which),
                None if bucket == Bucket::Lease && !self.leases.is_empty() => Taken::Pages,
                None => Taken::Nowhere,
            };
            BucketAccount { bucket, taken, is_whole: self.has_whole(bucket) }
        };
        Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key).map(account).collect()
    }

    /// Adds what is wrong with the file and with the states that matter.
    pub(super) fn add_problems(&self, problems: &mut Problems) {
        let metas = self.states.pages.metas();
        if let [Err(meta0), Err(meta1)] = *metas {
            problems.add(FindingKind::Bbolt(Damage::NoValidMeta { meta0, meta1 }));
        } else {
            for (index, meta) in (0..).zip(metas) {
                if let Err(defect) = *meta {
                    problems.add(FindingKind::Bbolt(Damage::Meta { index, defect }));
                }
            }
        }
        let newest = self.states.newest();
        if let Err(lifeboat_bbolt::Error::Damaged(damage)) = newest.db.ensure_complete() {
            problems.add(FindingKind::Bbolt(damage));
        }
        problems.append(&newest.problems);
        if newest.db.meta().root != self.base().db.meta().root {
            problems.append(&self.base().problems);
        }
    }

    /// The state that a small bucket is taken from: the newest that has it whole, else the newest that has any of it.
    fn holder(&self, bucket: Bucket) -> Option<&View> {
        let whole = self.states.views().find(|view| view.has_whole(bucket));
        whole.or_else(|| self.states.views().find(|view| view.has(bucket)))
    }
}
