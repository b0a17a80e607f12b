//! The gRPC methods called, by their path in `api/etcdserverpb/rpc.proto`.

use tonic::codegen::http::uri::PathAndQuery;

/// One gRPC method: `/etcdserverpb.<Service>/<Rpc>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(&'static str);

impl Method {
    pub(crate) const RANGE: Self = Self("/etcdserverpb.KV/Range");
    pub(crate) const PUT: Self = Self("/etcdserverpb.KV/Put");
    pub(crate) const DELETE_RANGE: Self = Self("/etcdserverpb.KV/DeleteRange");
    pub(crate) const TXN: Self = Self("/etcdserverpb.KV/Txn");
    pub(crate) const COMPACT: Self = Self("/etcdserverpb.KV/Compact");
    pub(crate) const WATCH: Self = Self("/etcdserverpb.Watch/Watch");
    pub(crate) const LEASE_GRANT: Self = Self("/etcdserverpb.Lease/LeaseGrant");
    pub(crate) const LEASE_REVOKE: Self = Self("/etcdserverpb.Lease/LeaseRevoke");
    pub(crate) const MEMBER_LIST: Self = Self("/etcdserverpb.Cluster/MemberList");
    pub(crate) const MEMBER_ADD: Self = Self("/etcdserverpb.Cluster/MemberAdd");
    pub(crate) const MEMBER_REMOVE: Self = Self("/etcdserverpb.Cluster/MemberRemove");
    pub(crate) const MEMBER_PROMOTE: Self = Self("/etcdserverpb.Cluster/MemberPromote");
    pub(crate) const STATUS: Self = Self("/etcdserverpb.Maintenance/Status");
    pub(crate) const ALARM: Self = Self("/etcdserverpb.Maintenance/Alarm");
    pub(crate) const HASH_KV: Self = Self("/etcdserverpb.Maintenance/HashKV");
    pub(crate) const SNAPSHOT: Self = Self("/etcdserverpb.Maintenance/Snapshot");
    pub(crate) const DEFRAGMENT: Self = Self("/etcdserverpb.Maintenance/Defragment");
    pub(crate) const AUTHENTICATE: Self = Self("/etcdserverpb.Auth/Authenticate");
    pub(crate) const AUTH_ENABLE: Self = Self("/etcdserverpb.Auth/AuthEnable");
    pub(crate) const USER_ADD: Self = Self("/etcdserverpb.Auth/UserAdd");
    pub(crate) const USER_GRANT_ROLE: Self = Self("/etcdserverpb.Auth/UserGrantRole");

    /// The name errors use, `KV/Range`.
    pub(crate) fn name(self) -> &'static str {
        self.0.strip_prefix("/etcdserverpb.").unwrap_or(self.0)
    }

    pub(crate) fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn errors_name_service_and_rpc() {
        assert_eq!(Method::HASH_KV.name(), "Maintenance/HashKV");
        assert_eq!(Method::HASH_KV.path().path(), "/etcdserverpb.Maintenance/HashKV");
    }
}
