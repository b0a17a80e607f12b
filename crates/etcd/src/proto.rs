//! The small protobuf messages on disk, as etcd's Go encoders write them.
//!
//! etcd's raft and WAL messages are proto2 with non-nullable fields: zeros are written too. Such fields are
//! `optional` here and always set when writing, so that the bytes are etcd's own. Sources:
//! `raft/raftpb/raft.proto`, `server/storage/wal/walpb/record.proto`,
//! `server/etcdserver/api/snap/snappb/snap.proto`, `api/etcdserverpb/etcdserver.proto` (Metadata) and
//! `rpc.proto` (AlarmMember), `server/lease/leasepb/lease.proto`, `api/authpb/auth.proto`.

use prost::Message;
use prost::bytes::Bytes;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WalRecord {
    #[prost(int64, optional, tag = "1")]
    pub(crate) kind: Option<i64>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) data: Option<Bytes>,
}

/// The WAL's first payload: the member and cluster of the log.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WalMetadata {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) node_id: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) cluster_id: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WalSnapshot {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) term: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub(crate) conf_state: Option<ConfState>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfState {
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub(crate) voters: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub(crate) learners: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub(crate) voters_outgoing: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub(crate) learners_next: Vec<u64>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) auto_leave: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    /// 0 normal, 1 configuration change, 2 configuration change v2.
    #[prost(int32, optional, tag = "1")]
    pub(crate) kind: Option<i32>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) term: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) data: Option<Bytes>,
}

/// Kinds of a [`ConfChange`].
pub(crate) mod conf_change {
    pub(crate) const ADD_NODE: i32 = 0;
    pub(crate) const REMOVE_NODE: i32 = 1;
    pub(crate) const UPDATE_NODE: i32 = 2;
    pub(crate) const ADD_LEARNER_NODE: i32 = 3;
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfChange {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) id: Option<u64>,
    /// One of [`conf_change`].
    #[prost(int32, optional, tag = "2")]
    pub(crate) kind: Option<i32>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) node_id: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) context: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HardState {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) term: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) vote: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) commit: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RaftSnapshot {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<SnapshotMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotMetadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) conf_state: Option<ConfState>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) index: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) term: Option<u64>,
}

/// What a `.snap` file is: a raft snapshot and its crc32c.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapFile {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) crc: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lease {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    #[prost(int64, tag = "2")]
    pub(crate) ttl: i64,
    #[prost(int64, tag = "3")]
    pub(crate) remaining_ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AlarmMember {
    #[prost(uint64, tag = "1")]
    pub(crate) member_id: u64,
    /// 0 none, 1 NOSPACE, 2 CORRUPT.
    #[prost(int32, tag = "2")]
    pub(crate) alarm: i32,
}

/// Of `authpb.User` only what may be shown: the password's hash stays in the bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct User {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) roles: Vec<String>,
}

/// Of `authpb.Role` only its name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Role {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) name: Vec<u8>,
}
