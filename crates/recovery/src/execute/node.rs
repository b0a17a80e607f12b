//! Nodes that are not Ready: first left to themselves, then their kubelets restarted, then rebooted, a few at a time.
//!
//! A kubelet that lost its API server finds it again within seconds; one with a dead connection does not, and what a
//! restart of the kubelet does not mend, a reboot may. A reboot stops every pod of the node, so it comes last, one
//! node after the other, and a second failure in a row ends it: then the fault is not the node's.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::facts::Node;
use crate::host::Command;
use crate::probe;

use super::State;
use super::context::Context;
use super::error::StepError;

/// What a kubelet gets to come by itself: it tries its API server every few seconds and posts its status every ten.
const BY_ITSELF: Duration = Duration::from_secs(20);
/// What it gets after its restart.
const AFTER_RESTART: Duration = Duration::from_secs(30);
/// What a machine gets from the reboot to Ready.
const AFTER_REBOOT: Duration = Duration::from_secs(180);
/// How often to look.
const POLL: Duration = Duration::from_millis(500);
/// So many reboots that did not help end the step.
const FAILURE_BUDGET: usize = 2;

/// Whether these machines' nodes are Ready.
pub(super) async fn are_ready(context: &Context<'_>, hosts: &[String]) -> Result<State, StepError> {
    let missing = not_ready(context, hosts).await?;
    match missing.is_empty() {
        true => Ok(State::Done),
        false => Ok(State::NotYet(format!("not Ready: {}", missing.join(", ")))),
    }
}

/// Brings nodes back.
pub(super) async fn recover(context: &Context<'_>, step: u32, hosts: &[String]) -> Result<(), StepError> {
    // One that hangs or is stopped does not come by itself.
    for host in without_kubelet(context, hosts).await {
        restart(context, &host).await?;
    }
    if wait(context, hosts, BY_ITSELF).await?.is_empty() {
        return Ok(());
    }
    for host in not_ready(context, hosts).await? {
        restart(context, &host).await?;
    }
    let mut failures = 0;
    for host in wait(context, hosts, AFTER_RESTART).await? {
        reboot(context, step, &host).await?;
        if !wait(context, std::slice::from_ref(&host), AFTER_REBOOT).await?.is_empty() {
            failures += 1;
        }
        if failures >= FAILURE_BUDGET {
            return Err(StepError::Fatal(format!(
                "{host} is not Ready after a reboot, the second in a row: not rebooting more"
            )));
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

/// Reboots a machine, unless an earlier run of this step did: its boot id then is not the one that was noted.
async fn reboot(context: &Context<'_>, step: u32, host: &str) -> Result<(), StepError> {
    let boot = context.ask(host, Command::new(["cat", "/proc/sys/kernel/random/boot_id"])).await?;
    let (boot, prefix) = (boot.trim(), format!("reboot {host}, boot id "));
    match context.notes(step).iter().find_map(|note| note.strip_prefix(&prefix)) {
        Some(noted) if noted != boot => return Ok(()),
        Some(_) => {}
        None => context.note(step, format!("{prefix}{boot}"))?,
    }
    // The connection ends with the machine: an error here says nothing.
    let _ = context.ask(host, Command::new(["systemctl", "--no-block", "reboot"])).await;
    Ok(())
}

fn kubelet(context: &Context<'_>, host: &str) -> Result<String, StepError> {
    let unknown = || StepError::Fatal(format!("the inventory has no node {host}"));
    Ok(context.inventory.kubernetes.nodes.get(host).ok_or_else(unknown)?.kubelet.clone())
}

/// Waits, and gives the machines whose nodes are still not Ready.
async fn wait(context: &Context<'_>, hosts: &[String], limit: Duration) -> Result<Vec<String>, StepError> {
    let deadline = Instant::now() + limit;
    loop {
        let missing = match not_ready(context, hosts).await {
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
        let facts = probe::host::look(context.inventory, name, host.as_ref()).await;
        let health = facts.kubelet.as_ref()?.get()?;
        (!health.ok).then(|| name.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The machines whose nodes are not Ready, or whose kubelet hangs: the node of one that has just begun to still counts
/// as Ready.
async fn not_ready(context: &Context<'_>, hosts: &[String]) -> Result<Vec<String>, StepError> {
    let (facts, hung) = tokio::join!(
        probe::kubernetes::cluster(context.inventory, context.access),
        without_kubelet(context, hosts)
    );
    let facts = facts.nodes;
    let Some(nodes) = facts.get() else {
        return Err(StepError::Passing(facts.why_unknown().unwrap_or("no API server answers").to_owned()));
    };
    let ready = |host: &String| {
        let spec = context.inventory.kubernetes.nodes.get(host);
        let name = spec.and_then(|spec| spec.name.as_ref()).unwrap_or(host);
        nodes.iter().any(|node: &Node| node.name == *name && node.ready == "True" && is_fresh(node))
    };
    Ok(hosts.iter().filter(|host| hung.contains(host) || !ready(host)).cloned().collect())
}

/// A node that died while the API was away is still called Ready until the controller-manager notices; a lease that
/// is renewed is not.
fn is_fresh(node: &Node) -> bool {
    let Some(renewed) = node.lease_renewed_at else { return false };
    jiff::Timestamp::now().duration_since(renewed).as_secs() < 40
}
