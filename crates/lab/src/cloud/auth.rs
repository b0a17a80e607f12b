//! Who may call: a session from a login (`Authorization: OAuth <session>`), or a signature ([`super::signature`]).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::reply::{ErrorCode, Refusal};
use super::{Cloud, lock, new_uuid, signature};

/// The context path of a ZStack management node. Signatures do not cover it.
pub(super) const CONTEXT: &str = "/zstack";

/// Open sessions. They end with the process, so that tests meet an expired one.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashSet<String>>);

/// `PUT /accounts/login`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogIn {
    log_in_by_account: LogInByAccount,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogInByAccount {
    account_name: String,
    /// SHA-512 of the password, in hex.
    password: String,
}

/// Opens a session.
pub(super) async fn log_in(
    State(cloud): State<Arc<Cloud>>,
    Json(LogIn { log_in_by_account: by }): Json<LogIn>,
) -> Result<Json<Value>, Refusal> {
    let known = &cloud.credentials;
    let digest: String = Sha512::digest(&known.password).iter().map(|byte| format!("{byte:02x}")).collect();
    if by.account_name != known.account_name || by.password != digest {
        return Err(ErrorCode::login("wrong account name or password").into());
    }
    let session = new_uuid();
    lock(&cloud.sessions.0).insert(session.clone());
    Ok(Json(json!({ "inventory": { "uuid": session, "userType": "Account" } })))
}

/// Rejects requests without valid credentials.
pub(super) async fn check(
    State(cloud): State<Arc<Cloud>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    let authorization = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Refusal::bad_request("the request has no Authorization header"))?;
    match authorization.trim().split_once(' ') {
        Some(("OAuth", session)) => {
            if !lock(&cloud.sessions.0).contains(session.trim()) {
                return Err(ErrorCode::session("the session does not exist or has expired").into());
            }
        }
        Some(("ZStack", signature)) => {
            let path = request.uri().path();
            let path = path.strip_prefix(CONTEXT).unwrap_or(path);
            let key = &cloud.credentials;
            signature::check(key, &cloud.time_zone, signature.trim(), request.method(), path, headers)?;
        }
        _ => return Err(Refusal::bad_request("the Authorization scheme must be OAuth or ZStack")),
    }
    Ok(next.run(request).await)
}
