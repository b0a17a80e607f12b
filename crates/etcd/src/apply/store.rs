//! Writes to the keyspace, with the revisions etcd gives them (`server/storage/mvcc/kvstore_txn.go`).
//!
//! All writes of one request are one main revision, one above the current; each gets the next sub revision. A
//! request that writes nothing takes no revision.

use super::index::{Index, Latest, Value};
use super::key_range::KeyRange;
use super::lease::Leases;
use super::messages::{PutRequest, RangeRequest};
use super::request::Request;
use crate::apply::Overlay;
use crate::key_value::KeyValue;
use crate::limits::{MAX_COMPARED, MAX_REPLAY_BYTES};
use crate::revision::{BucketKey, Revision};
use crate::schema::{Bucket, meta};
use crate::state::State;
use crate::version::EtcdVersion;

/// The keyspace while a log is replayed.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) index: Index,
    pub(super) leases: Leases,
    pub(super) overlay: Overlay,
    /// The current revision.
    revision: i64,
    /// -1 when it was never compacted.
    compact_revision: i64,
    /// Writes of the request under way.
    writes: i64,
    /// Keys that compares of transactions have looked at.
    pub(super) compared: u64,
    /// Whether a server that replays looks at the outermost reads of a transaction too.
    pub(super) checks_reads: bool,
}

impl Store {
    /// `newest` is the newest revision of the db.
    pub(super) fn new(index: Index, leases: Leases, newest: Option<Revision>, state: &State) -> Self {
        Self {
            index,
            leases,
            overlay: Overlay::default(),
            revision: state.current_revision(newest),
            compact_revision: state.compact_revision().unwrap_or(-1),
            writes: 0,
            compared: 0,
            checks_reads: state.written_by().is_none_or(|version| version >= EtcdVersion::V3_7),
        }
    }

    /// Whether more is written than is kept in memory, or more compared than there is time for: the replay ends then. A
    /// put that keeps a value is small in the log and may be large in the store, and so is a compare of a range.
    pub(super) fn is_too_large(&self) -> bool {
        self.overlay.bytes() > MAX_REPLAY_BYTES || self.compared > MAX_COMPARED
    }

    /// Ends a request: its writes become the current revision.
    pub(super) fn end(&mut self) {
        if self.writes > 0 {
            self.revision = self.main();
            self.writes = 0;
        }
    }

    /// Applies a put, a deletion or a transaction.
    pub(super) fn change(&mut self, request: &Request) {
        match request {
            Request::Put(put) if self.accepts_put(put) => self.put(put),
            Request::DeleteRange(delete) => {
                self.delete_range(KeyRange::new(&delete.key, &delete.range_end));
            }
            Request::Txn(txn) => self.txn(txn),
            _ => {}
        }
    }

    /// A put of its own or in a transaction; whether it was checked is the caller's.
    pub(super) fn put(&mut self, put: &PutRequest) {
        let PutRequest { key, value, lease, .. } = put;
        let before = self.index.get(key);
        let lease = before.filter(|_| put.ignore_lease).map_or(*lease, |before| before.lease);
        let value = match before.filter(|_| put.ignore_value) {
            Some(before) => self.value(before),
            None => value.clone(),
        };
        let main = self.main();
        let (create_revision, version) =
            before.map_or((main, 1), |before| (before.create_revision, before.version.saturating_add(1)));
        let attached_before = before.filter(|before| before.attached).map(|before| before.lease);

        let kv = KeyValue { key, create_revision, mod_revision: main, version, value: &value, lease };
        let encoded = kv.encode();
        let ordinal = self.write(encoded, false);
        let attached = self.attach(key, attached_before, lease);
        let value = Value::Replayed(ordinal);
        self.index.put(key, Latest { create_revision, mod_revision: main, version, lease, attached, value });
    }

    fn attach(&mut self, key: &[u8], before: Option<i64>, lease: i64) -> bool {
        if let Some(before) = before.filter(|before| *before != lease) {
            self.leases.detach(before, key);
        }
        self.leases.attach(lease, key)
    }

    /// Whether a put can be done: what it is to keep is there, and its lease (`txn/txn.go`, `checkPut`, `Put`).
    pub(super) fn accepts_put(&self, put: &PutRequest) -> bool {
        let keeps = put.ignore_value || put.ignore_lease;
        let keeps_something = !keeps || self.index.get(&put.key).is_some();
        keeps_something && (put.lease == 0 || self.leases.contains(put.lease))
    }

    /// Whether a read in a transaction can be done; else the whole transaction is refused (`checkRange`).
    pub(super) fn accepts_range(&self, range: &RangeRequest) -> bool {
        let revision = range.revision;
        revision == 0 || (revision <= self.revision && revision >= self.compact_revision)
    }

    /// Deletes the keys of a range, in order.
    pub(super) fn delete_range(&mut self, range: KeyRange<'_>) {
        let keys: Vec<_> = self.index.range(range).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.delete(key));
    }

    fn delete(&mut self, key: &[u8]) {
        let Some(latest) = self.index.remove(key) else { return };
        let kv = KeyValue { key, ..KeyValue::default() };
        self.write(kv.encode(), true);
        if latest.attached {
            self.leases.detach(latest.lease, key);
        }
    }

    /// Revokes a lease: its keys go in order, as one request.
    pub(super) fn revoke(&mut self, id: i64) {
        let Some(keys) = self.leases.revoke(id) else { return };
        keys.iter().for_each(|key| self.delete(key));
        self.overlay.remove(Bucket::Lease, id.to_be_bytes());
    }

    /// Writes a lease to its bucket.
    pub(super) fn save_lease(&mut self, id: i64) {
        if let Some(value) = self.leases.encode(id) {
            self.overlay.set(Bucket::Lease, id.to_be_bytes(), value);
        }
    }

    /// Marks the store as compacted at a revision that is neither compacted already nor in the future
    /// (`kvstore.go`, `updateCompactRev`). The revisions stay, as after a crash before the compaction is done.
    pub(super) fn compact(&mut self, revision: i64) {
        if revision > self.compact_revision && revision <= self.revision {
            self.compact_revision = revision;
            let mark = Revision::main(revision).to_bytes();
            self.overlay.set(Bucket::Meta, meta::SCHEDULED_COMPACT, mark);
        }
    }

    /// The value of a key that a request looks at.
    pub(super) fn value(&self, latest: &Latest) -> Vec<u8> {
        match &latest.value {
            Value::Unread => Vec::new(),
            Value::Read(value) => value.clone(),
            Value::Replayed(ordinal) => {
                let encoded = self.overlay.revisions().get(*ordinal).map(|(_, encoded)| encoded.as_slice());
                let kv = KeyValue::decode(encoded.unwrap_or_default());
                kv.map(|kv| kv.value.to_vec()).unwrap_or_default()
            }
        }
    }

    fn write(&mut self, encoded: Vec<u8>, tombstone: bool) -> usize {
        let revision = Revision { main: self.main(), sub: self.writes };
        self.writes += 1;
        self.overlay.push(BucketKey { revision, tombstone }, encoded)
    }

    /// The main revision of the request under way.
    fn main(&self) -> i64 {
        self.revision.saturating_add(1)
    }
}
