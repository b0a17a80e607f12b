//! The requests that go through raft (`api/etcdserverpb/raft_internal.proto`, `rpc.proto`, `etcdserver.proto`,
//! `api/membershippb/membership.proto`).
//!
//! Fields that change nothing when a request is applied are here too: what is not known must be told from what
//! does not matter.

mod auth;

use prost::{Message, Oneof};

pub(super) use auth::*;

#[derive(Clone, PartialEq, Message)]
pub(super) struct InternalRaftRequest {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) v2: Option<RequestV2>,
    #[prost(message, optional, tag = "4")]
    pub(super) put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    pub(super) delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    pub(super) txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    pub(super) compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    pub(super) lease_grant: Option<LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    pub(super) lease_revoke: Option<LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    pub(super) alarm: Option<AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    pub(super) lease_checkpoint: Option<LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "100")]
    pub(super) header: Option<RequestHeader>,
    #[prost(message, optional, tag = "1000")]
    pub(super) auth_enable: Option<Empty>,
    #[prost(message, optional, tag = "1011")]
    pub(super) auth_disable: Option<Empty>,
    #[prost(message, optional, tag = "1100")]
    pub(super) auth_user_add: Option<AuthUserAddRequest>,
    #[prost(message, optional, tag = "1101")]
    pub(super) auth_user_delete: Option<AuthUserDeleteRequest>,
    #[prost(message, optional, tag = "1103")]
    pub(super) auth_user_change_password: Option<AuthUserChangePasswordRequest>,
    #[prost(message, optional, tag = "1104")]
    pub(super) auth_user_grant_role: Option<AuthUserGrantRoleRequest>,
    #[prost(message, optional, tag = "1105")]
    pub(super) auth_user_revoke_role: Option<AuthUserRevokeRoleRequest>,
    #[prost(message, optional, tag = "1200")]
    pub(super) auth_role_add: Option<AuthRoleAddRequest>,
    #[prost(message, optional, tag = "1201")]
    pub(super) auth_role_delete: Option<AuthRoleDeleteRequest>,
    #[prost(message, optional, tag = "1203")]
    pub(super) auth_role_grant_permission: Option<AuthRoleGrantPermissionRequest>,
    #[prost(message, optional, tag = "1204")]
    pub(super) auth_role_revoke_permission: Option<AuthRoleRevokePermissionRequest>,
    #[prost(message, optional, tag = "1300")]
    pub(super) cluster_version_set: Option<ClusterVersionSetRequest>,
    #[prost(message, optional, tag = "1301")]
    pub(super) cluster_member_attr_set: Option<ClusterMemberAttrSetRequest>,
    #[prost(message, optional, tag = "1302")]
    pub(super) downgrade_info_set: Option<DowngradeInfoSetRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestHeader {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(string, tag = "2")]
    pub(super) username: String,
    #[prost(uint64, tag = "3")]
    pub(super) auth_revision: u64,
}

/// A request of the v2 API; etcd 3.4 and 3.5 also send one for members' attributes and the cluster version. Every field
/// is here, since their types tell it from an [`InternalRaftRequest`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestV2 {
    #[prost(uint64, optional, tag = "1")]
    pub(super) id: Option<u64>,
    #[prost(string, optional, tag = "2")]
    pub(super) method: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) path: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) val: Option<String>,
    #[prost(bool, optional, tag = "5")]
    pub(super) dir: Option<bool>,
    #[prost(string, optional, tag = "6")]
    pub(super) prev_value: Option<String>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) prev_index: Option<u64>,
    #[prost(bool, optional, tag = "8")]
    pub(super) prev_exist: Option<bool>,
    #[prost(int64, optional, tag = "9")]
    pub(super) expiration: Option<i64>,
    #[prost(bool, optional, tag = "10")]
    pub(super) wait: Option<bool>,
    #[prost(uint64, optional, tag = "11")]
    pub(super) since: Option<u64>,
    #[prost(bool, optional, tag = "12")]
    pub(super) recursive: Option<bool>,
    #[prost(bool, optional, tag = "13")]
    pub(super) sorted: Option<bool>,
    #[prost(bool, optional, tag = "14")]
    pub(super) quorum: Option<bool>,
    #[prost(int64, optional, tag = "15")]
    pub(super) time: Option<i64>,
    #[prost(bool, optional, tag = "16")]
    pub(super) stream: Option<bool>,
    #[prost(bool, optional, tag = "17")]
    pub(super) refresh: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    #[prost(int64, tag = "4")]
    pub(super) revision: i64,
    #[prost(int32, tag = "5")]
    pub(super) sort_order: i32,
    #[prost(int32, tag = "6")]
    pub(super) sort_target: i32,
    #[prost(bool, tag = "7")]
    pub(super) serializable: bool,
    #[prost(bool, tag = "8")]
    pub(super) keys_only: bool,
    #[prost(bool, tag = "9")]
    pub(super) count_only: bool,
    #[prost(int64, tag = "10")]
    pub(super) min_mod_revision: i64,
    #[prost(int64, tag = "11")]
    pub(super) max_mod_revision: i64,
    #[prost(int64, tag = "12")]
    pub(super) min_create_revision: i64,
    #[prost(int64, tag = "13")]
    pub(super) max_create_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
    #[prost(bool, tag = "4")]
    pub(super) prev_kv: bool,
    #[prost(bool, tag = "5")]
    pub(super) ignore_value: bool,
    #[prost(bool, tag = "6")]
    pub(super) ignore_lease: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(super) prev_kv: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<RequestOp>,
}

impl TxnRequest {
    /// Calls `visit` with the operations of both branches, those of nested transactions included.
    pub(super) fn each_operation<'a>(&'a self, visit: &mut dyn FnMut(&'a Op)) {
        for operation in self.success.iter().chain(&self.failure).filter_map(|op| op.request.as_ref()) {
            match operation {
                Op::Txn(txn) => txn.each_operation(visit),
                operation => visit(operation),
            }
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestOp {
    #[prost(oneof = "Op", tags = "1, 2, 3, 4")]
    pub(super) request: Option<Op>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Op {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
    #[prost(message, tag = "4")]
    Txn(TxnRequest),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Compare {
    /// 0 equal, 1 greater, 2 less, 3 not equal.
    #[prost(int32, tag = "1")]
    pub(super) result: i32,
    /// 0 version, 1 create revision, 2 mod revision, 3 value, 4 lease.
    #[prost(int32, tag = "2")]
    pub(super) target: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key: Vec<u8>,
    #[prost(oneof = "TargetUnion", tags = "4, 5, 6, 7, 8")]
    pub(super) target_union: Option<TargetUnion>,
    #[prost(bytes = "vec", tag = "64")]
    pub(super) range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum TargetUnion {
    #[prost(int64, tag = "4")]
    Version(i64),
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    #[prost(bytes = "vec", tag = "7")]
    Value(Vec<u8>),
    #[prost(int64, tag = "8")]
    Lease(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CompactionRequest {
    #[prost(int64, tag = "1")]
    pub(super) revision: i64,
    #[prost(bool, tag = "2")]
    pub(super) physical: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseRevokeRequest {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseCheckpointRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) checkpoints: Vec<LeaseCheckpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseCheckpoint {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int64, tag = "2")]
    pub(super) remaining_ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AlarmRequest {
    /// 0 get, 1 activate, 2 deactivate.
    #[prost(int32, tag = "1")]
    pub(super) action: i32,
    #[prost(uint64, tag = "2")]
    pub(super) member_id: u64,
    #[prost(int32, tag = "3")]
    pub(super) alarm: i32,
}

impl AlarmRequest {
    /// Whether it only asks which alarms are raised.
    pub(super) fn is_get(&self) -> bool {
        self.action == 0
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterVersionSetRequest {
    #[prost(string, tag = "1")]
    pub(super) ver: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterMemberAttrSetRequest {
    #[prost(uint64, tag = "1")]
    pub(super) member_id: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) member_attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attributes {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) client_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DowngradeInfoSetRequest {
    #[prost(bool, tag = "1")]
    pub(super) enabled: bool,
    #[prost(string, tag = "2")]
    pub(super) ver: String,
}
