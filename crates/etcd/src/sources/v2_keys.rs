//! Keys of the v2 API that a member keeps beside its v3 store: in the v2 store that its raft snapshot holds, and in the
//! requests of the log after it (`server/etcdserver/api/v2store/store.go`). etcd up to 3.5 serves them with `--enable-v2`;
//! 3.6 refuses to start with them (`AssertNoV2StoreContent`).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::apply::v2::changes_keys;
use crate::error::Result;
use crate::finding::FindingKind;
use crate::proto::Entry;
use crate::raft_snapshot;
use crate::state::State;
use crate::version::EtcdVersion;
use crate::wal::{RecordKind, WalDir, message};

/// Where clients' keys are in the v2 store.
const KEYS: &str = "1";

/// Looks for keys of the v2 API.
///
/// # Errors
/// A read that the operating system refused. What is damaged is not counted.
pub(crate) fn find(snap: &Path, wal: &WalDir, state: &State) -> Result<Option<FindingKind>> {
    let newest = raft_snapshot::newest(snap, u64::MAX)?;
    let after = newest.as_ref().map_or(0, |snapshot| snapshot.index);
    let stored = newest.map_or(0, |snapshot| stored_keys(&snapshot.v2_store));
    let may_have_v2 = state.written_by().is_some_and(|version| version <= EtcdVersion::V3_5);
    let changes = if may_have_v2 { changes_after(wal, after)? } else { 0 };
    Ok((stored > 0 || changes > 0).then_some(FindingKind::V2Keys { stored, changes }))
}

fn stored_keys(v2_store: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Store {
        #[serde(rename = "Root")]
        root: Node,
    }
    let Ok(Store { root }) = serde_json::from_slice(v2_store) else { return 0 };
    root.children.unwrap_or_default().get(KEYS).map_or(0, Node::leaves)
}

#[derive(Deserialize)]
struct Node {
    /// `null` of a key.
    #[serde(rename = "Children")]
    children: Option<BTreeMap<String, Node>>,
}

impl Node {
    /// Keys in a directory; the parser bounds how deep they lie.
    fn leaves(&self) -> u64 {
        self.children.as_ref().map_or(1, |children| children.values().map(Self::leaves).sum())
    }
}

fn changes_after(wal: &WalDir, after: u64) -> Result<u64> {
    let mut changes = 0;
    wal.walk_records(after.saturating_add(1), &mut |record| {
        if record.kind == RecordKind::Entry {
            let entry: Entry = message(record, after)?;
            let is_normal = entry.kind.unwrap_or(0) == 0 && entry.index.unwrap_or(0) > after;
            changes += u64::from(is_normal && changes_keys(entry.data.as_deref().unwrap_or_default()));
        }
        Ok(())
    })?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_v2_store_are_counted() {
        let store = |keys: &str| {
            format!(
                r#"{{"Root":{{"Path":"/","Children":{{"0":{{"Path":"/0","Children":{{}}}},"1":{keys}}}}}}}"#
            )
        };
        let leaf = r#"{"Path":"/1/a","Value":"v","Children":null}"#;
        let keys = format!(
            r#"{{"Children":{{"a":{leaf},"dir":{{"Children":{{"b":{leaf},"empty":{{"Children":{{}}}}}}}}}}}}"#
        );
        assert_eq!(stored_keys(store(&keys).as_bytes()), 2);
        assert_eq!(stored_keys(store(r#"{"Children":{}}"#).as_bytes()), 0);
        assert_eq!(stored_keys(b"no JSON"), 0);
    }
}
