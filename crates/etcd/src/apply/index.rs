//! The newest state of the keys that a replay looks at (`server/storage/mvcc/index.go`, `kvstore.go`,
//! `restore`).

use std::collections::BTreeMap;
use std::ops::Bound;

use super::key_range::KeyRange;
use super::lease::Leases;
use super::read_set::ReadSet;
use crate::error::Result;
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::limits::MAX_REPLAY_BYTES;
use crate::revision::Revision;
use crate::source::Source;

/// A live key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Latest {
    pub(super) create_revision: i64,
    pub(super) mod_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
    /// Whether the lease knows of it: one that was not there when the key was read does not.
    pub(super) attached: bool,
    pub(super) value: Value,
}

/// Where a key's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// In the db, where no request of the replay looks at it.
    Unread,
    Read(Vec<u8>),
    /// In this revision of the overlay.
    Replayed(usize),
}

/// Live keys, in order.
#[derive(Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Vec<u8>, Latest>,
    /// Of what was taken in from a db.
    bytes: u64,
}

impl Index {
    /// Reads the keys of a read set from a db, attaches them to their leases, and tells the newest revision of all.
    pub(super) fn load(
        db: &dyn Source,
        read_set: &ReadSet,
        leases: &mut Leases,
    ) -> Result<(Self, Option<Revision>)> {
        let mut index = Self::default();
        let mut newest = None;
        db.revisions(&mut |key, value| {
            newest = Some(key.revision);
            if is_bump_mark(value) {
                return Ok(());
            }
            let kv = KeyValue::decode(value)
                .map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })?;
            let touched = read_set.touched.contains(kv.key);
            let leased = !read_set.leases.is_empty()
                && (read_set.leases.contains(&kv.lease) || index.keys.contains_key(kv.key));
            if !touched && !leased {
                return Ok(());
            }
            index.take(key.tombstone, &kv, read_set.values.contains(kv.key));
            if index.bytes > MAX_REPLAY_BYTES { Err(FindingKind::ReplayTooLarge.into()) } else { Ok(()) }
        })?;
        for (key, latest) in &mut index.keys {
            latest.attached = leases.attach(latest.lease, key);
        }
        Ok((index, newest))
    }

    /// Takes a revision of a key in that follows on those taken so far.
    pub(super) fn take(&mut self, tombstone: bool, kv: &KeyValue<'_>, keeps_value: bool) {
        let KeyValue { key, create_revision, mod_revision, version, lease, value } = *kv;
        let value = if keeps_value { Value::Read(value.to_vec()) } else { Value::Unread };
        let latest = Latest { create_revision, mod_revision, version, lease, attached: false, value };
        let more = held(key, &latest);
        let replaced = match tombstone {
            true => self.keys.remove(key),
            false => self.keys.insert(key.to_vec(), latest),
        };
        self.bytes += if tombstone { 0 } else { more };
        self.bytes -= replaced.map_or(0, |replaced| held(key, &replaced));
    }

    /// The keys in it that requests look at.
    pub(super) fn of(&self, read_set: &ReadSet) -> Self {
        let mut index = Self::default();
        for (key, latest) in read_set.touched.ranges().flat_map(|range| self.range(range)) {
            index.bytes += held(key, latest);
            index.keys.insert(key.clone(), latest.clone());
        }
        index
    }

    /// Bytes of what was taken in from a db, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Latest> {
        self.keys.get(key)
    }

    /// The keys of a range, in order.
    pub(super) fn range<'a>(
        &'a self,
        range: KeyRange<'a>,
    ) -> Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Latest)> + 'a> {
        match range {
            KeyRange::One(key) => Box::new(self.keys.get_key_value(key).into_iter()),
            KeyRange::Between(..) if range.is_empty() => Box::new(std::iter::empty()),
            KeyRange::Between(start, end) => {
                let end = end.map_or(Bound::Unbounded, Bound::Excluded);
                Box::new(self.keys.range::<[u8], _>((Bound::Included(start), end)))
            }
        }
    }

    pub(super) fn put(&mut self, key: &[u8], latest: Latest) {
        self.keys.insert(key.to_vec(), latest);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Latest> {
        self.keys.remove(key)
    }
}

fn held(key: &[u8], latest: &Latest) -> u64 {
    let value = if let Value::Read(value) = &latest.value { value.len() } else { 0 };
    (size_of::<Latest>() + key.len() + value) as u64
}
