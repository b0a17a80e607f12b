//! Authentication with ZStack: an AccessKey that signs each request, or an account with a session.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, InvalidHeaderValue};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha512};
use tokio::sync::Mutex;

use super::http::{Answer, Http};
use super::wire::Login;
use crate::provider::{ProviderError, Result};
use crate::secret::Secret;

/// How the server refuses a `Date` more than 15 minutes from its clock.
const SKEWED: &str = "requestTimeTooSkewed";

#[derive(Debug)]
pub(super) enum Auth {
    AccessKey {
        id: Secret,
        secret: Secret,
        /// The management node's.
        time_zone: TimeZone,
        /// Whether the management node has refused UTC.
        wall_clock: AtomicBool,
    },
    Account {
        name: String,
        password: Secret,
        session: Mutex<Option<Secret>>,
    },
}

impl Auth {
    pub(super) fn access_key(id: Secret, secret: Secret) -> Self {
        Self::AccessKey { id, secret, time_zone: TimeZone::system(), wall_clock: AtomicBool::new(false) }
    }

    pub(super) fn account(name: &str, password: Secret) -> Self {
        Self::Account { name: name.into(), password, session: Mutex::new(None) }
    }

    pub(super) fn set_time_zone(&mut self, zone: TimeZone) {
        if let Self::AccessKey { time_zone, .. } = self {
            *time_zone = zone;
        }
    }

    /// The headers that say who we are.
    pub(super) async fn headers(&self, http: &Http, method: &Method, path: &str) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let authorization = match self {
            Self::AccessKey { id, secret, time_zone, wall_clock } => {
                let zone = if wall_clock.load(Ordering::Relaxed) { time_zone } else { &TimeZone::UTC };
                let date = date(zone.to_datetime(Timestamp::now()));
                let signature = sign(secret, method, &date, path);
                headers.insert(DATE, HeaderValue::from_str(&date).map_err(|error| unfit(http, &error))?);
                format!("ZStack {}:{signature}", id.expose())
            }
            Self::Account { name, password, session } => {
                let mut session = session.lock().await;
                let current = match session.as_ref() {
                    Some(current) => current.clone(),
                    None => log_in(http, name, password).await?,
                };
                format!("OAuth {}", session.insert(current).expose())
            }
        };
        let mut authorization = HeaderValue::from_str(&authorization).map_err(|error| unfit(http, &error))?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(headers)
    }

    /// Whether a refused request is worth sending once more, after what was learnt from the refusal.
    pub(super) async fn learn(&self, refusal: &ProviderError) -> bool {
        let ProviderError::Unauthorized { message, .. } = refusal else { return false };
        match self {
            Self::AccessKey { wall_clock, .. } => {
                message.contains(SKEWED) && !wall_clock.swap(true, Ordering::Relaxed)
            }
            Self::Account { session, .. } => session.lock().await.take().is_some(),
        }
    }
}

fn unfit(http: &Http, _: &InvalidHeaderValue) -> ProviderError {
    http.unauthorized(
        "the AccessKey or session contains characters that a header cannot; check how it is stored".into(),
    )
}

async fn log_in(http: &Http, name: &str, password: &Secret) -> Result<Secret> {
    const PATH: &str = "/v1/accounts/login";
    let digest: String = Sha512::digest(password.expose()).iter().map(|byte| format!("{byte:02x}")).collect();
    let body = json!({ "logInByAccount": { "accountName": name, "password": digest } });
    let answer = http.send(Method::PUT, PATH, &[], HeaderMap::new(), Some(&body)).await?;
    let reply: Value = match answer {
        Answer::Done(reply) => reply,
        Answer::Failed(error) => return Err(http.unauthorized(error.message())),
        Answer::Accepted => Value::Null,
        Answer::Status(status, sentence) => {
            return Err(ProviderError::refused(format!("login: status {status}: {sentence}")));
        }
    };
    let Login { inventory } = super::wire::decode(reply, PATH)?;
    Ok(Secret::new(inventory.uuid))
}

/// The wall clock, in the words of `EEE, dd MMM yyyy HH:mm:ss z`. The zone is named GMT whatever it is: a server that
/// compares wall clocks does not look at it, and names of other zones mean different zones to different readers.
fn date(wall_clock: DateTime) -> String {
    wall_clock.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The base64 of HMAC-SHA1 over method, date and path, a line each; the path from `/v1` on and without query.
fn sign(secret: &Secret, method: &Method, date: &str, path: &str) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    mac.update(format!("{method}\n{date}\n{path}").as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value is from `printf 'GET\n...' | openssl dgst -sha1 -hmac KEY -binary | base64`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        let date = date(DateTime::constant(2024, 10, 17, 5, 43, 35, 0));
        assert_eq!(date, "Thu, 17 Oct 2024 05:43:35 GMT");
        let signature = sign(&Secret::new("0123456789abcdef"), &Method::GET, &date, "/v1/vm-instances/nics");
        assert_eq!(signature, "A54Ca/quntVdOysxjEQeyC0/te4=");
    }

    #[test]
    fn secrets_do_not_show() {
        let auth = [
            Auth::access_key(Secret::new("key-id"), Secret::new("hunter2")),
            Auth::account("admin", Secret::new("hunter2")),
        ];
        let shown = format!("{auth:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("key-id"), "{shown}");
    }
}
