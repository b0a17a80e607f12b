//! Reboots of workers: only with consent, only machines without a role, one at a time, cordoned and drained first.
//!
//! A failed reboot ends the step and not the plan: the node is left as it was, and the next observation reports it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{EvictParams, ListParams};
use tokio::time::{Instant, sleep};

use crate::host::Command;
use crate::journal::GIVEN_UP;
use crate::plan::Action;
use crate::probe::kubernetes::ready;

use super::State;
use super::context::Context;
use super::error::StepError;
use super::node::{not_ready, wait};

/// How long PodDisruptionBudgets may delay the drain.
const DRAIN: Duration = Duration::from_secs(120);
/// How long evicted pods may take to end; on a node without a kubelet they never do.
const END: Duration = Duration::from_secs(30);
/// How long a machine may take from the reboot to Ready.
const AFTER_REBOOT: Duration = Duration::from_secs(180);
/// How often to look.
const POLL: Duration = Duration::from_secs(2);

const CORDONED: &str = "cordoned ";
const UNCORDONED: &str = "uncordoned ";
const IN_VAIN: &str = "the reboot did not help: ";

/// Whether a machine's node is Ready, or was given up; and whether what was cordoned here is cordoned no more.
pub(super) async fn is_settled(context: &Context<'_>, step: u32, host: &str) -> Result<State, StepError> {
    let noted = |prefix: &str| context.notes(step).iter().any(|note| note.starts_with(prefix));
    if noted(CORDONED) && !noted(UNCORDONED) {
        return Ok(State::NotYet(format!("{host} is still cordoned")));
    }
    if noted(GIVEN_UP) || not_ready(context, step, &[host.to_owned()]).await?.is_empty() {
        return Ok(State::Done);
    }
    Ok(State::NotYet(format!("the node of {host} is not Ready")))
}

/// Cordons, drains, reboots, and uncordons; gives up, and says why, where that would do harm.
pub(super) async fn reboot(context: &Context<'_>, step: u32, host: &str) -> Result<(), StepError> {
    if let Some(why) = objection(context, step, host) {
        return give_up(context, step, host, &why);
    }
    let node = NodeClient::new(context, host).await?;
    let rebooted = drain_and_reboot(context, step, host, &node).await;
    if context.notes(step).iter().any(|note| note.starts_with(CORDONED)) {
        node.set_schedulable().await?;
        context.note(step, format!("{UNCORDONED}{}", node.name))?;
    }
    match rebooted {
        Ok(true) => Ok(()),
        Ok(false) => give_up(context, step, host, &format!("{IN_VAIN}its node is not Ready")),
        // Refused by a PodDisruptionBudget: no reason to stop the plan.
        Err(StepError::Fatal(why)) => give_up(context, step, host, &why),
        Err(other) => Err(other),
    }
}

/// Why a machine is not to be rebooted at all.
fn objection(context: &Context<'_>, step: u32, host: &str) -> Option<String> {
    if context.inventory.has_role(host) {
        return Some("it has a role".into());
    }
    if !context.may_reboot.contains(host) {
        return Some("the reboot was not approved".into());
    }
    let reboots = context.plan.steps.iter().filter(|earlier| earlier.number < step);
    let reboots = reboots.filter(|earlier| matches!(earlier.action, Action::RebootNode { .. }));
    let in_vain = |number| context.notes(number).iter().any(|note| note.contains(IN_VAIN));
    // The fault is not the node's then.
    reboots
        .into_iter()
        .any(|earlier| in_vain(earlier.number))
        .then(|| "an earlier reboot did not help".into())
}

fn give_up(context: &Context<'_>, step: u32, host: &str, why: &str) -> Result<(), StepError> {
    context.note(step, format!("{GIVEN_UP}{host}: {why}"))
}

/// Whether the node is Ready afterwards.
async fn drain_and_reboot(
    context: &Context<'_>,
    step: u32,
    host: &str,
    node: &NodeClient,
) -> Result<bool, StepError> {
    let hosts = [host.to_owned()];
    if !was_rebooted(context, step, host).await? {
        if not_ready(context, step, &hosts).await?.is_empty() {
            return Ok(true);
        }
        if node.is_schedulable().await? {
            context.note(step, format!("{CORDONED}{}", node.name))?;
            node.cordon().await?;
        }
        node.drain().await?;
        let boot = boot_id(context, host).await?;
        context.note(step, format!("reboot {host}, boot id {boot}"))?;
        context.announce(host).await?;
        let reboot = context.guarded(host, Command::new(["systemctl", "--no-block", "reboot"]));
        // The connection ends with the machine: an error here says nothing.
        let _ = context.ask(host, reboot).await;
    }
    Ok(wait(context, step, &hosts, AFTER_REBOOT).await?.is_empty())
}

async fn boot_id(context: &Context<'_>, host: &str) -> Result<String, StepError> {
    let said = context.ask(host, Command::new(["cat", "/proc/sys/kernel/random/boot_id"])).await?;
    Ok(said.trim().to_owned())
}

/// Whether an earlier run of this step rebooted it: its boot id is not the one that was noted.
async fn was_rebooted(context: &Context<'_>, step: u32, host: &str) -> Result<bool, StepError> {
    let prefix = format!("reboot {host}, boot id ");
    let notes = context.notes(step);
    let Some(noted) = notes.iter().find_map(|note| note.strip_prefix(&prefix)) else { return Ok(false) };
    Ok(boot_id(context, host).await? != noted)
}

/// One node, by way of an API server that is ready.
struct NodeClient {
    name: String,
    nodes: Api<Node>,
    client: kube::Client,
}

impl NodeClient {
    async fn new(context: &Context<'_>, host: &str) -> Result<Self, StepError> {
        let server = ready(context.inventory, context.access).await;
        let server = server.ok_or_else(|| StepError::Passing("no API server is ready".into()))?;
        let client = context.access.api(server).await.map_err(|error| StepError::Fatal(error.to_string()))?;
        let name = context.inventory.node_name(host).to_owned();
        Ok(Self { name, nodes: Api::all(client.clone()), client })
    }

    async fn is_schedulable(&self) -> Result<bool, StepError> {
        let node = self.nodes.get(&self.name).await.map_err(|error| passing(&error))?;
        Ok(!node.spec.and_then(|spec| spec.unschedulable).unwrap_or(false))
    }

    async fn cordon(&self) -> Result<(), StepError> {
        self.nodes.cordon(&self.name).await.map(drop).map_err(|error| passing(&error))
    }

    async fn set_schedulable(&self) -> Result<(), StepError> {
        self.nodes.uncordon(&self.name).await.map(drop).map_err(|error| passing(&error))
    }

    /// Evicts every pod that another node can take over.
    async fn drain(&self) -> Result<(), StepError> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let mut refused = Vec::new();
            for pod in self.pods().await?.iter().filter(|pod| is_evictable(pod)) {
                refused.extend(self.evict(pod).await?);
            }
            if refused.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(StepError::Fatal(format!(
                    "not drained within {} s, and not rebooted: {}",
                    DRAIN.as_secs(),
                    refused.join("; ")
                )));
            }
            sleep(POLL).await;
        }
        let deadline = Instant::now() + END;
        while self.pods().await?.iter().any(is_replaceable) && Instant::now() < deadline {
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<Pod>, StepError> {
        let on_node = ListParams::default().fields(&format!("spec.nodeName={}", self.name));
        let pods: Api<Pod> = Api::all(self.client.clone());
        pods.list(&on_node).await.map(|list| list.items).map_err(|error| passing(&error))
    }

    /// Why a pod may not go yet; nothing when it is on its way.
    async fn evict(&self, pod: &Pod) -> Result<Option<String>, StepError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        match pods.evict(name, &EvictParams::default()).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Api(status)) if matches!(status.code, 429 | 500) => {
                Ok(Some(format!("{namespace}/{name}: {}", status.message)))
            }
            Err(error) => Err(passing(&error)),
        }
    }
}

/// Whether something makes a new pod in the place of one that is evicted, elsewhere. The kubelet itself starts again
/// what is bare or static; a DaemonSet has a pod on each node.
fn is_replaceable(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    let is_mirror =
        pod.metadata.annotations.iter().flatten().any(|(key, _)| key == "kubernetes.io/config.mirror");
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    controller.is_some_and(|owner| !matches!(owner.kind.as_str(), "DaemonSet" | "Node"))
        && !is_mirror
        && !has_ended
}

fn is_evictable(pod: &Pod) -> bool {
    is_replaceable(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn passing(error: &kube::Error) -> StepError {
    StepError::Passing(crate::error_text::of(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owner: Option<&str>, more: &serde_json::Value) -> Pod {
        let owners: Vec<_> = owner
            .map(
                |kind| json!({"apiVersion": "v1", "kind": kind, "name": "x", "uid": "1", "controller": true}),
            )
            .into_iter()
            .collect();
        let mut pod = json!({"metadata": {"name": "p", "namespace": "d", "ownerReferences": owners}});
        pod.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn only_pods_that_come_up_elsewhere_are_evicted() {
        assert!(is_evictable(&pod(Some("ReplicaSet"), &json!({}))));
        assert!(is_evictable(&pod(Some("StatefulSet"), &json!({"status": {"phase": "Running"}}))));
        for kept in [
            pod(None, &json!({})),
            pod(Some("DaemonSet"), &json!({})),
            pod(Some("Node"), &json!({})),
            pod(Some("Job"), &json!({"status": {"phase": "Succeeded"}})),
        ] {
            assert!(!is_evictable(&kept), "{kept:?}");
        }
        let mut leaving = pod(Some("ReplicaSet"), &json!({}));
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-03-02T08:30:00Z")).unwrap());
        assert!(is_replaceable(&leaving) && !is_evictable(&leaving));
    }
}
