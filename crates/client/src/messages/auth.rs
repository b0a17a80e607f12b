//! The messages of service `Auth`.

use std::fmt;

use super::ResponseHeader;
use crate::redact::Hidden;

/// `AuthenticateRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct AuthenticateRequest {
    /// The user.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub password: String,
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateRequest").field("name", &self.name).field("password", &Hidden).finish()
    }
}

/// `AuthenticateResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct AuthenticateResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The token to send with calls.
    #[prost(string, tag = "2")]
    pub token: String,
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateResponse").field("header", &self.header).field("token", &Hidden).finish()
    }
}

/// `AuthEnableRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AuthEnableRequest {}

/// `AuthEnableResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AuthEnableResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}

/// `AuthUserAddRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct AuthUserAddRequest {
    /// The user.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub password: String,
}

impl fmt::Debug for AuthUserAddRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthUserAddRequest").field("name", &self.name).field("password", &Hidden).finish()
    }
}

/// `AuthUserAddResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AuthUserAddResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}

/// `AuthUserGrantRoleRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AuthUserGrantRoleRequest {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The role.
    #[prost(string, tag = "2")]
    pub role: String,
}

/// `AuthUserGrantRoleResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AuthUserGrantRoleResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}
