//! Requests of the v2 API in the log (`server/etcdserver/apply_v2.go`).
//!
//! The v2 API has a store of its own, separate from the v3 keyspace. Of its requests only two change what v3 keeps:
//! etcd 3.4 and 3.5 set a member's attributes and the cluster version with a v2 PUT.

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::Deserialize;

use super::auth::AuthInfo;
use super::messages::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest, InternalRaftRequest, RequestV2,
};
use super::request::Request;

/// Where clients' keys are.
const KEYS: &str = "/1/";
const CLUSTER_VERSION: &str = "/0/version";
const MEMBERS: &str = "/0/members/";

/// What a v2 request does to the v3 store; `None` for reads, and for changes of v2 keys.
pub(super) fn request(v2: &RequestV2) -> Result<Option<(AuthInfo, Request)>, String> {
    // One with a condition goes to the v2 store, whatever its path.
    let has_condition = v2.prev_exist.is_some()
        || v2.prev_index.is_some_and(|index| index > 0)
        || v2.prev_value.as_ref().is_some_and(|value| !value.is_empty());
    if method(v2) != "PUT" || has_condition {
        return Ok(None);
    }
    let path = v2.path.as_deref().unwrap_or_default();
    let value = v2.val.as_deref().unwrap_or_default();
    let request = match member_of_attributes(path) {
        Some(member_id) => {
            let attributes = attributes(value)
                .ok_or_else(|| format!("a request of the v2 API (PUT {path}) whose value does not decode"))?;
            Request::ClusterMemberAttrSet(ClusterMemberAttrSetRequest {
                member_id,
                member_attributes: Some(attributes),
            })
        }
        None if path == CLUSTER_VERSION => {
            Request::ClusterVersionSet(ClusterVersionSetRequest { ver: value.into() })
        }
        None => return Ok(None),
    };
    Ok(Some((AuthInfo::default(), request)))
}

/// Whether the data of a normal entry is a request that may change a v2 key of a client.
pub(crate) fn changes_keys(data: &[u8]) -> bool {
    if !begins_as_v2(data) {
        return false;
    }
    let v2 = match InternalRaftRequest::decode(data) {
        Ok(request) => request.v2,
        Err(_) => RequestV2::decode(data).ok(),
    };
    v2.is_some_and(|v2| {
        matches!(method(&v2), "PUT" | "POST" | "DELETE")
            && v2.path.as_deref().is_some_and(|path| path.starts_with(KEYS))
    })
}

/// Whether field 2 comes first, but for an id: the v2 request of the one message, the method of the other. Requests of v3
/// are told from them without being decoded.
fn begins_as_v2(mut data: &[u8]) -> bool {
    loop {
        match decode_key(&mut data) {
            Ok((1, WireType::Varint)) if decode_varint(&mut data).is_ok() => {}
            Ok((tag, _)) => return tag == 2,
            Err(_) => return false,
        }
    }
}

fn method(v2: &RequestV2) -> &str {
    v2.method.as_deref().unwrap_or_default()
}

/// The member whose attributes a path names. etcd looks for the pattern anywhere in the path
/// (`storeMemberAttributeRegexp`), also in that of a client's key.
fn member_of_attributes(path: &str) -> Option<u64> {
    let mut found = path.match_indices(MEMBERS).filter_map(|(at, _)| {
        let rest = path.get(at + MEMBERS.len()..)?;
        let (id, rest) = rest.split_once('/')?;
        let is_id = (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_id && rest == "attributes").then_some(id)
    });
    u64::from_str_radix(found.next()?, 16).ok()
}

fn attributes(value: &str) -> Option<Attributes> {
    #[derive(Deserialize)]
    struct AttributesJson {
        #[serde(default)]
        name: String,
        #[serde(default, rename = "clientURLs")]
        client_urls: Option<Vec<String>>,
    }
    let AttributesJson { name, client_urls } = serde_json::from_str(value).ok()?;
    Some(Attributes { name, client_urls: client_urls.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::FindingKind;

    /// As etcd encodes it: what is not nullable is there, also when it is zero.
    fn v2(method: &str, path: &str, val: &str) -> RequestV2 {
        RequestV2 {
            id: Some(3),
            method: Some(method.into()),
            path: Some(path.into()),
            val: Some(val.into()),
            dir: Some(false),
            prev_value: Some(String::new()),
            prev_index: Some(0),
            prev_exist: None,
            expiration: Some(0),
            wait: Some(false),
            since: Some(0),
            recursive: Some(false),
            sorted: Some(false),
            quorum: Some(method == "QGET"),
            time: Some(0),
            stream: Some(false),
            refresh: None,
        }
    }

    /// Bare, as 3.4 has it in its log, and wrapped, as 3.5 has.
    fn decoded(v2: &RequestV2) -> [Result<Option<Request>, FindingKind>; 2] {
        let wrapped = InternalRaftRequest { id: 3, v2: Some(v2.clone()), ..Default::default() };
        [v2.encode_to_vec(), wrapped.encode_to_vec()]
            .map(|data| Request::decode(1, &data.into()).map(|decoded| decoded.map(|(_, request)| request)))
    }

    #[test]
    fn members_and_the_cluster_version_are_set() {
        let attributes =
            v2("PUT", "/0/members/1f/attributes", r#"{"name":"m1","clientURLs":["http://h:1"]}"#);
        for request in decoded(&attributes) {
            let Ok(Some(Request::ClusterMemberAttrSet(set))) = request else { panic!("{request:?}") };
            assert_eq!((set.member_id, set.member_attributes.unwrap().name.as_str()), (0x1f, "m1"));
        }
        for request in decoded(&v2("PUT", "/0/version", "3.4.0")) {
            assert!(matches!(request, Ok(Some(Request::ClusterVersionSet(_)))), "{request:?}");
        }
        for request in decoded(&v2("PUT", "/1/0/members/1f/attributes", "no JSON: etcd panics")) {
            assert!(matches!(request, Err(FindingKind::UnsupportedRequest { .. })), "{request:?}");
        }
    }

    #[test]
    fn other_requests_change_nothing_of_v3() {
        for method in ["QGET", "GET", "SYNC", "POST", "DELETE", "PUT"] {
            for path in ["/1/key", "/", "", "/0", "/1/0/members/1f"] {
                for request in decoded(&v2(method, path, "value")) {
                    assert!(matches!(request, Ok(None)), "{method} {path}: {request:?}");
                }
            }
        }
        let conditional = RequestV2 { prev_exist: Some(false), ..v2("PUT", "/0/version", "3.4.0") };
        assert!(decoded(&conditional).iter().all(|request| matches!(request, Ok(None))));
    }

    #[test]
    fn changes_of_v2_keys_are_seen() {
        for (method, path, changes) in [
            ("PUT", "/1/key", true),
            ("POST", "/1/dir", true),
            ("DELETE", "/1/key", true),
            ("QGET", "/1/key", false),
            ("SYNC", "", false),
            ("PUT", "/0/version", false),
        ] {
            let bare = v2(method, path, "v");
            let wrapped = InternalRaftRequest { v2: Some(bare.clone()), ..Default::default() };
            for data in [bare.encode_to_vec(), wrapped.encode_to_vec()] {
                assert_eq!(changes_keys(&data), changes, "{method} {path}");
            }
        }
        assert!(!changes_keys(b"") && !changes_keys(b"\xff"));
    }
}
