//! The messages of service `Maintenance`.

use std::fmt;

use prost::bytes::Bytes;

use super::ResponseHeader;
use crate::redact::Redacted;

/// `AlarmType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    /// Any alarm, in a query.
    None = 0,
    /// The database has reached its quota; writes are refused.
    Nospace = 1,
    /// Members disagree about the data; everything is refused.
    Corrupt = 2,
}

/// `AlarmRequest.AlarmAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    /// List the alarms.
    Get = 0,
    /// Raise one.
    Activate = 1,
    /// Disarm one.
    Deactivate = 2,
}

/// `AlarmRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmRequest {
    /// An [`AlarmAction`].
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// The member concerned; 0 for all, in a query.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// An [`AlarmType`].
    #[prost(enumeration = "AlarmType", tag = "3")]
    pub alarm: i32,
}

/// `AlarmMember`: one alarm of one member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmMember {
    /// The member.
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    /// An [`AlarmType`].
    #[prost(enumeration = "AlarmType", tag = "2")]
    pub alarm: i32,
}

/// `AlarmResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AlarmResponse {
    /// The header; etcd 3.4 leaves it unset.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The alarms raised, or the one disarmed.
    #[prost(message, repeated, tag = "2")]
    pub alarms: Vec<AlarmMember>,
}

/// `StatusRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct StatusRequest {}

/// `StatusResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The member's etcd version, `3.6.16`.
    #[prost(string, tag = "2")]
    pub version: String,
    /// The size of the database file, in bytes.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// The id of the leader as this member knows it; 0 for none.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// The raft index committed.
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    /// The raft term.
    #[prost(uint64, tag = "6")]
    pub raft_term: u64,
    /// The raft index applied.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
    /// What the member says is wrong: its alarms, or that there is no leader.
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    /// The bytes of the database in use, `db_size` without its free pages.
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    /// Whether the member is a learner.
    #[prost(bool, tag = "10")]
    pub is_learner: bool,
    /// The version of the database's format, `3.6.0`. Since etcd 3.6.
    #[prost(string, tag = "11")]
    pub storage_version: String,
    /// The database's quota in bytes. Since etcd 3.6.
    #[prost(int64, tag = "12")]
    pub db_size_quota: i64,
}

/// `HashKVRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HashKvRequest {
    /// The revision to hash up to; 0 for the newest.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// `HashKVResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HashKvResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The hash.
    #[prost(uint32, tag = "2")]
    pub hash: u32,
    /// The compacted revision hashing began at, -1 for none. Hashes compare only where this is the
    /// same.
    #[prost(int64, tag = "3")]
    pub compact_revision: i64,
    /// The revision hashed up to. Since etcd 3.6.
    #[prost(int64, tag = "4")]
    pub hash_revision: i64,
}

/// `SnapshotRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotRequest {}

/// `SnapshotResponse`: a piece of the database, or at the end its SHA-256.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct SnapshotChunk {
    /// The bytes of the database left after this chunk, the SHA-256 not counted.
    #[prost(uint64, tag = "2")]
    pub remaining_bytes: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub blob: Bytes,
    /// The version of the database's format, `3.6.0`. Since etcd 3.6.
    #[prost(string, tag = "4")]
    pub version: String,
}

impl fmt::Debug for SnapshotChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotChunk")
            .field("remaining_bytes", &self.remaining_bytes)
            .field("blob", &Redacted(&self.blob))
            .field("version", &self.version)
            .finish()
    }
}

/// `DefragmentRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct DefragmentRequest {}

/// `DefragmentResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DefragmentResponse {
    /// The header; members leave it unset.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}
