//! Whether members are healthy, as an operator would find out: over the client port.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, Code, ConnectOptions, Error};

use super::{Cluster, TlsFiles};

/// Time limit of one probe; a member without a leader answers late or never.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Connection options for a member that uses `tls`.
pub(super) fn options(tls: Option<&TlsFiles>) -> ConnectOptions {
    ConnectOptions {
        ca_cert: tls.map(|tls| tls.ca.clone()),
        cert: tls.map(|tls| tls.client.cert.clone()),
        key: tls.map(|tls| tls.client.key.clone()),
        ..ConnectOptions::default()
    }
}

pub(super) async fn connect(endpoint: &str, tls: Option<&TlsFiles>) -> Result<Client> {
    Ok(Client::connect(&options(tls), endpoint).await?)
}

pub(super) fn wait(cluster: &mut Cluster, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    for i in 0..cluster.members.len() {
        if !cluster.members[i].is_started() {
            continue;
        }
        while let Err(error) = cluster.block_on(probe(cluster.client_endpoint(i), cluster.tls())) {
            let member = &mut cluster.members[i];
            // A member that has exited stays down: fail now rather than at the deadline.
            if let Some(status) = member.exited()? {
                bail!("etcd member {} exited: {status}{}", member.name, member.log_tail());
            }
            if Instant::now() >= deadline {
                let context = format!("etcd member {} is not healthy after {limit:?}", member.name);
                return Err(error).context(context + &logs(cluster));
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// The logs of all members: an unhealthy one often just waits for another.
fn logs(cluster: &Cluster) -> String {
    cluster.members.iter().map(super::member::Member::log_tail).collect()
}

async fn probe(endpoint: &str, tls: Option<&TlsFiles>) -> Result<()> {
    let options =
        ConnectOptions { dial_timeout: PROBE_TIMEOUT, command_timeout: PROBE_TIMEOUT, ..options(tls) };
    let client = Client::connect(&options, endpoint).await?;
    // With auth enabled, reads need a user; being told so proves as much.
    match client.status().await {
        Err(error) if needs_a_user(&error) => {}
        status => ensure!(status?.leader != 0, "no leader"),
    }
    // The key need not exist: any answer takes a quorum.
    match client.range(RangeRequest::key("health")).await {
        Err(error) if !needs_a_user(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn needs_a_user(error: &Error) -> bool {
    // The maintenance service before 3.6 does not translate the error code.
    let codes = [Code::InvalidArgument, Code::Unknown];
    matches!(error, Error::Call { code, message, .. }
        if codes.contains(code) && message.contains("user name is empty"))
}
