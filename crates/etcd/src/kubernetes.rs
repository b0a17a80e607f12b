//! Identity of the Kubernetes cluster in a keyspace: the UID of its namespace kube-system, and the names of its nodes.
//!
//! The UID is the cluster's identity: it is made once, when the cluster is, and no restore changes it. Both are read
//! from raw keys under whatever `--etcd-prefix` the API servers use (`/registry`, `kubernetes.io`), found by suffix.

use std::collections::{BTreeMap, BTreeSet};

use prost::encoding::{WireType, decode_key, decode_varint};
use serde::{Deserialize, Serialize};

/// The key of the namespace kube-system, after the prefix.
const NAMESPACE: &[u8] = b"/namespaces/kube-system";
/// The resource under which Node objects are stored, after the prefix.
const NODES: &[u8] = b"/minions";
/// Prefixes looked at; a store may hold the keys of several API servers, and any keys besides.
const MAX_PREFIXES: usize = 64;
/// Node names kept; the rest is counted.
const MAX_NODES: usize = 10_000;
/// Longest name of a node (RFC 1123) or UID.
const MAX_NAME: usize = 253;
/// What a value stored as protobuf begins with
/// (`staging/src/k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go`).
const PROTOBUF: &[u8] = b"k8s\0";

/// Identity of the Kubernetes cluster in a keyspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesIdentity {
    /// The API servers' `--etcd-prefix`; empty where the keyspace holds no Kubernetes cluster.
    pub prefix: String,
    /// UID of the namespace kube-system; absent where there is none, or it is encrypted.
    pub uid: Option<String>,
    /// Names of the Node objects, at most 10,000.
    pub nodes: BTreeSet<String>,
    /// How many Node objects there are.
    pub node_count: u64,
}

impl KubernetesIdentity {
    /// The key of the namespace kube-system below a prefix.
    pub fn namespace_key(prefix: &[u8]) -> Vec<u8> {
        [prefix, NAMESPACE].concat()
    }

    /// What the keys of all Node objects below a prefix begin with.
    pub fn nodes_prefix(prefix: &[u8]) -> Vec<u8> {
        [prefix, NODES, b"/"].concat()
    }

    /// Whether both are known and differ: then they are different clusters.
    pub fn contradicts(&self, other: &Self) -> bool {
        matches!((&self.uid, &other.uid), (Some(ours), Some(theirs)) if ours != theirs)
    }

    /// Takes a node's key, behind [`nodes_prefix`](Self::nodes_prefix).
    pub fn add_node(&mut self, name: &[u8]) {
        self.node_count += 1;
        if let (Some(name), true) = (plain(name), self.nodes.len() < MAX_NODES) {
            self.nodes.insert(name);
        }
    }
}

/// Finds out which cluster a keyspace holds while its live keys are read, in any order.
#[derive(Debug, Default)]
pub(crate) struct IdentityReader {
    found: BTreeMap<Vec<u8>, Candidate>,
}

#[derive(Debug, Default)]
struct Candidate {
    is_cluster: bool,
    identity: KubernetesIdentity,
}

impl IdentityReader {
    /// Looks at one live key.
    pub(crate) fn visit(&mut self, key: &[u8], value: &[u8]) {
        if let Some(prefix) = key.strip_suffix(NAMESPACE) {
            if let Some(candidate) = self.below(prefix) {
                candidate.is_cluster = true;
                candidate.identity.uid = uid_of(value);
            }
            return;
        }
        let Some(at) = key.iter().rposition(|byte| *byte == b'/') else { return };
        let (parent, name) = key.split_at(at);
        if let Some(prefix) = parent.strip_suffix(NODES)
            && let Some(candidate) = self.below(prefix)
        {
            candidate.identity.add_node(name.get(1..).unwrap_or_default());
        }
    }

    fn below(&mut self, prefix: &[u8]) -> Option<&mut Candidate> {
        if !self.found.contains_key(prefix) {
            if self.found.len() == MAX_PREFIXES {
                return None;
            }
            self.found.insert(prefix.into(), Candidate::default());
        }
        self.found.get_mut(prefix)
    }

    /// The cluster: the shortest prefix with a namespace kube-system. Aggregated API servers and virtual clusters store
    /// theirs deeper.
    pub(crate) fn finish(self) -> KubernetesIdentity {
        let clusters = self.found.into_iter().filter(|(_, candidate)| candidate.is_cluster);
        let Some((prefix, candidate)) = clusters.min_by_key(|(prefix, _)| prefix.len()) else {
            return KubernetesIdentity::default();
        };
        let prefix = String::from_utf8_lossy(&prefix).into_owned();
        KubernetesIdentity { prefix, ..candidate.identity }
    }
}

/// The UID in the stored namespace kube-system, written as protobuf or JSON; `None` for one that is encrypted or has none.
pub fn uid_of(value: &[u8]) -> Option<String> {
    let uid = match value.strip_prefix(PROTOBUF) {
        // Unknown.raw, then Namespace.metadata, then ObjectMeta.uid (`generated.proto`).
        Some(unknown) => field(field(field(unknown, 2)?, 1)?, 5)?,
        None => json_uid(value)?,
    };
    plain(uid).filter(|uid| !uid.is_empty())
}

/// `metadata.uid` of an object in JSON. A namespace has no other field of that name.
fn json_uid(value: &[u8]) -> Option<&[u8]> {
    const FIELD: &[u8] = br#""uid":""#;
    value.starts_with(b"{").then_some(())?;
    let at = value.windows(FIELD.len()).position(|window| window == FIELD)?;
    let rest = value.get(at.checked_add(FIELD.len())?..)?;
    rest.get(..rest.iter().position(|byte| *byte == b'"')?)
}

/// A name as Kubernetes allows it, which may be shown as it is.
fn plain(name: &[u8]) -> Option<String> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let fits = name.len() <= MAX_NAME && name.iter().all(allowed);
    fits.then(|| String::from_utf8_lossy(name).into_owned())
}

/// The first length-delimited field of this number in a protobuf message.
fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    let mut rest = message;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        match wire_type {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                if tag == number {
                    return Some(bytes);
                }
                rest = after;
            }
            WireType::Varint => drop(decode_varint(&mut rest).ok()?),
            WireType::SixtyFourBit => rest = rest.get(8..)?,
            WireType::ThirtyTwoBit => rest = rest.get(4..)?,
            WireType::StartGroup | WireType::EndGroup => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{encode_key, encode_varint};

    use super::*;

    const UID: &str = "0c2f5ea3-43a5-4b4f-9c0e-6a0f5d1f2e11";

    fn delimited(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut message);
        encode_varint(bytes.len() as u64, &mut message);
        message.extend_from_slice(bytes);
        message
    }

    /// A stored namespace as the API server writes it.
    fn stored(uid: &str) -> Vec<u8> {
        let meta = [delimited(1, b"kube-system"), delimited(5, uid.as_bytes())].concat();
        let kind = [delimited(1, b"v1"), delimited(2, b"Namespace")].concat();
        let namespace = [delimited(1, &meta), delimited(2, b"")].concat();
        [PROTOBUF.to_vec(), delimited(1, &kind), delimited(2, &namespace)].concat()
    }

    fn read(keys: &[(&str, &[u8])]) -> KubernetesIdentity {
        let mut reader = IdentityReader::default();
        keys.iter().for_each(|(key, value)| reader.visit(key.as_bytes(), value));
        reader.finish()
    }

    #[test]
    fn the_uid_is_read_from_protobuf_and_json_and_not_from_what_is_encrypted() {
        assert_eq!(uid_of(&stored(UID)).as_deref(), Some(UID));
        let json = format!(r#"{{"kind":"Namespace","metadata":{{"name":"kube-system","uid":"{UID}"}}}}"#);
        assert_eq!(uid_of(json.as_bytes()).as_deref(), Some(UID));
        assert_eq!(uid_of(b"k8s:enc:aescbc:v1:key1:\x00\x01"), None);
        assert_eq!(uid_of(&stored("\u{1b}[2J")), None, "a UID that would move the cursor");
    }

    #[test]
    fn the_cluster_is_found_under_any_prefix_and_in_any_order() {
        let namespace = stored(UID);
        for prefix in ["/registry", "kubernetes.io", "/clusters/prod/registry"] {
            let keys = [
                format!("{prefix}/minions/n2"),
                format!("{prefix}/namespaces/kube-system"),
                format!("{prefix}/minions/n1"),
                format!("{prefix}/namespaces/default"),
                format!("{prefix}/pods/kube-system/minions"),
            ];
            let keys: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &namespace[..])).collect();
            let identity = read(&keys);
            assert_eq!((identity.prefix.as_str(), identity.uid.as_deref()), (prefix, Some(UID)));
            assert_eq!(identity.nodes, BTreeSet::from(["n1".into(), "n2".into()]));
            assert_eq!(identity.node_count, 2);
        }
    }

    #[test]
    fn the_cluster_itself_goes_before_those_stored_below_it() {
        let (outer, inner) = (stored(UID), stored("11111111-2222-3333-4444-555555555555"));
        let identity = read(&[
            ("/registry/virtual/a/namespaces/kube-system", &inner),
            ("/registry/namespaces/kube-system", &outer),
        ]);
        assert_eq!((identity.prefix.as_str(), identity.uid.as_deref()), ("/registry", Some(UID)));
    }

    #[test]
    fn a_keyspace_without_kubernetes_is_no_cluster() {
        assert_eq!(read(&[("app/config", b"1"), ("/x/minions/y", b"")]), KubernetesIdentity::default());
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(key: Vec<u8>, value: Vec<u8>) {
            let mut reader = IdentityReader::default();
            reader.visit(&key, &value);
            reader.finish();
            let enveloped = [PROTOBUF, &value].concat();
            let _ = uid_of(&enveloped);
        }
    }
}
