//! Requests of users and roles, and what is stored of them (`api/etcdserverpb/rpc.proto`, `api/authpb/auth.proto`).

use std::fmt;

use prost::Message;

/// `AuthEnableRequest`, `AuthDisableRequest`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::apply) struct Empty {}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::apply) struct AuthUserAddRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::apply) password: String,
    #[prost(message, optional, tag = "3")]
    pub(in crate::apply) options: Option<UserAddOptions>,
    /// Base64.
    #[prost(string, tag = "4")]
    pub(in crate::apply) hashed_password: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthUserDeleteRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::apply) struct AuthUserChangePasswordRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::apply) password: String,
    /// Base64.
    #[prost(string, tag = "3")]
    pub(in crate::apply) hashed_password: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthUserGrantRoleRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) user: String,
    #[prost(string, tag = "2")]
    pub(in crate::apply) role: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthUserRevokeRoleRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::apply) role: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthRoleAddRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthRoleDeleteRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) role: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthRoleGrantPermissionRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) name: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::apply) perm: Option<Permission>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct AuthRoleRevokePermissionRequest {
    #[prost(string, tag = "1")]
    pub(in crate::apply) role: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::apply) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::apply) range_end: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::apply) struct UserAddOptions {
    #[prost(bool, tag = "1")]
    pub(in crate::apply) no_password: bool,
}

/// A row of `authUsers`.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::apply) struct User {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::apply) name: Vec<u8>,
    /// Its bcrypt hash.
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::apply) password: Vec<u8>,
    /// Sorted.
    #[prost(string, repeated, tag = "3")]
    pub(in crate::apply) roles: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub(in crate::apply) options: Option<UserAddOptions>,
}

/// A row of `authRoles`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct Role {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::apply) name: Vec<u8>,
    /// Sorted by key.
    #[prost(message, repeated, tag = "2")]
    pub(in crate::apply) key_permission: Vec<Permission>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::apply) struct Permission {
    /// 0 read, 1 write, 2 both.
    #[prost(int32, tag = "1")]
    pub(in crate::apply) perm_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::apply) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::apply) range_end: Vec<u8>,
}

impl fmt::Debug for AuthUserAddRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthUserAddRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthUserChangePasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthUserChangePasswordRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}
