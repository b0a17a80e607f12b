//! The click that began it: an operator of the cloud deletes an IP range.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::http::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::cloud::Credentials;
use crate::machines::Lab;

/// Deletes the range of the control plane, by the cloud's API, asked from a machine that keeps its NIC.
pub fn delete_reserved_range(lab: &Lab) -> Result<()> {
    let credentials = Credentials::load_or_create(&lab.cloud_dir())?;
    let digest = Sha512::digest(&credentials.password);
    let password: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let login = serde_json::json!({ "logInByAccount": { "accountName": credentials.account_name, "password": password } });
    let session = call(lab, "PUT", "/accounts/login", None, Some(&login))?;
    let session = session["inventory"]["uuid"].as_str().context("login gave no session")?.to_owned();
    let ranges = call(lab, "GET", "/l3-networks/ip-ranges", Some(&session), None)?;
    let ranges = ranges["inventories"].as_array().context("no list of ranges")?;
    let reserved = ranges.iter().find(|range| range["name"] == "reserved").context("no range `reserved`")?;
    let uuid = reserved["uuid"].as_str().context("a range without uuid")?;
    let job = call(lab, "DELETE", &format!("/l3-networks/ip-ranges/{uuid}"), Some(&session), None)?;
    let job = job["location"].as_str().and_then(|at| at.rsplit('/').next()).context("no job")?.to_owned();
    for _ in 0..100 {
        match ask(lab, "GET", &format!("/api-jobs/{job}"), Some(&session), None)? {
            // Both a job that is done and one that is not may answer nothing: only the status tells them apart.
            (StatusCode::ACCEPTED, _) => std::thread::sleep(Duration::from_millis(200)),
            (StatusCode::OK, _) => return Ok(()),
            (status, answer) => bail!("deleting the range failed: {status} {answer}"),
        }
    }
    bail!("deleting the range did not end");
}

/// One call that is answered, or taken as a job.
fn call(lab: &Lab, method: &str, path: &str, session: Option<&str>, body: Option<&Value>) -> Result<Value> {
    let (status, answer) = ask(lab, method, path, session, body)?;
    ensure!(status.is_success(), "{method} {path}: {status} {answer}");
    Ok(answer)
}

/// One call, by the curl of the machine outside the range: its HTTP status, and the answer.
fn ask(
    lab: &Lab,
    method: &str,
    path: &str,
    session: Option<&str>,
    body: Option<&Value>,
) -> Result<(StatusCode, Value)> {
    let url = format!("{}/zstack/v1{path}", lab.cloud_endpoint());
    let body = body.map(ToString::to_string).unwrap_or_default();
    let authorization = session.map(|session| format!("Authorization: OAuth {session}"));
    let mut words = vec!["curl", "-sS", "-m", "20", "-w", "\\n%{http_code}", "-X", method];
    words.extend(["-H", "Content-Type: application/json"]);
    if let Some(authorization) = &authorization {
        words.extend(["-H", authorization.as_str()]);
    }
    if !body.is_empty() {
        words.extend(["-d", body.as_str()]);
    }
    words.push(&url);
    let answer = lab.machine("n2")?.exec(&words)?;
    let (text, status) = answer.trim_end().rsplit_once('\n').context("no status in what curl says")?;
    let answer = match text.trim() {
        "" => Value::Null,
        // What is refused may be refused in plain words.
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    Ok((status.parse()?, answer))
}
