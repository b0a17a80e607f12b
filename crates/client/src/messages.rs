//! The messages, from `api/etcdserverpb/rpc.proto` and `api/mvccpb/kv.proto` of etcd v3.6.16.
//!
//! Field numbers are upstream's; fields Lifeboat has no use for are left out, and skipped when
//! decoding. A response's `header` is not optional here, for etcd sets it almost always; one that is
//! missing, as in a snapshot, a defragmentation and the alarms of etcd 3.4, reads as zeros. Ids are etcd's `uint64`, which its tools print in hex. `Debug` shows the
//! length of a value, password or database page, never its bytes.

mod auth;
mod cluster;
mod compare;
mod kv;
mod lease;
mod maintenance;
mod mvccpb;
mod txn;
mod watch;

pub use auth::*;
pub use cluster::*;
pub use compare::*;
pub use kv::*;
pub use lease::*;
pub use maintenance::*;
pub use mvccpb::*;
pub use txn::*;
pub use watch::*;

/// `ResponseHeader`: who answered, and at which point of the history.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ResponseHeader {
    /// The cluster's id.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The id of the member that answered.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// The key-value store's revision when the request was applied.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// The raft term when the request was applied.
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}
