//! Service `Auth`, as far as turning authentication on needs it.
//!
//! The order is [`user_add`](Client::user_add) `root`, [`user_grant_role`](Client::user_grant_role)
//! `root` to it (that role need not be created), [`auth_enable`](Client::auth_enable).

use super::Client;
use crate::Result;
use crate::messages::{
    AuthEnableRequest, AuthEnableResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse, AuthenticateRequest, AuthenticateResponse,
};
use crate::method::Method;

impl Client {
    /// Checks a password and returns a token for it (`Auth.Authenticate`).
    ///
    /// Only for asking: a client connected with a
    /// [`user`](crate::ConnectOptions::user) looks after its own token.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn authenticate(&self, name: &str, password: &str) -> Result<AuthenticateResponse> {
        let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        self.connection.unary(Method::AUTHENTICATE, request).await
    }

    /// Adds a user (`Auth.UserAdd`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn user_add(&self, name: &str, password: &str) -> Result<AuthUserAddResponse> {
        let request = AuthUserAddRequest { name: name.to_owned(), password: password.to_owned() };
        self.connection.unary(Method::USER_ADD, request).await
    }

    /// Grants a role to a user (`Auth.UserGrantRole`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn user_grant_role(&self, user: &str, role: &str) -> Result<AuthUserGrantRoleResponse> {
        let request = AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
        self.connection.unary(Method::USER_GRANT_ROLE, request).await
    }

    /// Turns authentication on (`Auth.AuthEnable`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn auth_enable(&self) -> Result<AuthEnableResponse> {
        self.connection.unary(Method::AUTH_ENABLE, AuthEnableRequest {}).await
    }
}
