//! Whether members are fit for use, asked the way an operator would: over the client port.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, ConnectOptions};

use super::{Cluster, TlsFiles};

/// One probe's patience; a member without a leader answers late or never.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// How to reach a member that uses `tls`.
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
            // A dead member will not get better: say so now rather than at the deadline.
            if let Some(status) = member.exited()? {
                bail!("etcd member {} ended by itself: {status}{}", member.name, member.log_tail());
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

/// The logs of all members: an unhealthy one often only waits for another.
fn logs(cluster: &Cluster) -> String {
    cluster.members.iter().map(super::member::Member::log_tail).collect()
}

async fn probe(endpoint: &str, tls: Option<&TlsFiles>) -> Result<()> {
    let options =
        ConnectOptions { dial_timeout: PROBE_TIMEOUT, command_timeout: PROBE_TIMEOUT, ..options(tls) };
    let client = Client::connect(&options, endpoint).await?;
    let status = client.status().await?;
    ensure!(status.leader != 0, "no leader");
    // The key need not exist: answering at all takes a quorum.
    client.range(RangeRequest::key("health")).await?;
    Ok(())
}
