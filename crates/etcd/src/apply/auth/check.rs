//! Whether a request is permitted (`server/etcdserver/apply/apply_auth.go`).

use super::super::key_range::KeyRange;
use super::super::lease::Leases;
use super::super::messages::{Op, PutRequest, RequestOp, TxnRequest};
use super::super::request::Request;
use super::{Auth, AuthInfo, Decided, READ, STALE, WRITE, ranges};
use crate::version::EtcdVersion;

/// Which permissions of a transaction a server asks for. All do since 3.7; 3.4 to 3.6 learned it in patch releases
/// (3.4.44, 3.5.30, 3.6.11), and where they replay they leave the outermost reads out, unlike the member that was asked
/// (`removeNeedlessRangeReqs`).
#[derive(Clone, Copy)]
struct Asks {
    /// Of nested transactions.
    nested: bool,
    /// To write all keys of a put's lease, and to read the one that a put overwrites and gives back.
    puts: bool,
    /// Of reads that are not nested.
    reads: bool,
}

const ALL: Asks = Asks { nested: true, puts: true, reads: true };
const FEWEST: Asks = Asks { nested: false, puts: false, reads: false };

const DIFFERENTLY: &str = "a request that patch releases of its etcd permit differently";

impl Auth {
    /// Whether a server applies a request of this user.
    pub(in crate::apply) fn permits(
        &self,
        info: &AuthInfo,
        request: &Request,
        leases: &Leases,
    ) -> Decided<bool> {
        if !self.enabled {
            return Ok(true);
        }
        let check = Check { auth: self, info, leases };
        match request {
            Request::Put(put) => check.put(put),
            Request::DeleteRange(delete) => {
                let range = KeyRange::new(&delete.key, &delete.range_end);
                // It deletes nothing, permitted or not.
                if range.is_empty() { Ok(false) } else { check.delete(range, delete.prev_kv) }
            }
            Request::Txn(txn) if self.since(EtcdVersion::V3_7) => check.txn(txn, ALL),
            Request::Txn(txn) => agreed(check.txn(txn, ALL)?, check.txn(txn, FEWEST)?),
            Request::LeaseRevoke(id) => check.revoke(*id),
            Request::Auth(_) => self.is_admin_permitted(info),
            _ => Ok(true),
        }
    }

    /// `isOpPermitted`.
    fn permits_op(&self, info: &AuthInfo, range: KeyRange<'_>, kind: i32) -> Decided<bool> {
        if info.revision < self.revision {
            return Ok(false);
        }
        let is_root = self.is_root(&info.username);
        if is_root == Some(true) {
            return Ok(true);
        }
        let user = self.users.get(&info.username);
        let by_roles = user.map_or(Ok(false), |user| ranges::cover(self.permissions(user, kind), range))?;
        if by_roles || is_root.is_some() { Ok(by_roles) } else { Err(STALE) }
    }
}

fn agreed(one: bool, other: bool) -> Decided<bool> {
    if one == other { Ok(one) } else { Err(DIFFERENTLY) }
}

struct Check<'a> {
    auth: &'a Auth,
    info: &'a AuthInfo,
    leases: &'a Leases,
}

impl Check<'_> {
    fn read(&self, range: KeyRange<'_>) -> Decided<bool> {
        self.auth.permits_op(self.info, range, READ)
    }

    fn write(&self, range: KeyRange<'_>) -> Decided<bool> {
        self.auth.permits_op(self.info, range, WRITE)
    }

    fn put(&self, put: &PutRequest) -> Decided<bool> {
        let key = KeyRange::One(&put.key);
        Ok(self.write(key)? && self.lease_keys(put.lease)? && (!put.prev_kv || self.read(key)?))
    }

    fn delete(&self, range: KeyRange<'_>, prev_kv: bool) -> Decided<bool> {
        Ok(self.write(range)? && (!prev_kv || self.read(range)?))
    }

    /// Whether all keys of a lease may be written (`checkLeasePuts`).
    fn lease_keys(&self, id: i64) -> Decided<bool> {
        let mut keys = self.leases.keys(id);
        keys.try_fold(true, |all, key| Ok(all && self.write(KeyRange::One(key))?))
    }

    /// Since 3.4.27, 3.5.10 and 3.6.0 root's auth revision need not be the newest.
    fn revoke(&self, id: i64) -> Decided<bool> {
        let keys = self.lease_keys(id)?;
        let admin = keys || self.auth.is_admin_permitted(self.info)?;
        if self.auth.since(EtcdVersion::V3_6) { Ok(admin) } else { agreed(keys, admin) }
    }

    fn txn(&self, txn: &TxnRequest, asks: Asks) -> Decided<bool> {
        for compare in &txn.compare {
            if !self.read(KeyRange::new(&compare.key, &compare.range_end))? {
                return Ok(false);
            }
        }
        // Of both branches, whichever is chosen.
        for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
            let permitted = match request {
                Some(Op::Range(range)) if asks.reads => {
                    self.read(KeyRange::new(&range.key, &range.range_end))?
                }
                Some(Op::Put(put)) if asks.puts => self.put(put)?,
                Some(Op::Put(put)) => self.write(KeyRange::One(&put.key))?,
                Some(Op::DeleteRange(delete)) => {
                    self.delete(KeyRange::new(&delete.key, &delete.range_end), delete.prev_kv)?
                }
                Some(Op::Txn(txn)) if asks.nested => self.txn(txn, ALL)?,
                Some(Op::Range(_) | Op::Txn(_)) | None => true,
            };
            if !permitted {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
