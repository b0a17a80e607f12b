//! Applies the entries of a log to a db, as a server that starts does, without writing to either
//! (`server/etcdserver/server.go`, `apply`; `apply/uber_applier.go`, `dispatch`).
//!
//! First the requests are scanned for the keys that they read or write; then the db is read once for those keys; then the
//! requests are applied in order. So memory holds only those keys and the changes, not the keyspace.

mod alarm;
mod auth;
mod index;
mod key_range;
mod lease;
mod membership;
mod messages;
mod origin;
mod overlap;
mod overlay;
mod past;
mod read_set;
mod request;
mod store;
mod txn;
pub(crate) mod v2;

use std::collections::BTreeSet;

use prost::Message;

use crate::error::Result;
use crate::finding::FindingKind;
use crate::key_list::KeyList;
use crate::key_value::KeyValue;
use crate::limits::MAX_REPLAY_BYTES;
use crate::proto::Entry;
use crate::revision::BucketKey;
use crate::schema::{Bucket, meta};
use crate::source::Source;
use crate::state::State;
use crate::wal::{Entries, Item, RecordKind, WalDir};

pub(crate) use overlap::overlap;
pub(crate) use overlay::Overlay;

use alarm::Alarms;
use auth::{Auth, AuthInfo};
use index::Index;
use lease::Leases;
use membership::Membership;
use origin::StoredRevision;
use read_set::ReadSet;
use request::Request;
use store::Store;

const NORMAL: i32 = 0;
const CONF_CHANGE: i32 = 1;

/// Limit of the bytes of named keys.
const MAX_NAMED_BYTES: usize = 64 << 20;

/// Applies `entries`, which follow on the last one that `db` has.
///
/// # Errors
/// Damage in the db or an entry; [`FindingKind::UnsupportedRequest`] for one that is not applied here.
pub(crate) fn replay(db: &dyn Source, state: &State, entries: &Entries<'_>) -> Result<Overlay> {
    if entries.is_empty() {
        return Ok(Overlay::default());
    }
    if let Some(kind) = state.undecodable.first() {
        return Err(kind.clone().into());
    }
    let read_set = read_set(entries, state)?;
    let mut leases = Leases::new(&state.leases);
    let (index, newest) = Index::load(db, &read_set, &mut leases)?;
    let auth = if read_set.auth { Auth::load(db, state)? } else { Auth::disabled() };
    drop(read_set);
    let mut replay = Replay {
        store: Store::new(index, leases, newest, state),
        alarms: Alarms::new(state),
        auth,
        membership: Membership::new(state),
        stores_term: state.term.is_some() || state.consistent_index.is_none(),
    };
    entries.each(&mut |entry| replay.entry(&entry))?;
    Ok(replay.store.overlay)
}

/// The keys that entries from one index to another name to write or delete, of ranges the first, as far as they can be
/// read.
///
/// # Errors
/// A failed read.
pub(crate) fn keys_named(wal: &WalDir, first: u64, last: u64) -> Result<KeyList> {
    let mut named = BTreeSet::new();
    let mut bytes = 0;
    wal.walk(first, &mut |item| {
        if let Item::Record(record) = item
            && record.kind == RecordKind::Entry
            && let Ok(entry) = Entry::decode(record.data.clone())
            && (first..=last).contains(&entry.index.unwrap_or(0))
            && entry.kind.unwrap_or(NORMAL) == NORMAL
            && bytes < MAX_NAMED_BYTES
        {
            let data = entry.data.clone().unwrap_or_default();
            let request = Request::decode(entry.index.unwrap_or(0), &data).ok().flatten();
            for key in request.iter().flat_map(|(_, request)| request.keys()) {
                bytes += key.len();
                named.insert(key.to_vec());
            }
        }
        Ok(())
    })?;
    let mut keys = KeyList::default();
    named.iter().for_each(|key| keys.add(key));
    Ok(keys)
}

/// The last cluster version that the entries set.
///
/// # Errors
/// Damage in an entry; [`FindingKind::UnsupportedRequest`].
pub(crate) fn cluster_version(entries: &Entries<'_>) -> Result<Option<String>> {
    let mut version = None;
    entries.each(&mut |entry| {
        let data = entry.data.clone().unwrap_or_default();
        if entry.kind.unwrap_or(NORMAL) == NORMAL
            && let Some((_, Request::ClusterVersionSet(set))) =
                Request::decode(entry.index.unwrap_or(0), &data)?
        {
            version = Some(set.ver);
        }
        Ok(())
    })?;
    Ok(version)
}

/// Whether one of the entries may have written a revision, which the state before them cannot have then.
///
/// # Errors
/// Damage in an entry; [`FindingKind::UnsupportedRequest`].
pub(crate) fn may_have_written(entries: &Entries<'_>, key: BucketKey, value: &[u8]) -> Result<bool> {
    let kv =
        KeyValue::decode(value).map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })?;
    let written = StoredRevision { kv, tombstone: key.tombstone };
    let mut found = false;
    entries.each(&mut |entry| {
        let data = entry.data.clone().unwrap_or_default();
        if entry.kind.unwrap_or(NORMAL) == NORMAL
            && let Some((_, request)) = Request::decode(entry.index.unwrap_or(0), &data)?
        {
            found |= written.may_come_from(&request);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The keys that the entries read or write. Fails on the first unsupported request.
fn read_set(entries: &Entries<'_>, state: &State) -> Result<ReadSet> {
    let mut read_set = ReadSet::default();
    read_set.auth = state.auth.enabled;
    entries.each(&mut |entry| {
        if entry.kind.unwrap_or(NORMAL) != NORMAL {
            return Ok(());
        }
        let data = entry.data.clone().unwrap_or_default();
        if let Some((_, request)) = Request::decode(entry.index.unwrap_or(0), &data)? {
            read_set.add(&request);
        }
        if read_set.bytes() > MAX_REPLAY_BYTES { Err(FindingKind::ReplayTooLarge.into()) } else { Ok(()) }
    })?;
    Ok(read_set.finish())
}

struct Replay {
    store: Store,
    alarms: Alarms,
    auth: Auth,
    membership: Membership,
    /// Not up to 3.4.
    stores_term: bool,
}

impl Replay {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let index = entry.index.unwrap_or(0);
        let data = entry.data.clone().unwrap_or_default();
        match entry.kind.unwrap_or(NORMAL) {
            NORMAL => {
                if let Some((info, request)) = Request::decode(index, &data)? {
                    self.request(index, &info, request)?;
                    self.store.end();
                    if self.store.is_too_large() {
                        return Err(FindingKind::ReplayTooLarge.into());
                    }
                }
            }
            CONF_CHANGE => self.membership.conf_change(index, &data, &mut self.store.overlay)?,
            // Servers of all versions stop at it: nothing proposes one.
            _ => {
                let request = "a conf change of version 2".into();
                return Err(FindingKind::UnsupportedRequest { index, request }.into());
            }
        }
        let overlay = &mut self.store.overlay;
        overlay.set(Bucket::Meta, meta::CONSISTENT_INDEX, index.to_be_bytes());
        if self.stores_term {
            overlay.set(Bucket::Meta, meta::TERM, entry.term.unwrap_or(0).to_be_bytes());
        }
        Ok(())
    }

    fn request(&mut self, index: u64, info: &AuthInfo, request: Request) -> Result<()> {
        let unsupported = |request: &str| FindingKind::UnsupportedRequest { index, request: request.into() };
        if self.alarms.refuse(&request) {
            return Ok(());
        }
        let permitted = self.alarms.permit_all()
            || self.auth.permits(info, &request, &self.store.leases).map_err(unsupported)?;
        if !permitted {
            return Ok(());
        }
        let store = &mut self.store;
        match request {
            Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) => store.change(&request),
            Request::Compaction(compaction) => store.compact(compaction.revision),
            Request::LeaseGrant(grant) => {
                if store.leases.grant(grant.id, grant.ttl) {
                    store.save_lease(grant.id);
                }
            }
            Request::LeaseRevoke(id) => store.revoke(id),
            Request::LeaseCheckpoint(checkpoints) => {
                for checkpoint in checkpoints {
                    let there = store.leases.checkpoint(checkpoint.id, checkpoint.remaining_ttl);
                    if there && self.membership.persists_checkpoints() {
                        store.save_lease(checkpoint.id);
                    }
                }
            }
            Request::Alarm(alarm) => self.alarms.apply(&alarm, &mut store.overlay),
            Request::ClusterVersionSet(set) => self.membership.set_version(set.ver, &mut store.overlay),
            Request::ClusterMemberAttrSet(set) => {
                self.membership.set_attributes(index, set, &mut store.overlay)?;
            }
            Request::DowngradeInfoSet(set) => Membership::set_downgrade(&set, &mut store.overlay),
            Request::Auth(request) => self.auth.apply(request, &mut store.overlay).map_err(unsupported)?,
        }
        Ok(())
    }
}
