//! What the requests to be replayed look at, so that of the db's keys no others need be in memory.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::messages::{Compare, Op, RequestOp, TargetUnion, TxnRequest};
use super::request::Request;

/// Keys and ranges of keys.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: HashSet<Vec<u8>>,
    /// Start to end, disjoint; an end of `None` is that of all keys.
    ranges: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// What is looked at.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Written, deleted or compared.
    pub(super) touched: KeySet,
    /// Whose value matters too.
    pub(super) values: KeySet,
    /// Whose keys are deleted.
    pub(super) leases: HashSet<i64>,
}

/// A range as requests name it: no end for one key, `\0` for all from the key on (`txn/txn.go`, `mkGteRange`).
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyRange<'a> {
    One(&'a [u8]),
    Between(&'a [u8], Option<&'a [u8]>),
}

impl<'a> KeyRange<'a> {
    pub(super) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::Between(key, None),
            end => Self::Between(key, Some(end)),
        }
    }
}

impl KeySet {
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        if self.keys.contains(key) {
            return true;
        }
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end.as_slice()))
    }

    fn add(&mut self, range: KeyRange<'_>) {
        match range {
            KeyRange::One(key) => {
                if !self.keys.contains(key) {
                    self.keys.insert(key.to_vec());
                }
            }
            KeyRange::Between(start, end) if end.is_none_or(|end| start < end) => self.join(start, end),
            KeyRange::Between(..) => {}
        }
    }

    /// Adds a range and joins it with those it meets.
    fn join(&mut self, start: &[u8], end: Option<&[u8]>) {
        let (mut start, mut end) = (start.to_vec(), end.map(<[u8]>::to_vec));
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

impl Interest {
    /// Takes in what a request looks at.
    pub(super) fn add(&mut self, request: &Request) {
        match request {
            Request::Put(put) => self.add_put(&put.key, put.ignore_value),
            Request::DeleteRange(delete) => self.touched.add(KeyRange::new(&delete.key, &delete.range_end)),
            Request::Txn(txn) => self.add_txn(txn),
            Request::LeaseRevoke(id) => drop(self.leases.insert(*id)),
            _ => {}
        }
    }

    fn add_txn(&mut self, txn: &TxnRequest) {
        txn.compare.iter().for_each(|compare| self.add_compare(compare));
        for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
            match request {
                Some(Op::Put(put)) => self.add_put(&put.key, put.ignore_value),
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

    fn add_put(&mut self, key: &[u8], needs_value: bool) {
        self.touched.add(KeyRange::One(key));
        if needs_value {
            self.values.add(KeyRange::One(key));
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
