//! Which request a stored revision may come from: shows whether a db already has the changes of a log.

use super::key_range::KeyRange;
use super::messages::{DeleteRangeRequest, Op, PutRequest, TxnRequest};
use super::request::Request;
use crate::key_value::KeyValue;

/// A revision in the db.
pub(super) struct StoredRevision<'a> {
    pub(super) kv: KeyValue<'a>,
    pub(super) tombstone: bool,
}

impl StoredRevision<'_> {
    /// Whether it may have been written by a request.
    pub(super) fn may_come_from(&self, request: &Request) -> bool {
        match request {
            Request::Put(put) => self.may_come_from_put(put),
            Request::DeleteRange(delete) => self.may_come_from_delete(delete),
            Request::LeaseRevoke(_) => self.tombstone,
            Request::Txn(txn) => self.may_come_from_txn(txn),
            _ => false,
        }
    }

    fn may_come_from_put(&self, put: &PutRequest) -> bool {
        let same_value = put.ignore_value || put.value == self.kv.value;
        !self.tombstone && put.key == self.kv.key && same_value
    }

    fn may_come_from_delete(&self, delete: &DeleteRangeRequest) -> bool {
        self.tombstone && KeyRange::new(&delete.key, &delete.range_end).contains(self.kv.key)
    }

    fn may_come_from_txn(&self, txn: &TxnRequest) -> bool {
        txn.success.iter().chain(&txn.failure).any(|operation| match &operation.request {
            Some(Op::Put(put)) => self.may_come_from_put(put),
            Some(Op::DeleteRange(delete)) => self.may_come_from_delete(delete),
            Some(Op::Txn(txn)) => self.may_come_from_txn(txn),
            Some(Op::Range(_)) | None => false,
        })
    }
}
