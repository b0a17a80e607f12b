//! Signed requests: `Authorization: ZStack <AccessKey id>:<signature>`, as ZStack's SDKs send them.
//!
//! The signature is the base64 of HMAC-SHA1, keyed with the secret, over method, `Date` header and path, a line each
//! and without a last newline. The path is as routed: from `/v1` on, without query.

use axum::http::{HeaderMap, Method};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha1::Sha1;

use super::credentials::Credentials;
use super::reply::Refusal;

const MINUTES_OF_SKEW: i64 = 15;

/// Checks that a request is signed with the AccessKey, and that its date is current.
pub(super) fn check(
    key: &Credentials,
    clock: &TimeZone,
    authorization: &str,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let date = headers.get("date").and_then(|date| date.to_str().ok());
    let date = date.ok_or_else(|| Refusal::bad_request("a signed request needs a Date header"))?;
    check_time(date, clock)?;
    let (id, signature) = authorization
        .split_once(':')
        .ok_or_else(|| Refusal::bad_request("Authorization must be ZStack <access key id>:<signature>"))?;
    if id != key.access_key_id {
        return Err(Refusal::forbidden(format!("unknown access key id {id}")));
    }
    let wrong = || Refusal::forbidden("wrong accessKey signature");
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| wrong())?;
    let mut mac = Hmac::<Sha1>::new_from_slice(key.access_key_secret.as_bytes()).map_err(|_| wrong())?;
    mac.update(format!("{method}\n{date}\n{path}").as_bytes());
    mac.verify_slice(&signature).map_err(|_| wrong())
}

/// Compares wall clocks and ignores the zone named, as ZStack does unless `rest.checkTimeZone` is set.
fn check_time(date: &str, clock: &TimeZone) -> Result<(), Refusal> {
    let unreadable = || Refusal::bad_request("the Date must look like Thu, 17 Oct 2024 05:43:35 GMT");
    let (wall_clock, _zone) = date.rsplit_once(' ').ok_or_else(unreadable)?;
    let sent = DateTime::strptime("%a, %d %b %Y %H:%M:%S", wall_clock).map_err(|_| unreadable())?;
    let ours = clock.to_datetime(Timestamp::now());
    if sent.duration_until(ours).abs() > SignedDuration::from_mins(MINUTES_OF_SKEW) {
        return Err(Refusal::forbidden("requestTimeTooSkewed"));
    }
    Ok(())
}
