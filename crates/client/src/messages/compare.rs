//! The comparisons of `TxnRequest`.

use std::fmt;

use crate::redact::{Key, Redacted};

/// `Compare.CompareResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// The key's is equal to the given one.
    Equal = 0,
    /// The key's is greater.
    Greater = 1,
    /// The key's is less.
    Less = 2,
    /// The key's is different.
    NotEqual = 3,
}

/// `Compare.CompareTarget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// The key's version.
    Version = 0,
    /// The revision of its creation.
    Create = 1,
    /// The revision of its last change.
    Mod = 2,
    /// Its value.
    Value = 3,
}

/// `Compare.target_union`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
#[prost(skip_debug)]
pub enum TargetUnion {
    /// A version; 0 if the key does not exist.
    #[prost(int64, tag = "4")]
    Version(i64),
    /// A creation revision; 0 if the key does not exist.
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    /// A modification revision; 0 if the key does not exist.
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    /// A value.
    #[prost(bytes = "vec", tag = "7")]
    Value(Vec<u8>),
}

impl fmt::Debug for TargetUnion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => f.debug_tuple("Version").field(version).finish(),
            Self::CreateRevision(revision) => f.debug_tuple("CreateRevision").field(revision).finish(),
            Self::ModRevision(revision) => f.debug_tuple("ModRevision").field(revision).finish(),
            Self::Value(value) => f.debug_tuple("Value").field(&Redacted(value)).finish(),
        }
    }
}

/// `Compare`: one condition on one key.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
#[prost(skip_debug)]
pub struct Compare {
    /// A [`CompareResult`].
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// A [`CompareTarget`], which must fit `target_union`.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// The key.
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// What the key's is compared with.
    #[prost(oneof = "TargetUnion", tags = "4, 5, 6, 7")]
    pub target_union: Option<TargetUnion>,
}

impl Compare {
    /// Compares the key's version; equal to 0 means that there is no such key.
    #[must_use]
    pub fn version(key: impl Into<Vec<u8>>, result: CompareResult, version: i64) -> Self {
        Self::new(key, result, CompareTarget::Version, TargetUnion::Version(version))
    }

    /// Compares the revision of the key's creation.
    #[must_use]
    pub fn create_revision(key: impl Into<Vec<u8>>, result: CompareResult, revision: i64) -> Self {
        Self::new(key, result, CompareTarget::Create, TargetUnion::CreateRevision(revision))
    }

    /// Compares the revision of the key's last change.
    #[must_use]
    pub fn mod_revision(key: impl Into<Vec<u8>>, result: CompareResult, revision: i64) -> Self {
        Self::new(key, result, CompareTarget::Mod, TargetUnion::ModRevision(revision))
    }

    /// Compares the key's value.
    #[must_use]
    pub fn value(key: impl Into<Vec<u8>>, result: CompareResult, value: impl Into<Vec<u8>>) -> Self {
        Self::new(key, result, CompareTarget::Value, TargetUnion::Value(value.into()))
    }

    fn new(key: impl Into<Vec<u8>>, result: CompareResult, target: CompareTarget, with: TargetUnion) -> Self {
        Self { result: result.into(), target: target.into(), key: key.into(), target_union: Some(with) }
    }
}

impl fmt::Debug for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compare")
            .field("result", &self.result())
            .field("target", &self.target())
            .field("key", &Key(&self.key))
            .field("target_union", &self.target_union)
            .finish()
    }
}
