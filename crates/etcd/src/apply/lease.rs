//! Leases and the keys attached to them (`server/lease/lessor.go`).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::proto;
use crate::state::Lease;

/// Highest time to live that is granted, in seconds (`MaxLeaseTTL`).
const MAX_TTL: i64 = 9_000_000_000;
/// Lowest time to live, in seconds, of a server with the default election timeout (`etcdserver/server.go`,
/// `NewServer`): one and a half of it, rounded up. With another timeout leases below it differ in their times
/// to live; a server that loads them raises them again.
const LEAST_TTL: i64 = 2;

/// Leases, by id.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<i64, Granted>);

#[derive(Debug)]
struct Granted {
    ttl: i64,
    remaining_ttl: i64,
    /// Sorted, as they are deleted when it is revoked.
    keys: BTreeSet<Vec<u8>>,
}

impl Leases {
    pub(super) fn new(leases: &[Lease]) -> Self {
        let granted = |lease: &Lease| {
            let Lease { id, ttl, remaining_ttl } = *lease;
            (id, Granted { ttl, remaining_ttl, keys: BTreeSet::new() })
        };
        Self(leases.iter().map(granted).collect())
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.0.contains_key(&id)
    }

    /// Grants a lease; whether it did.
    pub(super) fn grant(&mut self, id: i64, ttl: i64) -> bool {
        let granted = id != 0 && ttl <= MAX_TTL && !self.contains(id);
        if granted {
            let ttl = ttl.max(LEAST_TTL);
            self.0.insert(id, Granted { ttl, remaining_ttl: 0, keys: BTreeSet::new() });
        }
        granted
    }

    /// The keys attached to a lease.
    pub(super) fn keys(&self, id: i64) -> impl Iterator<Item = &[u8]> {
        self.0.get(&id).into_iter().flat_map(|lease| &lease.keys).map(Vec::as_slice)
    }

    /// Takes a lease out and gives its keys; `None` when there is none.
    pub(super) fn revoke(&mut self, id: i64) -> Option<BTreeSet<Vec<u8>>> {
        Some(self.0.remove(&id)?.keys)
    }

    /// Sets the time left to a lease; whether there is one.
    pub(super) fn checkpoint(&mut self, id: i64, remaining_ttl: i64) -> bool {
        let lease = self.0.get_mut(&id);
        lease.map(|lease| lease.remaining_ttl = remaining_ttl).is_some()
    }

    /// Attaches a key; whether the lease is there.
    pub(super) fn attach(&mut self, id: i64, key: &[u8]) -> bool {
        let lease = self.0.get_mut(&id);
        lease.map(|lease| lease.keys.insert(key.to_vec())).is_some()
    }

    pub(super) fn detach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// The value of a lease in its bucket.
    pub(super) fn encode(&self, id: i64) -> Option<Vec<u8>> {
        let Granted { ttl, remaining_ttl, .. } = *self.0.get(&id)?;
        Some(proto::Lease { id, ttl, remaining_ttl }.encode_to_vec())
    }
}
