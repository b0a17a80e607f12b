//! What a replayed log adds to a db.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::revision::{BucketKey, Revision};
use crate::schema::Bucket;
use crate::source::{VisitPair, VisitRevision};

/// New revisions, and new values of the metadata buckets.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// All above those of the db, ascending; encoded KeyValues.
    revisions: Vec<(BucketKey, Vec<u8>)>,
    bytes: u64,
    /// `None`: taken out.
    pairs: HashMap<Bucket, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl Overlay {
    /// Adds a revision above all others, and tells its place.
    pub(crate) fn push(&mut self, key: BucketKey, encoded: Vec<u8>) -> usize {
        self.bytes += (size_of::<(BucketKey, Vec<u8>)>() + encoded.len()) as u64;
        self.revisions.push((key, encoded));
        self.revisions.len() - 1
    }

    /// Its revisions.
    pub(crate) fn revisions(&self) -> &[(BucketKey, Vec<u8>)] {
        &self.revisions
    }

    /// Bytes that it holds, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn set(&mut self, bucket: Bucket, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        let more = (size_of::<Vec<u8>>() * 2 + key.len() + value.len()) as u64;
        // What is set again, such as the consistent index, takes no more.
        if self.pairs.entry(bucket).or_default().insert(key, Some(value)).is_none() {
            self.bytes += more;
        }
    }

    pub(crate) fn remove(&mut self, bucket: Bucket, key: impl Into<Vec<u8>>) {
        self.pairs.entry(bucket).or_default().insert(key.into(), None);
    }

    /// Whether it has a say on a key.
    pub(crate) fn covers(&self, bucket: Bucket, key: &[u8]) -> bool {
        self.pairs.get(&bucket).is_some_and(|pairs| pairs.contains_key(key))
    }

    /// The keys and values of a metadata bucket that are there.
    pub(crate) fn pairs(&self, bucket: Bucket) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.pairs.get(&bucket).into_iter().flatten();
        pairs.filter_map(|(key, value)| Some((key.as_slice(), value.as_deref()?)))
    }

    /// The revisions that `below` visits, with its own among them, ascending.
    pub(crate) fn each_revision(
        &self,
        below: impl FnOnce(VisitRevision<'_>) -> Result<()>,
        visit: VisitRevision<'_>,
    ) -> Result<()> {
        let mut ours = self.revisions.iter().peekable();
        below(&mut |key, value| {
            while let Some((key, value)) = ours.next_if(|(ours, _)| ours.revision < key.revision) {
                visit(*key, value)?;
            }
            visit(key, value)
        })?;
        ours.try_for_each(|(key, value)| visit(*key, value))
    }

    /// Its newest revision.
    pub(crate) fn newest(&self) -> Option<Revision> {
        self.revisions.last().map(|(key, _)| key.revision)
    }

    /// A metadata bucket that `db` reads, with what this says of it, in key order.
    pub(crate) fn metadata_bucket(
        &self,
        db: impl FnOnce(VisitPair<'_>) -> Result<()>,
        bucket: Bucket,
        visit: VisitPair<'_>,
    ) -> Result<()> {
        let mut ours = self.pairs(bucket).peekable();
        db(&mut |key, value| {
            while let Some((key, value)) = ours.next_if(|(ours, _)| *ours < key) {
                visit(key, value)?;
            }
            if self.covers(bucket, key) { Ok(()) } else { visit(key, value) }
        })?;
        ours.try_for_each(|(key, value)| visit(key, value))
    }
}
