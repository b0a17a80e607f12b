//! `mvccpb.KeyValue`, the value of every revision (`api/mvccpb/kv.proto`), read without copying.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// One revision of a key, borrowed from the page it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyValue<'bytes> {
    /// The key; never empty in an undamaged store.
    pub key: &'bytes [u8],
    /// Main revision at which the key was created; 0 in a tombstone.
    pub create_revision: i64,
    /// Main revision of this change; 0 in a tombstone.
    pub mod_revision: i64,
    /// Changes since the key was created, this one included; 0 in a tombstone.
    pub version: i64,
    /// The value; empty in a tombstone.
    pub value: &'bytes [u8],
    /// Lease the key is attached to; 0 for none.
    pub lease: i64,
}

/// What a restore that bumps the revision stores at the revision it bumps to, as `etcdutl snapshot restore
/// --bump-revision` does (`etcdutl/snapshot/v3_snapshot.go`, `unsafeBumpBucketsRevision`): a revision without a value. A
/// server takes it for a put of the key "", which no request can read; it outlives compactions, so it is in every later
/// snapshot, and a later bump by etcdutl, which looks at revisions only, counts from it.
pub(crate) const BUMP_MARK: &[u8] = b"";

/// Whether the value of a revision is the mark of a bump, and no change of a key.
pub(crate) fn is_bump_mark(value: &[u8]) -> bool {
    value == BUMP_MARK
}

/// Defect of an encoded `KeyValue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyValueDefect {
    /// The protobuf encoding is broken.
    #[error("not a KeyValue message (broken at byte {offset})")]
    Encoding {
        /// Byte offset in the value at which decoding stopped.
        offset: usize,
    },
    /// The message has no key.
    #[error("a KeyValue without a key")]
    NoKey,
    /// The message contradicts the revision it is stored under, or itself.
    #[error("{field} contradicts the revision it is stored under")]
    Contradiction {
        /// The field.
        field: &'static str,
    },
}

impl<'bytes> KeyValue<'bytes> {
    /// Decodes a message. Unknown fields are passed over, as protobuf asks.
    ///
    /// # Errors
    /// [`KeyValueDefect::Encoding`] when the bytes are not a protobuf message of this type.
    pub fn decode(bytes: &'bytes [u8]) -> Result<Self, KeyValueDefect> {
        let mut rest = bytes;
        let mut kv = Self::default();
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            kv.field(&mut rest).ok_or(KeyValueDefect::Encoding { offset })?;
        }
        Ok(kv)
    }

    fn field(&mut self, rest: &mut &'bytes [u8]) -> Option<()> {
        let (tag, wire_type) = decode_key(rest).ok()?;
        match (tag, wire_type) {
            (1, WireType::LengthDelimited) => self.key = length_delimited(rest)?,
            (2, WireType::Varint) => self.create_revision = varint(rest)?,
            (3, WireType::Varint) => self.mod_revision = varint(rest)?,
            (4, WireType::Varint) => self.version = varint(rest)?,
            (5, WireType::LengthDelimited) => self.value = length_delimited(rest)?,
            (6, WireType::Varint) => self.lease = varint(rest)?,
            (1..=6, _) => return None,
            (_, WireType::Varint) => drop(varint(rest)?),
            (_, WireType::LengthDelimited) => drop(length_delimited(rest)?),
            (_, WireType::SixtyFourBit) => *rest = rest.get(8..)?,
            (_, WireType::ThirtyTwoBit) => *rest = rest.get(4..)?,
            (_, WireType::StartGroup | WireType::EndGroup) => return None,
        }
        Some(())
    }

    /// Encodes it as etcd does: fields in order, zeros left out.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { key, create_revision, mod_revision, version, value, lease } = *self;
        let mut bytes = Vec::with_capacity(key.len() + value.len() + 48);
        encode_bytes(1, key, &mut bytes);
        encode_number(2, create_revision, &mut bytes);
        encode_number(3, mod_revision, &mut bytes);
        encode_number(4, version, &mut bytes);
        encode_bytes(5, value, &mut bytes);
        encode_number(6, lease, &mut bytes);
        bytes
    }

    /// Verifies it against the revision it is stored under (`kvstore_txn.go`, `put` and `delete`).
    ///
    /// # Errors
    /// The first contradiction.
    pub fn verify(&self, main: i64, tombstone: bool) -> Result<(), KeyValueDefect> {
        let contradiction = |field| Err(KeyValueDefect::Contradiction { field });
        if self.key.is_empty() {
            return Err(KeyValueDefect::NoKey);
        }
        if tombstone {
            return if self.mod_revision == 0 {
                Ok(())
            } else {
                contradiction("mod_revision of a tombstone")
            };
        }
        if self.mod_revision != main {
            return contradiction("mod_revision");
        }
        if self.create_revision < 1 || self.create_revision > main {
            return contradiction("create_revision");
        }
        if self.version < 1 || (self.version == 1 && self.create_revision != main) {
            return contradiction("version");
        }
        Ok(())
    }
}

/// int64 fields are varints of their two's complement.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    decode_varint(rest).ok().map(u64::cast_signed)
}

fn encode_number(tag: u32, number: i64, bytes: &mut Vec<u8>) {
    if number != 0 {
        encode_key(tag, WireType::Varint, bytes);
        encode_varint(number.cast_unsigned(), bytes);
    }
}

fn encode_bytes(tag: u32, field: &[u8], bytes: &mut Vec<u8>) {
    if !field.is_empty() {
        encode_key(tag, WireType::LengthDelimited, bytes);
        encode_varint(field.len() as u64, bytes);
        bytes.extend_from_slice(field);
    }
}

fn length_delimited<'bytes>(rest: &mut &'bytes [u8]) -> Option<&'bytes [u8]> {
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    /// The same message as protobuf's own library sees it.
    #[derive(Clone, PartialEq, Message)]
    struct Reference {
        #[prost(bytes = "vec", tag = "1")]
        key: Vec<u8>,
        #[prost(int64, tag = "2")]
        create_revision: i64,
        #[prost(int64, tag = "3")]
        mod_revision: i64,
        #[prost(int64, tag = "4")]
        version: i64,
        #[prost(bytes = "vec", tag = "5")]
        value: Vec<u8>,
        #[prost(int64, tag = "6")]
        lease: i64,
    }

    fn same(kv: &KeyValue<'_>, reference: &Reference) -> bool {
        kv.key == reference.key
            && kv.create_revision == reference.create_revision
            && kv.mod_revision == reference.mod_revision
            && kv.version == reference.version
            && kv.value == reference.value
            && kv.lease == reference.lease
    }

    proptest! {
        #[test]
        fn decodes_what_prost_encodes(key: Vec<u8>, c: i64, m: i64, v: i64, value: Vec<u8>, lease: i64) {
            let reference =
                Reference { key, create_revision: c, mod_revision: m, version: v, value, lease };
            let bytes = reference.encode_to_vec();
            let kv = KeyValue::decode(&bytes).unwrap();
            prop_assert!(same(&kv, &reference));
            prop_assert_eq!(kv.encode(), bytes);
        }

        #[test]
        fn agrees_with_prost_on_any_bytes(bytes in prop::collection::vec(0u8..64, 0..40)) {
            // prost also reads the obsolete groups, which etcd never writes and we refuse.
            if let Ok(kv) = KeyValue::decode(&bytes) {
                prop_assert!(same(&kv, &Reference::decode(bytes.as_slice()).unwrap()));
            }
        }
    }

    #[test]
    fn says_what_contradicts() {
        let kv =
            KeyValue { key: b"a", create_revision: 3, mod_revision: 5, version: 2, ..Default::default() };
        assert_eq!(kv.verify(5, false), Ok(()));
        assert!(kv.verify(6, false).is_err());
        assert!(KeyValue { version: 1, ..kv }.verify(5, false).is_err());
        assert!(KeyValue { create_revision: 6, ..kv }.verify(5, false).is_err());
        assert!(KeyValue { key: b"", ..kv }.verify(5, false).is_err());
        assert_eq!(KeyValue { key: b"a", ..Default::default() }.verify(5, true), Ok(()));
    }
}
