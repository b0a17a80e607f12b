//! What an entry of the log asks for (`server/etcdserver/server.go`, `applyEntryNormal`; `apply_v2.go`).
//!
//! Whatever is not known to the last field is refused: a request applied in part would be a wrong answer.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::auth::AuthInfo;
use super::messages::{
    AlarmRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
    ClusterMemberAttrSetRequest, ClusterVersionSetRequest, CompactionRequest, DeleteRangeRequest,
    DowngradeInfoSetRequest, InternalRaftRequest, LeaseCheckpoint, LeaseGrantRequest, Op, PutRequest,
    RequestV2, TxnRequest,
};
use super::v2;
use crate::finding::FindingKind;

/// Limit of a request's size. etcd's default is 1.5 MiB, and it warns when configured for more than 10 MiB
/// (`server/etcdserver/bootstrap.go`, `recommendedMaxRequestBytes`); decoded, empty operations take fifty times as much.
const MAX_REQUEST_BYTES: usize = 11 << 20;

/// A request that changes something.
#[derive(Debug)]
pub(super) enum Request {
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compaction(CompactionRequest),
    LeaseGrant(LeaseGrantRequest),
    LeaseRevoke(i64),
    LeaseCheckpoint(Vec<LeaseCheckpoint>),
    Alarm(AlarmRequest),
    ClusterVersionSet(ClusterVersionSetRequest),
    ClusterMemberAttrSet(ClusterMemberAttrSetRequest),
    DowngradeInfoSet(DowngradeInfoSetRequest),
    Auth(AuthRequest),
}

/// A request that changes users and roles, or whether they are enforced.
#[derive(Debug)]
pub(super) enum AuthRequest {
    Enable,
    Disable,
    UserAdd(AuthUserAddRequest),
    UserDelete(String),
    UserChangePassword(AuthUserChangePasswordRequest),
    UserGrantRole { user: String, role: String },
    UserRevokeRole { user: String, role: String },
    RoleAdd(String),
    RoleDelete(String),
    RoleGrantPermission(AuthRoleGrantPermissionRequest),
    RoleRevokePermission(AuthRoleRevokePermissionRequest),
}

impl Request {
    /// Reads the data of a normal entry; `None` when it changes nothing of the v3 store: a new leader's empty entry, a
    /// read, a change of a v2 key.
    pub(super) fn decode(index: u64, data: &Bytes) -> Result<Option<(AuthInfo, Self)>, FindingKind> {
        if data.is_empty() {
            return Ok(None);
        }
        if data.len() > MAX_REQUEST_BYTES {
            let request = format!("a request of {} bytes", data.len());
            return Err(FindingKind::UnsupportedRequest { index, request });
        }
        let unsupported = |request: String| FindingKind::UnsupportedRequest { index, request };
        // 3.4 sends its v2 requests bare; they never decode as the other message.
        let Ok(mut request) = InternalRaftRequest::decode(data.clone()) else {
            let defect = "its request does not decode";
            let request =
                RequestV2::decode(data.clone()).map_err(|_| FindingKind::WalEntry { index, defect })?;
            return v2::request(&request).map_err(unsupported);
        };
        if let Some(request) = &request.v2 {
            return v2::request(request).map_err(unsupported);
        }
        match unknown_field(data) {
            Some(READ_ONLY) => return Ok(None),
            Some(name) => return Err(unsupported(name.into())),
            None => {}
        }
        // The encoding is unique but for the order of fields, so a field that is not known here shows.
        if request.encoded_len() != data.len() {
            return Err(unsupported("a request with a field of a newer etcd".into()));
        }
        let info = AuthInfo::from(request.header.take());
        Ok(Some((info, one_of(request).map_err(unsupported)?)))
    }
}

impl Request {
    /// The keys that it names to write or delete; of a range, its first.
    pub(super) fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = Vec::new();
        match self {
            Self::Put(put) => keys.push(&put.key),
            Self::DeleteRange(delete) => keys.push(&delete.key),
            Self::Txn(txn) => txn.each_operation(&mut |operation| match operation {
                Op::Put(put) => keys.push(&put.key),
                Op::DeleteRange(delete) => keys.push(&delete.key),
                Op::Range(_) | Op::Txn(_) => {}
            }),
            _ => {}
        }
        keys
    }

    /// Whether it may delete a key.
    pub(super) fn may_delete(&self) -> bool {
        match self {
            Self::DeleteRange(_) | Self::LeaseRevoke(_) => true,
            Self::Txn(txn) => {
                let mut may = false;
                txn.each_operation(&mut |operation| may |= matches!(operation, Op::DeleteRange(_)));
                may
            }
            _ => false,
        }
    }
}

/// The first field that is set is used, as in `dispatch` (`apply/uber_applier.go`).
fn one_of(request: InternalRaftRequest) -> Result<Request, String> {
    let first = [
        request.cluster_version_set.map(Request::ClusterVersionSet),
        request.cluster_member_attr_set.map(Request::ClusterMemberAttrSet),
        request.downgrade_info_set.map(Request::DowngradeInfoSet),
        request.put.map(Request::Put),
        request.delete_range.map(Request::DeleteRange),
        request.txn.map(Request::Txn),
        request.compaction.map(Request::Compaction),
        request.lease_grant.map(Request::LeaseGrant),
        request.lease_revoke.map(|revoke| Request::LeaseRevoke(revoke.id)),
        request.lease_checkpoint.map(|request| Request::LeaseCheckpoint(request.checkpoints)),
        request.alarm.map(Request::Alarm),
        request.auth_enable.map(|_| Request::Auth(AuthRequest::Enable)),
        request.auth_disable.map(|_| Request::Auth(AuthRequest::Disable)),
        request.auth_user_add.map(|add| Request::Auth(AuthRequest::UserAdd(add))),
        request.auth_user_delete.map(|delete| Request::Auth(AuthRequest::UserDelete(delete.name))),
        request
            .auth_user_change_password
            .map(|change| Request::Auth(AuthRequest::UserChangePassword(change))),
        request.auth_user_grant_role.map(|AuthUserGrantRoleRequest { user, role }| {
            Request::Auth(AuthRequest::UserGrantRole { user, role })
        }),
        request.auth_user_revoke_role.map(|AuthUserRevokeRoleRequest { name: user, role }| {
            Request::Auth(AuthRequest::UserRevokeRole { user, role })
        }),
        request.auth_role_add.map(|add| Request::Auth(AuthRequest::RoleAdd(add.name))),
        request.auth_role_delete.map(|delete| Request::Auth(AuthRequest::RoleDelete(delete.role))),
        request
            .auth_role_grant_permission
            .map(|grant| Request::Auth(AuthRequest::RoleGrantPermission(grant))),
        request
            .auth_role_revoke_permission
            .map(|revoke| Request::Auth(AuthRequest::RoleRevokePermission(revoke))),
    ];
    first.into_iter().flatten().next().ok_or_else(|| "an empty request".into())
}

const READ_ONLY: &str = "";

/// The name of the first field at the top that [`InternalRaftRequest`] lacks here; [`READ_ONLY`] for one that
/// changes nothing.
fn unknown_field(data: &[u8]) -> Option<&'static str> {
    let mut rest = data;
    while let Ok((tag, wire_type)) = decode_key(&mut rest) {
        let name = match tag {
            1 | 2 | 4..=11 | 100 | 1000 | 1011 | 1300..=1302 => None,
            1100 | 1101 | 1103..=1105 | 1200 | 1201 | 1203 | 1204 => None,
            // Reads, logins, which leave a token in memory alone, and what tests of etcd itself send.
            3 | 1012 | 1013 | 1102 | 1106 | 1107 | 1202 | 9900 => Some(READ_ONLY),
            _ => Some("a request of a newer etcd"),
        };
        if name.is_some() {
            return name;
        }
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> InternalRaftRequest {
        let put = PutRequest { key: b"k".to_vec(), value: b"v".to_vec(), ..Default::default() };
        InternalRaftRequest { id: 7, put: Some(put), ..Default::default() }
    }

    fn refused(data: &[u8]) -> String {
        match Request::decode(9, &Bytes::copy_from_slice(data)) {
            Err(FindingKind::UnsupportedRequest { index: 9, request }) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let known = put().encode_to_vec();
        assert!(matches!(Request::decode(9, &known.clone().into()), Ok(Some((_, Request::Put(_))))));
        let with = |bytes: &[u8]| [&known, bytes].concat();
        // Tag 5000, an empty message; a field 9 within the put.
        assert_eq!(refused(&with(b"\xc2\xb8\x02\x00")), "a request of a newer etcd");
        assert!(refused(b"\x08\x07\x22\x07\x0a\x01k\x12\x00\x48\x01").contains("a field of a newer etcd"));
        assert_eq!(refused(b"\x08\x07"), "an empty request");
        assert!(matches!(Request::decode(9, &Bytes::from_static(b"\x08\x07\x1a\x03\x0a\x01k")), Ok(None)));
        assert!(matches!(Request::decode(9, &Bytes::new()), Ok(None)));
        assert!(matches!(
            Request::decode(9, &Bytes::from_static(b"\xff")),
            Err(FindingKind::WalEntry { .. })
        ));
        assert_eq!(refused(&vec![0; MAX_REQUEST_BYTES + 1]), "a request of 11534337 bytes");
    }
}
