//! Deletes an IP range in the cloud, as the operator did who caused the incident.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::http::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::cloud::Credentials;
use crate::machines::Lab;

/// Deletes the control plane's range through the cloud's API, from a machine that keeps its NIC.
pub fn delete_reserved_range(lab: &Lab) -> Result<()> {
    let credentials = Credentials::load_or_create(&lab.cloud_dir())?;
    let digest = Sha512::digest(&credentials.password);
    let password: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let login = serde_json::json!({ "logInByAccount": { "accountName": credentials.account_name, "password": password } });
    let session = call(lab, "PUT", "/accounts/login", None, Some(&login))?;
    let session = session["inventory"]["uuid"].as_str().context("the login returned no session")?.to_owned();
    let ranges = call(lab, "GET", "/l3-networks/ip-ranges", Some(&session), None)?;
    let ranges = ranges["inventories"].as_array().context("the cloud returned no list of IP ranges")?;
    let reserved = ranges
        .iter()
        .find(|range| range["name"] == "reserved")
        .context("the cloud has no IP range `reserved`")?;
    let uuid = reserved["uuid"].as_str().context("the IP range has no uuid")?;
    let job = call(lab, "DELETE", &format!("/l3-networks/ip-ranges/{uuid}"), Some(&session), None)?;
    let job = job["location"]
        .as_str()
        .and_then(|at| at.rsplit('/').next())
        .context("the cloud returned no job")?
        .to_owned();
    for _ in 0..100 {
        match ask(lab, "GET", &format!("/api-jobs/{job}"), Some(&session), None)? {
            // A finished job may have an empty body too: only the status tells.
            (StatusCode::ACCEPTED, _) => std::thread::sleep(Duration::from_millis(200)),
            (StatusCode::OK, _) => return Ok(()),
            (status, answer) => bail!("cannot delete the IP range: {status} {answer}"),
        }
    }
    bail!("deleting the IP range did not finish");
}

/// Makes one call, which must succeed or be accepted as a job.
fn call(lab: &Lab, method: &str, path: &str, session: Option<&str>, body: Option<&Value>) -> Result<Value> {
    let (status, answer) = ask(lab, method, path, session, body)?;
    ensure!(status.is_success(), "{method} {path}: {status} {answer}");
    Ok(answer)
}

/// Makes one call with curl on the machine outside the range; returns the HTTP status and the response.
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
    let mut command = vec!["curl", "-sS", "-m", "20", "-w", "\\n%{http_code}", "-X", method];
    command.extend(["-H", "Content-Type: application/json"]);
    if let Some(authorization) = &authorization {
        command.extend(["-H", authorization.as_str()]);
    }
    if !body.is_empty() {
        command.extend(["-d", body.as_str()]);
    }
    command.push(&url);
    let answer = lab.machine("n2")?.exec(&command)?;
    let (text, status) = answer.trim_end().rsplit_once('\n').context("curl printed no status")?;
    let answer = match text.trim() {
        "" => Value::Null,
        // An error may be plain text.
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    Ok((status.parse()?, answer))
}
