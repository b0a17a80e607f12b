//! Transactions (`server/etcdserver/txn/txn.go`). All compares, nested ones too, look at the keyspace before the
//! transaction, and so does the check of every chosen operation; only then are they done, one after the other.

use std::cmp::Ordering;

use super::index::Latest;
use super::key_range::KeyRange;
use super::messages::{Compare, Op, RequestOp, TargetUnion, TxnRequest};
use super::store::Store;

const TARGET_VERSION: i32 = 0;
const TARGET_CREATE: i32 = 1;
const TARGET_MOD: i32 = 2;
pub(super) const TARGET_VALUE: i32 = 3;
const TARGET_LEASE: i32 = 4;

impl Store {
    /// Applies a transaction, or nothing of it.
    pub(super) fn txn(&mut self, txn: &TxnRequest) {
        let mut chosen = Vec::new();
        // Up to 3.6 a server that replays leaves out the outermost reads, unchecked (`removeNeedlessRangeReqs`).
        for op in self.branch(txn).iter().filter_map(|op| op.request.as_ref()) {
            if self.checks_reads || !matches!(op, Op::Range(_)) {
                self.choose(op, &mut chosen);
            }
        }
        let accepted = chosen.iter().all(|op| match op {
            Op::Put(put) => self.accepts_put(put),
            Op::Range(range) => self.accepts_range(range),
            Op::DeleteRange(_) | Op::Txn(_) => true,
        });
        if !accepted {
            return;
        }
        for op in chosen {
            if self.is_too_large() {
                return;
            }
            match op {
                Op::Put(put) => self.put(put),
                Op::DeleteRange(delete) => self.delete_range(KeyRange::new(&delete.key, &delete.range_end)),
                Op::Range(_) | Op::Txn(_) => {}
            }
        }
    }

    /// The operations that an operation stands for: those of the chosen branch of a nested transaction.
    fn choose<'a>(&mut self, op: &'a Op, chosen: &mut Vec<&'a Op>) {
        match op {
            Op::Txn(txn) => {
                let ops = self.branch(txn).iter().filter_map(|op| op.request.as_ref());
                ops.for_each(|op| self.choose(op, chosen));
            }
            op => chosen.push(op),
        }
    }

    fn branch<'a>(&mut self, txn: &'a TxnRequest) -> &'a [RequestOp] {
        let all_hold = txn.compare.iter().all(|compare| !self.is_too_large() && self.holds(compare));
        if all_hold { &txn.success } else { &txn.failure }
    }

    /// Whether a compare holds for every key of its range; for none, whether it holds for a key that is not there.
    fn holds(&mut self, compare: &Compare) -> bool {
        let mut keys = self.index.range(KeyRange::new(&compare.key, &compare.range_end)).peekable();
        if keys.peek().is_none() {
            // A value that is not there has no like, not even the empty one.
            return compare.target != TARGET_VALUE && self.holds_for(compare, None);
        }
        let mut compared = 0;
        let holds = keys.all(|(_, latest)| {
            compared += 1;
            self.holds_for(compare, Some(latest))
        });
        self.compared += compared;
        holds
    }

    fn holds_for(&self, compare: &Compare, latest: Option<&Latest>) -> bool {
        let field = |field: fn(&Latest) -> i64| latest.map_or(0, field);
        let ordering = match (compare.target, &compare.target_union) {
            (TARGET_VALUE, union) => {
                let value = latest.map(|latest| self.value(latest)).unwrap_or_default();
                let other = if let Some(TargetUnion::Value(other)) = union { other.as_slice() } else { &[] };
                value.as_slice().cmp(other)
            }
            // A number in a field of another target than the compare's counts as 0.
            (TARGET_VERSION, Some(TargetUnion::Version(other))) => field(|l| l.version).cmp(other),
            (TARGET_VERSION, _) => field(|l| l.version).cmp(&0),
            (TARGET_CREATE, Some(TargetUnion::CreateRevision(other))) => {
                field(|l| l.create_revision).cmp(other)
            }
            (TARGET_CREATE, _) => field(|l| l.create_revision).cmp(&0),
            (TARGET_MOD, Some(TargetUnion::ModRevision(other))) => field(|l| l.mod_revision).cmp(other),
            (TARGET_MOD, _) => field(|l| l.mod_revision).cmp(&0),
            (TARGET_LEASE, Some(TargetUnion::Lease(other))) => field(|l| l.lease).cmp(other),
            (TARGET_LEASE, _) => field(|l| l.lease).cmp(&0),
            _ => Ordering::Equal,
        };
        match compare.result {
            0 => ordering.is_eq(),
            1 => ordering.is_gt(),
            2 => ordering.is_lt(),
            3 => ordering.is_ne(),
            _ => true,
        }
    }
}

/// Whether a transaction may take space: a server with a NOSPACE alarm refuses it then, whichever branch it
/// would choose (`server/storage/quota.go`, `costTxn`). `nested`, whether it looks into nested transactions.
pub(super) fn may_put(txn: &TxnRequest, nested: bool) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Op::Put(_)) => true,
        Some(Op::Txn(txn)) => nested && may_put(txn, nested),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::index::Index;
    use super::super::lease::Leases;
    use super::super::messages::PutRequest;
    use super::*;
    use crate::limits::MAX_COMPARED;
    use crate::state::State;

    /// A few bytes of compares can ask for hours: what they look at is counted, and ends the replay.
    #[test]
    fn what_compares_look_at_is_bounded() {
        let mut store = Store::new(Index::default(), Leases::new(&[]), None, &State::default());
        for key in [b"a", b"b", b"c"] {
            store.put(&PutRequest { key: key.to_vec(), ..PutRequest::default() });
        }
        let all = Compare {
            key: vec![0],
            range_end: vec![0],
            result: 3,
            target: TARGET_VERSION,
            target_union: None,
        };
        let txn = TxnRequest { compare: vec![all; 4], ..TxnRequest::default() };
        store.txn(&txn);
        assert_eq!((store.compared, store.is_too_large()), (12, false));
        store.compared = MAX_COMPARED - 4;
        store.txn(&txn);
        assert_eq!((store.compared, store.is_too_large()), (MAX_COMPARED + 2, true));
    }
}
