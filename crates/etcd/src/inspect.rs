//! A summary of a source's content.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::kubernetes::{IdentityReader, KubernetesIdentity};
use crate::mvcc::KeepSet;
use crate::origin::{Integrity, Origin};
use crate::progress::{NoProgress, Progress};
use crate::source::{RaftPosition, Source};
use crate::state::State;
use crate::thread::join;

/// Prefixes counted by name; keys of any further ones are counted together, so that a store with as many
/// prefixes as keys takes no more memory.
const MAX_PREFIXES: usize = 2000;
/// Kubernetes marks a value encrypted at rest with this and the provider, version and key name
/// (`staging/src/k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go`).
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// Summary of a source's content.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Path, kind and size.
    pub origin: Origin,
    /// How far the log goes and is included; `None` for a file.
    pub raft: Option<RaftPosition>,
    /// Notes and warnings about its log, and about v2 API keys.
    pub notes: Vec<FindingKind>,
    /// Result of verifying its digest; `Err` on a mismatch.
    pub integrity: Result<Integrity, FindingKind>,
    /// Members, versions, leases, alarms, auth.
    pub state: State,
    /// Current revision of a server started from it.
    pub revision: i64,
    /// Number of stored revisions.
    pub revisions: u64,
    /// Live keys.
    pub live_keys: u64,
    /// Live keys attached to a lease.
    pub leased_keys: u64,
    /// Live keys whose lease does not exist: etcd keeps them forever.
    pub keys_without_lease: u64,
    /// Live keys by prefix: `/registry/pods`, `/registry/example.com/widgets`.
    pub keys_by_prefix: BTreeMap<String, u64>,
    /// Live keys with prefixes beyond the limit.
    pub keys_of_further_prefixes: u64,
    /// Live keys encrypted at rest, by provider and key: `aescbc:v1:key1`.
    pub encrypted_keys: BTreeMap<String, u64>,
    /// The Kubernetes cluster it holds.
    pub kubernetes: KubernetesIdentity,
}

/// Reads a source twice, and verifies its digest meanwhile.
///
/// # Errors
/// Damage that keeps the revisions from being read; a digest that differs is in
/// [`Inspection::integrity`].
pub fn inspect(source: &dyn Source, progress: &dyn Progress) -> Result<Inspection> {
    std::thread::scope(|scope| {
        let integrity = scope.spawn(|| source.verify_integrity(&NoProgress));
        let inspection = read(source, progress);
        let integrity = match join(integrity) {
            Ok(integrity) => Ok(integrity),
            Err(Error::Damaged(kind)) => Err(kind),
            Err(error) => return Err(error),
        };
        Ok(Inspection { integrity, ..inspection? })
    })
}

fn read(source: &dyn Source, progress: &dyn Progress) -> Result<Inspection> {
    let state = State::read(source)?;
    let keep = KeepSet::at(source, i64::MAX, progress)?;
    let leases: HashSet<i64> = state.leases.iter().map(|lease| lease.id).collect();
    let mut inspection = Inspection {
        origin: source.origin(),
        raft: source.raft(),
        notes: source.notes().to_vec(),
        integrity: Ok(Integrity::None),
        revision: state.current_revision(keep.newest),
        state,
        revisions: keep.revisions,
        live_keys: keep.live_keys,
        leased_keys: 0,
        keys_without_lease: 0,
        keys_by_prefix: BTreeMap::new(),
        keys_of_further_prefixes: 0,
        encrypted_keys: BTreeMap::new(),
        kubernetes: KubernetesIdentity::default(),
    };
    let mut identity = IdentityReader::default();
    progress.start("count keys", Some(keep.bytes));
    let mut ordinal = 0;
    source.revisions(&mut |key, value| {
        let live = keep.contains(ordinal);
        ordinal += 1;
        progress.advance(value.len() as u64);
        if live && !is_bump_mark(value) {
            let revision = key.revision;
            let kv = KeyValue::decode(value).map_err(|defect| FindingKind::KeyValue { revision, defect })?;
            inspection.count(&kv, &leases);
            identity.visit(kv.key, kv.value);
        }
        Ok(())
    })?;
    inspection.kubernetes = identity.finish();
    Ok(inspection)
}

impl Inspection {
    fn count(&mut self, kv: &KeyValue<'_>, leases: &HashSet<i64>) {
        if kv.lease != 0 {
            self.leased_keys += 1;
            self.keys_without_lease += u64::from(!leases.contains(&kv.lease));
        }
        if !count_named(&mut self.keys_by_prefix, &prefix(kv.key)) {
            self.keys_of_further_prefixes += 1;
        }
        if let Some(provider) = encryption_provider(kv.value) {
            count_named(&mut self.encrypted_keys, &provider);
        }
    }
}

fn count_named(counts: &mut BTreeMap<String, u64>, name: &str) -> bool {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
        return true;
    }
    let room = counts.len() < MAX_PREFIXES;
    if room {
        counts.insert(name.into(), 1);
    }
    room
}

/// The first two segments of a path, three where the second is an API group: Kubernetes stores
/// `/registry/pods/...` but `/registry/example.com/widgets/...`.
fn prefix(key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    let mut segments = key.split('/');
    let first = segments.next().unwrap_or_default();
    if !first.is_empty() {
        return first.to_string();
    }
    let [root, second, third] = std::array::from_fn(|_| segments.next());
    match (root, second, third) {
        (Some(root), Some(group), Some(resource)) if group.contains('.') => {
            format!("/{root}/{group}/{resource}")
        }
        (Some(root), Some(resource), Some(_)) => format!("/{root}/{resource}"),
        (Some(root), Some(_), None) => format!("/{root}"),
        _ => key.to_string(),
    }
}

/// `aescbc:v1:key1` of `k8s:enc:aescbc:v1:key1:...`.
fn encryption_provider(value: &[u8]) -> Option<String> {
    let rest = value.strip_prefix(ENCRYPTED)?;
    let head = rest.get(..rest.len().min(256))?;
    let end = head.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(2)?.0;
    Some(String::from_utf8_lossy(head.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_as_kubernetes_lays_keys_out() {
        for (key, expected) in [
            ("/registry/pods/default/web", "/registry/pods"),
            ("/registry/services/specs/default/web", "/registry/services"),
            ("/registry/example.com/widgets/default/w", "/registry/example.com/widgets"),
            ("/registry/ranges", "/registry"),
            ("compact_rev_key", "compact_rev_key"),
            ("app/config", "app"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(prefix(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn encryption_is_seen() {
        assert_eq!(encryption_provider(b"k8s:enc:aescbc:v1:key1:\x00").as_deref(), Some("aescbc:v1:key1"));
        assert_eq!(encryption_provider(b"k8s:enc:aescbc"), None);
        assert_eq!(encryption_provider(b"k8s\0"), None);
    }
}
