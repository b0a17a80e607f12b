//! `api/mvccpb/kv.proto`.

use std::fmt;

use crate::redact::{Key, Redacted};

/// `mvccpb.KeyValue`: one version of one key, with all of upstream's fields.
///
/// Encoding it gives the bytes etcd stores: the same fields in the same order, zeros left out.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The revision of the key's last creation.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The revision of this version.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// How many versions since the creation, this one included; 0 in a deletion.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
    /// The lease the key is attached to; 0 for none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &Key(&self.key))
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .field("version", &self.version)
            .field("value", &Redacted(&self.value))
            .field("lease", &self.lease)
            .finish()
    }
}

/// `mvccpb.Event.EventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    /// The key was created or changed.
    Put = 0,
    /// The key was deleted, or its lease ended.
    Delete = 1,
}

/// `mvccpb.Event`: one change of one key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// An [`EventType`].
    #[prost(enumeration = "EventType", tag = "1")]
    pub r#type: i32,
    /// The key after the change; a deletion has only the key and its `mod_revision`.
    #[prost(message, required, tag = "2")]
    pub kv: KeyValue,
    /// The key before the change, if it was asked for and is not compacted.
    #[prost(message, optional, tag = "3")]
    pub prev_kv: Option<KeyValue>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::KeyValue;

    #[test]
    fn a_value_is_not_shown() {
        let kv = KeyValue { key: b"/a\xff".to_vec(), value: b"hunter2".to_vec(), ..Default::default() };
        let shown = format!("{kv:?}");
        assert!(shown.contains(r#"key: "/a\xff""#) && shown.contains("value: <7 bytes>"), "{shown}");
    }

    #[test]
    fn encodes_as_etcd_stores_it() {
        let kv = KeyValue {
            key: b"k".to_vec(),
            create_revision: 2,
            mod_revision: 300,
            version: 1,
            value: b"v".to_vec(),
            lease: 0,
        };
        assert_eq!(kv.encode_to_vec(), b"\x0a\x01k\x10\x02\x18\xac\x02\x20\x01\x2a\x01v");
    }
}
