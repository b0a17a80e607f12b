//! The user's token: obtained by `Auth.Authenticate`, sent as metadata `token`.
//!
//! Mirrors `client/v3/client.go` (`getToken`) and `retry_interceptor.go` (`shouldRefreshToken`).

use std::fmt;

use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Status};

use crate::messages::{AuthenticateRequest, AuthenticateResponse};

pub(crate) type Token = MetadataValue<Ascii>;

/// Errors caused by the token, not the request: it expired, the member restarted, or authentication was
/// enabled since.
const RENEW: &[(Code, &str)] = &[
    (Code::Unauthenticated, "etcdserver: invalid auth token"),
    (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
    (Code::InvalidArgument, "etcdserver: user name is empty"),
    // The same three from the maintenance service before etcd 3.6, which does not translate them.
    (Code::Unknown, "auth: invalid auth token"),
    (Code::Unknown, "auth: revision in header is old"),
    (Code::Unknown, "auth: user name is empty"),
];
const AUTH_NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// A user, the password and the current token.
pub(crate) struct Auth {
    request: AuthenticateRequest,
    token: Mutex<Option<Token>>,
}

impl Auth {
    pub(crate) fn new(name: &str, password: &str) -> Self {
        let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        Self { request, token: Mutex::new(None) }
    }

    pub(crate) async fn token(&self) -> Option<Token> {
        self.token.lock().await.clone()
    }

    /// Replaces the token, unless another call has already replaced the `stale` one.
    pub(crate) async fn renew<F>(
        &self,
        stale: Option<&Token>,
        authenticate: impl FnOnce(AuthenticateRequest) -> F,
    ) -> Result<(), Status>
    where
        F: Future<Output = Result<AuthenticateResponse, Status>>,
    {
        // Held across the call, so that many failing at once authenticate once.
        let mut token = self.token.lock().await;
        if token.as_ref() != stale {
            return Ok(());
        }
        *token = match authenticate(self.request.clone()).await {
            Ok(response) => Some(parse(&response)?),
            Err(status) if status.message() == AUTH_NOT_ENABLED => None,
            Err(status) => return Err(status),
        };
        Ok(())
    }
}

/// Whether a new token could turn this failure into success.
pub(crate) fn is_stale(status: &Status) -> bool {
    RENEW.contains(&(status.code(), status.message()))
}

fn parse(response: &AuthenticateResponse) -> Result<Token, Status> {
    let mut token: Token = response
        .token
        .parse()
        .map_err(|_| Status::internal("the member's token does not fit in a header"))?;
    // Keeps it out of Debug output and of the HPACK table.
    token.set_sensitive(true);
    Ok(token)
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("name", &self.request.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::{Auth, is_stale, parse};
    use crate::messages::AuthenticateResponse;

    #[test]
    fn neither_password_nor_token_is_shown() {
        let auth = Auth::new("root", "hunter2");
        let response = AuthenticateResponse { token: "tKvXyz.12".into(), ..Default::default() };
        let token = parse(&response).unwrap();
        let shown = format!("{auth:?} {:?} {response:?} {token:?}", auth.request);
        assert!(!shown.contains("hunter2") && !shown.contains("tKvXyz"), "{shown}");
    }

    #[test]
    fn only_a_token_at_fault_is_renewed() {
        assert!(is_stale(&Status::unauthenticated("etcdserver: invalid auth token")));
        assert!(!is_stale(&Status::permission_denied("etcdserver: permission denied")));
        assert!(!is_stale(&Status::invalid_argument(
            "etcdserver: authentication failed, invalid user ID or password"
        )));
    }
}
