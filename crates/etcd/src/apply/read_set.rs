//! The keys that the requests of a log read or write: only these are loaded from the db.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::key_range::KeyRange;
use super::messages::{Compare, Op, PutRequest, RequestOp, TargetUnion, TxnRequest};
use super::request::Request;

/// A set of keys and key ranges.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: HashSet<Vec<u8>>,
    /// Start to end, disjoint; an end of `None` is that of all keys.
    ranges: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Of keys and ranges.
    bytes: u64,
}

/// Keys and leases that requests read or write.
#[derive(Debug, Default)]
pub(super) struct ReadSet {
    /// Keys written, deleted or compared.
    pub(super) touched: KeySet,
    /// Keys whose values are read too.
    pub(super) values: KeySet,
    /// Leases whose keys are deleted, or whose permissions are checked.
    pub(super) leases: HashSet<i64>,
    /// Whether users and roles are enforced or changed.
    pub(super) auth: bool,
    /// Leases of puts.
    put_leases: HashSet<i64>,
}

impl KeySet {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        if self.keys.contains(key) {
            return true;
        }
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end.as_slice()))
    }

    /// The keys, and the ranges.
    pub(super) fn ranges(&self) -> impl Iterator<Item = KeyRange<'_>> {
        let ranges = self.ranges.iter().map(|(start, end)| KeyRange::Between(start, end.as_deref()));
        self.keys.iter().map(|key| KeyRange::One(key)).chain(ranges)
    }

    fn add(&mut self, range: KeyRange<'_>) {
        match range {
            KeyRange::One(key) => {
                if !self.keys.contains(key) {
                    self.bytes += (size_of::<Vec<u8>>() + key.len()) as u64;
                    self.keys.insert(key.to_vec());
                }
            }
            KeyRange::Between(..) if range.is_empty() => {}
            KeyRange::Between(start, end) => self.merge(start, end),
        }
    }

    /// Adds a range and merges it with those it overlaps.
    fn merge(&mut self, start: &[u8], end: Option<&[u8]>) {
        let (mut start, mut end) = (start.to_vec(), end.map(<[u8]>::to_vec));
        self.bytes += (start.len() + end.as_ref().map_or(0, Vec::len)) as u64;
        // They are disjoint: when the last one that begins before our end does not reach us, none does.
        while let Some((other_start, other_end)) = match &end {
            Some(end) => {
                self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(end.as_slice()))).next_back()
            }
            None => self.ranges.iter().next_back(),
        }
        .filter(|(_, other_end)| other_end.as_ref().is_none_or(|other_end| start <= *other_end))
        .map(|(start, end)| (start.clone(), end.clone()))
        {
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.zip(other_end).map(|(ours, others)| ours.max(others));
        }
        self.ranges.insert(start, end);
    }
}

impl ReadSet {
    /// Adds the keys of a request.
    pub(super) fn add(&mut self, request: &Request) {
        match request {
            Request::Put(put) => self.add_put(put),
            Request::DeleteRange(delete) => self.touched.add(KeyRange::new(&delete.key, &delete.range_end)),
            Request::Txn(txn) => self.add_txn(txn),
            Request::LeaseRevoke(id) => drop(self.leases.insert(*id)),
            Request::Auth(_) => self.auth = true,
            _ => {}
        }
    }

    /// Approximate size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.touched.bytes + self.values.bytes
    }

    /// To be called when all requests are in: with users, a user who puts a key on a lease must be permitted to write
    /// the keys that are on it.
    pub(super) fn finish(mut self) -> Self {
        let put_leases = std::mem::take(&mut self.put_leases);
        if self.auth {
            self.leases.extend(put_leases);
        }
        self
    }

    fn add_txn(&mut self, txn: &TxnRequest) {
        txn.compare.iter().for_each(|compare| self.add_compare(compare));
        for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
            match request {
                Some(Op::Put(put)) => self.add_put(put),
                Some(Op::DeleteRange(delete)) => {
                    self.touched.add(KeyRange::new(&delete.key, &delete.range_end));
                }
                Some(Op::Txn(txn)) => self.add_txn(txn),
                Some(Op::Range(_)) | None => {}
            }
        }
    }

    fn add_compare(&mut self, compare: &Compare) {
        let range = KeyRange::new(&compare.key, &compare.range_end);
        self.touched.add(range);
        if compare.target == super::txn::TARGET_VALUE
            || matches!(compare.target_union, Some(TargetUnion::Value(_)))
        {
            self.values.add(range);
        }
    }

    fn add_put(&mut self, put: &PutRequest) {
        let key = KeyRange::One(&put.key);
        self.touched.add(key);
        if put.ignore_value {
            self.values.add(key);
        }
        if put.lease != 0 {
            self.put_leases.insert(put.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = (u8, Option<u8>)> {
        (1u8..40, prop::option::weighted(0.95, 1u8..40))
    }

    proptest! {
        #[test]
        fn contains_what_any_of_its_ranges_does(ranges in prop::collection::vec(range(), 0..12), key in 0u8..45) {
            let mut set = KeySet::default();
            for (start, end) in &ranges {
                set.add(KeyRange::Between(&[*start], end.as_ref().map(std::slice::from_ref)));
            }
            let inside = ranges.iter().any(|(start, end)| *start <= key && end.is_none_or(|end| key < end));
            prop_assert_eq!(set.contains(&[key]), inside);
        }
    }
}
