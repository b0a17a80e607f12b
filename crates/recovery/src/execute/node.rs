//! Nodes that are not Ready: first left to themselves, then their kubelets restarted.
//!
//! A kubelet that lost its API server finds it again within seconds; one with a dead connection does not. Reboots are a
//! step of their own, for which somebody has to ask.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::facts::Node;
use crate::host::Command;
use crate::journal::GIVEN_UP;
use crate::probe;

use super::State;
use super::context::Context;
use super::error::StepError;

/// How long a kubelet may take to recover by itself: it tries its API server every few seconds and posts its status
/// every ten.
const BY_ITSELF: Duration = Duration::from_secs(20);
/// How long it may take after its restart.
const AFTER_RESTART: Duration = Duration::from_secs(30);
/// How often to look.
const POLL: Duration = Duration::from_millis(500);
/// Validity of a node lease.
const LEASE: i64 = 40;
/// Largest clock difference at which times are compared.
const CLOCKS_AGREE: i64 = 10;

/// Whether these machines' nodes are Ready, but for those that were given up: what comes after them can be done without.
pub(super) async fn are_ready(
    context: &Context<'_>,
    step: u32,
    hosts: &[String],
) -> Result<State, StepError> {
    let notes = context.notes(step);
    let given_up = |host: &String| notes.iter().any(|note| note.strip_prefix(GIVEN_UP) == Some(host));
    let missing = not_ready(context, step, hosts).await?;
    let missing: Vec<String> = missing.into_iter().filter(|host| !given_up(host)).collect();
    match missing.is_empty() {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("not Ready: {}", missing.join(", ")))),
    }
}

/// Recovers nodes as far as that is safe; the next observation shows which are left.
pub(super) async fn recover(context: &Context<'_>, step: u32, hosts: &[String]) -> Result<(), StepError> {
    // One that hangs or is stopped does not recover by itself.
    restart_all(context, &without_kubelet(context, hosts).await).await?;
    if wait(context, step, hosts, BY_ITSELF).await?.is_empty() {
        return Ok(());
    }
    restart_all(context, &not_ready(context, step, hosts).await?).await?;
    wait(context, step, hosts, AFTER_RESTART).await?;
    for host in not_ready(context, step, hosts).await? {
        context.note(step, format!("{GIVEN_UP}{host}"))?;
    }
    Ok(())
}

/// Restarts the kubelets of machines; one that is unreachable does not block the others.
async fn restart_all(context: &Context<'_>, hosts: &[String]) -> Result<(), StepError> {
    for host in hosts {
        match restart(context, host).await {
            Ok(()) | Err(StepError::Passing(_)) => {}
            Err(fatal) => return Err(fatal),
        }
    }
    Ok(())
}

/// Restarts a machine's kubelet. A frozen process cannot be asked to stop: it is killed, then started.
async fn restart(context: &Context<'_>, host: &str) -> Result<(), StepError> {
    let unit = kubelet(context, host)?;
    let script =
        r#"timeout 5 systemctl restart "$1" || { systemctl kill -s KILL "$1"; systemctl restart "$1"; }"#;
    context.change(host, Command::script(script, [unit]).within(Duration::from_secs(60))).await?;
    Ok(())
}

fn kubelet(context: &Context<'_>, host: &str) -> Result<String, StepError> {
    let unknown = || StepError::Fatal(format!("the inventory has no node {host}"));
    Ok(context.inventory.kubernetes.nodes.get(host).ok_or_else(unknown)?.kubelet.clone())
}

/// Waits, and gives the machines whose nodes are still not Ready.
pub(super) async fn wait(
    context: &Context<'_>,
    step: u32,
    hosts: &[String],
    limit: Duration,
) -> Result<Vec<String>, StepError> {
    let deadline = Instant::now() + limit;
    loop {
        let missing = match not_ready(context, step, hosts).await {
            Ok(missing) => missing,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => hosts.to_vec(),
        };
        if missing.is_empty() || Instant::now() >= deadline {
            return Ok(missing);
        }
        sleep(POLL).await;
    }
}

/// The machines whose kubelet is seen not to answer itself; of one that cannot be asked nothing is said.
async fn without_kubelet(context: &Context<'_>, hosts: &[String]) -> Vec<String> {
    let asked = hosts.iter().map(|name| async move {
        let host = context.access.hosts.get(name)?;
        let facts = probe::host::collect(context.inventory, name, host.as_ref()).await;
        let health = facts.kubelet.as_ref()?.get()?;
        (!health.ok).then(|| name.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The machines whose nodes are not Ready, or whose kubelet hangs: the node of one that has just begun to still counts
/// as Ready.
pub(super) async fn not_ready(
    context: &Context<'_>,
    step: u32,
    hosts: &[String],
) -> Result<Vec<String>, StepError> {
    let (facts, hung) = tokio::join!(
        probe::kubernetes::cluster(context.inventory, context.access),
        without_kubelet(context, hosts)
    );
    let facts = facts.nodes;
    let Some(nodes) = facts.get() else {
        return Err(StepError::Passing(facts.why_unknown().unwrap_or("no API server answers").to_owned()));
    };
    let mut missing = Vec::new();
    for host in hosts {
        let spec = context.inventory.kubernetes.nodes.get(host);
        let name = spec.and_then(|spec| spec.name.as_ref()).unwrap_or(host);
        let ready = nodes.iter().find(|node| node.name == *name && node.ready == "True");
        let fresh = ready.map(|node| is_fresh(context, step, node)).transpose()?;
        if hung.contains(host) || fresh != Some(true) {
            missing.push(host.clone());
        }
    }
    Ok(missing)
}

/// A node that died while the API was away is still called Ready until the controller-manager notices; a lease that
/// is renewed is not. Where our clock and the node's do not agree, it must be seen to be renewed.
fn is_fresh(context: &Context<'_>, step: u32, node: &Node) -> Result<bool, StepError> {
    let Some(renewed) = node.lease_renewed_at else { return Ok(false) };
    let age = jiff::Timestamp::now().duration_since(renewed).as_secs();
    if (-CLOCKS_AGREE..LEASE).contains(&age) {
        return Ok(true);
    }
    let prefix = format!("lease of {} renewed at ", node.name);
    let renewed = renewed.to_string();
    match context.notes(step).iter().find_map(|note| note.strip_prefix(&prefix)) {
        Some(noted) => Ok(noted != renewed),
        None => context.note(step, format!("{prefix}{renewed}")).map(|()| false),
    }
}
