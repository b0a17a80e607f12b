//! Reading keys at a revision (`server/storage/mvcc/kvstore_txn.go`, `rangeKeys`).

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::progress::Progress;
use crate::revision::Revision;
use crate::source::Source;
use crate::state::State;

/// The keys to read, like etcd's `RangeRequest`.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The key, or the prefix of the keys.
    pub key: Vec<u8>,
    /// Whether `key` is a prefix.
    pub prefix: bool,
    /// The revision to read at; the current one if `None`.
    pub revision: Option<i64>,
    /// Whether to omit values.
    pub keys_only: bool,
}

impl Query {
    fn matches(&self, key: &[u8]) -> bool {
        if self.prefix { key.starts_with(&self.key) } else { key == self.key }
    }
}

/// A key's value and metadata at the requested revision (`mvccpb.KeyValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Main revision at which the key was created.
    pub create_revision: i64,
    /// Main revision of its last change.
    pub mod_revision: i64,
    /// Changes since it was created.
    pub version: i64,
    /// Lease it is attached to; 0 for none.
    pub lease: i64,
    /// The value; empty if values were omitted.
    pub value: Vec<u8>,
}

/// Reads keys at a revision. Returns the source's current revision (as in etcd's response header) and the matching keys.
///
/// # Errors
/// [`Error::Compacted`] or [`Error::Future`] for a revision the server would refuse; damage.
pub fn get(
    source: &dyn Source,
    query: &Query,
    progress: &dyn Progress,
) -> Result<(i64, BTreeMap<Vec<u8>, KeyState>)> {
    let state = State::read(source)?;
    if let (Some(revision), Some(oldest)) = (query.revision, state.compact_revision())
        && revision < oldest
    {
        return Err(Error::Compacted { revision, oldest });
    }
    progress.start("read revisions", Some(source.origin().size_in_use));
    let at = query.revision.unwrap_or(i64::MAX);
    let mut found = BTreeMap::new();
    let mut newest: Option<Revision> = None;
    source.revisions(&mut |key, value| {
        newest = Some(key.revision);
        progress.advance(value.len() as u64);
        if key.revision.main > at || is_bump_mark(value) {
            return Ok(());
        }
        let kv = KeyValue::decode(value)
            .map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })?;
        if !query.matches(kv.key) {
            return Ok(());
        }
        if key.tombstone {
            found.remove(kv.key);
        } else {
            let value = if query.keys_only { Vec::new() } else { kv.value.to_vec() };
            let KeyValue { create_revision, mod_revision, version, lease, .. } = kv;
            found.insert(kv.key.to_vec(), KeyState { create_revision, mod_revision, version, lease, value });
        }
        Ok(())
    })?;
    let current = state.current_revision(newest);
    match query.revision.filter(|revision| *revision > current) {
        Some(revision) => Err(Error::Future { revision, current }),
        None => Ok((current, found)),
    }
}
