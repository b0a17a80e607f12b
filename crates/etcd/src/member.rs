//! Members and their ids (`server/etcdserver/api/membership/member.go`, `cluster.go`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha1::{Digest, Sha1};

/// Id of a member, shown in hexadecimal as etcdctl does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u64);

impl MemberId {
    /// The id of a member of a new cluster: the first 8 bytes of the SHA-1 of its sorted peer URLs and the
    /// cluster token. Two clusters of the same URLs differ in their ids by their token alone.
    pub fn new(peer_urls: &[String], token: &str) -> Self {
        let mut sorted = peer_urls.to_vec();
        sorted.sort();
        let mut hash = Sha1::new();
        sorted.iter().for_each(|url| hash.update(url));
        hash.update(token);
        Self(first_u64(hash))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for MemberId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Id of a cluster, shown in hexadecimal as etcdctl does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The id of a new cluster: the first 8 bytes of the SHA-1 of its member ids, ascending, big-endian.
    pub fn new(members: impl IntoIterator<Item = MemberId>) -> Self {
        let mut sorted: Vec<_> = members.into_iter().collect();
        sorted.sort_unstable();
        let mut hash = Sha1::new();
        sorted.iter().for_each(|id| hash.update(id.0.to_be_bytes()));
        Self(first_u64(hash))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

fn first_u64(hash: Sha1) -> u64 {
    hash.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// A member as the `members` bucket and conf changes hold it, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", default, deserialize_with = "null_as_empty")]
    pub peer_urls: Vec<String>,
    /// Whether it takes no part in votes.
    #[serde(rename = "isLearner", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it has started.
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

/// Go writes a slice that was never set as `null`: so does the conf change that promotes a learner.
fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Member {
    /// As JSON, the way the database and conf changes hold it.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that `etcdutl snapshot restore` 3.6.16 wrote for these URLs and this token.
    #[test]
    fn ids_as_etcd_computes_them() {
        let id = MemberId::new(&["http://127.0.0.1:2380".into()], "tok");
        assert_eq!(id.to_string(), "71405583d3e2d5ce");
        assert_eq!(ClusterId::new([id]).0, 0x24aa77137010d2b7);
    }
}
