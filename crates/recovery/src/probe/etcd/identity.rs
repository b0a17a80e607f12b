//! Which Kubernetes cluster a member's keyspace belongs to, asked of the member itself: an API server answers from its
//! cache for as long as it runs, whatever etcd holds by then.

use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, Result};
use lifeboat_etcd::{KubernetesIdentity, uid_of};

use crate::error_text;
use crate::facts::Fact;

/// `--etcd-prefix` by default.
const DEFAULT_PREFIX: &[u8] = b"/registry";
/// First parts of keys that are looked below for another prefix.
const MAX_HOPS: usize = 16;
/// A prefix has few parts: `/clusters/prod/registry`.
const MAX_PARTS: usize = 4;
/// Nodes that are listed.
const MAX_NODES: i64 = 10_000;

/// Asks one member. Its own data is read, so that it answers without a quorum too.
pub(super) async fn ask(client: &Client, source: String) -> Fact<KubernetesIdentity> {
    match identity(client).await {
        Ok(identity) => Fact::value(source, identity),
        Err(error) => Fact::unknown(source, error_text::of(&error)),
    }
}

async fn identity(client: &Client) -> Result<KubernetesIdentity> {
    let Some((prefix, namespace)) = find(client).await? else { return Ok(KubernetesIdentity::default()) };
    let nodes = KubernetesIdentity::nodes_prefix(&prefix);
    let request = RangeRequest {
        keys_only: true,
        limit: MAX_NODES,
        serializable: true,
        ..RangeRequest::prefix(nodes.clone())
    };
    let answer = client.range(request).await?;
    let mut identity = KubernetesIdentity {
        prefix: String::from_utf8_lossy(&prefix).into_owned(),
        uid: uid_of(&namespace),
        ..KubernetesIdentity::default()
    };
    for kv in &answer.kvs {
        identity.add_node(kv.key.get(nodes.len()..).unwrap_or_default());
    }
    identity.node_count = answer.count.try_into().unwrap_or(identity.node_count);
    Ok(identity)
}

/// The prefix that Kubernetes' keys are under, and the stored namespace kube-system. From one first part of keys to the
/// next, so that only few keys are read of a large store.
async fn find(client: &Client) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    if let Some(namespace) = namespace(client, DEFAULT_PREFIX).await? {
        return Ok(Some((DEFAULT_PREFIX.into(), namespace)));
    }
    let mut from = vec![0];
    for _ in 0..MAX_HOPS {
        let request = RangeRequest {
            key: from,
            range_end: vec![0],
            limit: 1,
            keys_only: true,
            serializable: true,
            ..RangeRequest::default()
        };
        let Some(first) = client.range(request).await?.kvs.into_iter().next() else { break };
        for prefix in parts(&first.key) {
            if let Some(namespace) = namespace(client, prefix).await? {
                return Ok(Some((prefix.into(), namespace)));
            }
        }
        from = behind(&first.key);
    }
    Ok(None)
}

async fn namespace(client: &Client, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
    let key = KubernetesIdentity::namespace_key(prefix);
    let request = RangeRequest { serializable: true, ..RangeRequest::key(key) };
    Ok(client.range(request).await?.kvs.into_iter().next().map(|kv| kv.value))
}

/// What a key may be under: `/a`, `/a/b` of `/a/b/c`.
fn parts(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.take(MAX_PARTS).filter_map(|end| key.get(..end))
}

/// The first key that does not begin with the same part.
fn behind(key: &[u8]) -> Vec<u8> {
    match parts(key).next() {
        // `0` follows `/`.
        Some(part) => [part, b"0"].concat(),
        None => [key, b"\0"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_looked_for_below_the_first_parts_of_keys() {
        let of = |key: &'static str| -> Vec<&[u8]> { parts(key.as_bytes()).collect() };
        assert_eq!(of("/a/b/c"), [&b"/a"[..], b"/a/b"]);
        assert_eq!(
            of("kubernetes.io/namespaces/default"),
            [&b"kubernetes.io"[..], b"kubernetes.io/namespaces"]
        );
        assert_eq!(of("key"), Vec::<&[u8]>::new());
        assert!(behind(b"/a/b/c") > b"/a/z/z".to_vec() && behind(b"/a/b/c") <= b"/a0".to_vec());
        assert!(behind(b"key") > b"key".to_vec());
    }
}
