//! Revisions and the keys of the `key` bucket (`server/storage/mvcc/revision.go`).
//!
//! A key is 17 bytes, `BE u64 main, '_', BE u64 sub`; 18 bytes ending in `t` mark a tombstone.

use std::fmt;

/// One change of the keyspace: the transaction it belongs to and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Number of the transaction; what etcd's API calls a revision.
    pub main: i64,
    /// Place of the change in its transaction, from 0.
    pub sub: i64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}

impl Revision {
    /// The first change of transaction `main`.
    pub fn main(main: i64) -> Self {
        Self { main, sub: 0 }
    }

    /// The 17 bytes it is stored as.
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [b'_'; 17];
        let (main, rest) = bytes.split_at_mut(8);
        main.copy_from_slice(&self.main.to_be_bytes());
        if let Some(sub) = rest.get_mut(1..) {
            sub.copy_from_slice(&self.sub.to_be_bytes());
        }
        bytes
    }

    /// The inverse of [`Revision::to_bytes`]: `None` for anything etcd does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (main, rest) = bytes.split_first_chunk::<8>()?;
        let (separator, sub) = rest.split_first()?;
        let revision =
            Self { main: i64::from_be_bytes(*main), sub: i64::from_be_bytes(sub.try_into().ok()?) };
        (*separator == b'_' && revision.main >= 0 && revision.sub >= 0).then_some(revision)
    }
}

/// A key of the `key` bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketKey {
    /// The change.
    pub revision: Revision,
    /// Whether the change deleted the key.
    pub tombstone: bool,
}

impl BucketKey {
    /// The 17 or 18 bytes it is stored as.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18);
        bytes.extend_from_slice(&self.revision.to_bytes());
        bytes.extend(self.tombstone.then_some(b't'));
        bytes
    }

    /// Reads a key of the `key` bucket: `None` for anything etcd does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (revision, tombstone) = match bytes {
            [revision @ .., b't'] if bytes.len() == 18 => (revision, true),
            revision => (revision, false),
        };
        Some(Self { revision: Revision::from_bytes(revision)?, tombstone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_etcd_writes_them() {
        let revision = Revision { main: 0x0102, sub: 3 };
        let mut bytes = b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03".to_vec();
        assert_eq!(revision.to_bytes().as_slice(), bytes);
        assert_eq!(BucketKey::from_bytes(&bytes), Some(BucketKey { revision, tombstone: false }));
        bytes.push(b't');
        assert_eq!(BucketKey::from_bytes(&bytes), Some(BucketKey { revision, tombstone: true }));
        bytes.push(b't');
        assert_eq!(BucketKey::from_bytes(&bytes), None);
        assert_eq!(BucketKey::from_bytes(&[]), None);
        assert_eq!(BucketKey::from_bytes(&[0xff; 17]), None);
        assert_eq!(BucketKey::from_bytes(b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03"), None);
    }
}
