//! The messages of service `KV`, transactions apart.

use std::fmt;

use super::{KeyValue, ResponseHeader};
use crate::redact::{Key, Redacted};

/// As key and `range_end` at once: every key.
pub const ALL_KEYS: &[u8] = &[0];

/// The `range_end` that makes a range of all keys beginning with `prefix` (`clientv3.GetPrefixRangeEnd`).
///
/// For a prefix of nothing but 0xff bytes, or none, that is `\0`: everything from the prefix on. An
/// empty prefix needs [`ALL_KEYS`] as its key too, for an empty key is not one.
#[must_use]
pub fn prefix_range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    ALL_KEYS.to_vec()
}

/// The key and range end for everything beginning with `prefix`.
fn prefix_range(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if prefix.is_empty() {
        return (ALL_KEYS.to_vec(), ALL_KEYS.to_vec());
    }
    let end = prefix_range_end(&prefix);
    (prefix, end)
}

/// `RangeRequest`: which keys to read, and how.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RangeRequest {
    /// The key, or the first of the range.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The end of the range, exclusive; empty for the one key.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// The most keys to return; 0 for all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// The revision to read at; 0 for the newest.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Read what this member has, without asking a quorum.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    /// Leave the values out.
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
    /// Return only the number of keys.
    #[prost(bool, tag = "9")]
    pub count_only: bool,
}

impl RangeRequest {
    /// One key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let (key, range_end) = prefix_range(prefix.into());
        Self { key, range_end, ..Self::default() }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::prefix([])
    }
}

/// `RangeResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The keys found, in order.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut keys off.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// The number of keys in the range, whatever the limit.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// `PutRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    /// The lease to attach the key to; 0 for none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
}

impl fmt::Debug for PutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRequest")
            .field("key", &Key(&self.key))
            .field("value", &Redacted(&self.value))
            .field("lease", &self.lease)
            .finish()
    }
}

/// `PutResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PutResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}

/// `DeleteRangeRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteRangeRequest {
    /// The key, or the first of the range.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The end of the range, exclusive; empty for the one key.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
}

impl DeleteRangeRequest {
    /// One key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), range_end: Vec::new() }
    }

    /// Every key that begins with `prefix`; all of them for an empty one.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let (key, range_end) = prefix_range(prefix.into());
        Self { key, range_end }
    }
}

/// `DeleteRangeResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DeleteRangeResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The number of keys deleted.
    #[prost(int64, tag = "2")]
    pub deleted: i64,
}

/// `CompactionRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct CompactionRequest {
    /// The revision before which history is dropped.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// Answer only once the database no longer holds it either.
    #[prost(bool, tag = "2")]
    pub physical: bool,
}

/// `CompactionResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CompactionResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}

#[cfg(test)]
mod tests {
    use super::{RangeRequest, prefix_range_end};

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_range_end(b"/registry/"), b"/registry0");
        assert_eq!(prefix_range_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_range_end(b"\xff\xff"), b"\0");
        let all = RangeRequest::all();
        assert_eq!((all.key.as_slice(), all.range_end.as_slice()), (&b"\0"[..], &b"\0"[..]));
    }
}
