//! Leader leases, nodes and their leases.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease as ApiLease;
use k8s_openapi::api::core::v1::{Node as ApiNode, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;
use tokio::join;
use tokio::time::timeout;

use crate::error_text;
use crate::facts::{Fact, KubernetesFacts, Lease, Node};
use crate::probe::access::ANSWER;

/// The leader lease of the controller-manager.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The leader lease of the scheduler.
pub const SCHEDULER: &str = "kube-scheduler";

/// How many nodes that are not Ready are asked for their pods: where more are lost, no reboot is the answer.
const MOST_LOST: usize = 16;

/// Not a leader that is lost: who runs without leader election has none either.
const NO_LEASE: &str =
    "there is no such lease: none has led on this data, or they run without leader election";

/// Asks one API server for everything.
pub(super) async fn collect(client: &kube::Client, host: &str) -> KubernetesFacts {
    let source = |what: &str| format!("API server {host}: {what}");
    let system: Api<ApiLease> = Api::namespaced(client.clone(), "kube-system");
    let node_leases: Api<ApiLease> = Api::namespaced(client.clone(), "kube-node-lease");
    let nodes: Api<ApiNode> = Api::all(client.clone());
    let every = ListParams::default();
    let (controller_manager, scheduler, nodes, leases) = join!(
        within(system.get_opt(CONTROLLER_MANAGER)),
        within(system.get_opt(SCHEDULER)),
        within(nodes.list(&every)),
        within(node_leases.list(&every)),
    );
    let leader = |name: &str, answer: Result<Option<ApiLease>, String>| {
        let source = source(&format!("lease kube-system/{name}"));
        match answer.and_then(|found| found.ok_or_else(|| NO_LEASE.to_owned())) {
            Ok(found) => Fact::value(&source, lease(found)),
            Err(why) => Fact::unknown(&source, why),
        }
    };
    let nodes = nodes.map(|nodes| nodes.items);
    let both = nodes.and_then(|nodes| Ok((nodes, leases?.items)));
    let (nodes, leases_without_node) = match both {
        Ok((objects, leases)) => {
            let leases = by_name(leases);
            let mut nodes: Vec<Node> = objects.into_iter().map(|object| node(object, &leases)).collect();
            pods_of_lost(client, &mut nodes).await;
            let names: BTreeSet<&String> = nodes.iter().map(|node| &node.name).collect();
            let orphans = leases.keys().filter(|name| !names.contains(name)).cloned().collect();
            (
                Fact::value(source("nodes and their leases"), nodes),
                Fact::value(source("leases in kube-node-lease"), orphans),
            )
        }
        Err(why) => (
            Fact::unknown(source("nodes and their leases"), &why),
            Fact::unknown(source("leases in kube-node-lease"), &why),
        ),
    };
    KubernetesFacts {
        controller_manager: leader(CONTROLLER_MANAGER, controller_manager),
        scheduler: leader(SCHEDULER, scheduler),
        nodes,
        leases_without_node,
    }
}

/// Asks for the pods of nodes that are not Ready.
async fn pods_of_lost(client: &kube::Client, nodes: &mut [Node]) {
    let pods: Api<Pod> = Api::all(client.clone());
    let lost = nodes.iter_mut().filter(|node| node.ready != "True").take(MOST_LOST);
    let asked = lost.map(|node| {
        let pods = &pods;
        async move {
            let on_node = ListParams::default().fields(&format!("spec.nodeName={}", node.name));
            let listed = within(pods.list_metadata(&on_node)).await.ok();
            node.pods = listed.map(|listed| listed.items.iter().map(|pod| pod_name(&pod.metadata)).collect());
        }
    });
    join_all(asked).await;
}

fn pod_name(metadata: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error| error_text::of(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

fn by_name(leases: Vec<ApiLease>) -> BTreeMap<String, Lease> {
    let named = leases.into_iter().filter_map(|object| Some((object.metadata.name.clone()?, lease(object))));
    named.collect()
}

fn lease(object: ApiLease) -> Lease {
    let spec = object.spec.unwrap_or_default();
    Lease {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed_at: spec.renew_time.map(|time| time.0),
        duration_seconds: spec.lease_duration_seconds.unwrap_or(0),
    }
}

fn node(object: ApiNode, leases: &BTreeMap<String, Lease>) -> Node {
    let name = object.metadata.name.unwrap_or_default();
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let (ready, reason) = match ready {
        Some(ready) => (ready.status, reason_of(ready.reason, ready.message)),
        // A node that has registered and not yet said how it is.
        None => ("Unknown".into(), "it has no Ready condition".into()),
    };
    Node {
        pods: None,
        lease_renewed_at: leases.get(&name).and_then(|lease| lease.renewed_at),
        name,
        ready,
        reason,
        unschedulable: object.spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
    }
}

fn reason_of(reason: Option<String>, message: Option<String>) -> String {
    let parts: Vec<String> =
        [reason, message].into_iter().flatten().filter(|part| !part.is_empty()).collect();
    error_text::one_line(&parts.join(": "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn a_node(status: &serde_json::Value) -> Node {
        let leases =
            json!({ "metadata": { "name": "n1" }, "spec": { "renewTime": "2026-01-02T03:04:05.678901Z" } });
        let object =
            json!({ "metadata": { "name": "n1" }, "spec": { "unschedulable": true }, "status": status });
        let leases = by_name(vec![serde_json::from_value(leases).unwrap()]);
        node(serde_json::from_value(object).unwrap(), &leases)
    }

    #[test]
    fn a_node_is_told_by_its_ready_condition_and_its_lease() {
        let status = json!({ "conditions": [
            { "type": "DiskPressure", "status": "False" },
            { "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet\nstopped" },
        ] });
        let node = a_node(&status);
        assert_eq!(
            (node.ready.as_str(), node.reason.as_str()),
            ("Unknown", "NodeStatusUnknown: Kubelet stopped")
        );
        assert!(node.unschedulable);
        assert_eq!(node.lease_renewed_at.unwrap().to_string(), "2026-01-02T03:04:05.678901Z");
    }

    #[test]
    fn a_node_that_says_nothing_is_not_taken_for_ready() {
        for status in
            [json!(null), json!({}), json!({ "conditions": [{ "type": "Ready?", "status": "True" }] })]
        {
            assert_eq!(a_node(&status).ready, "Unknown");
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_empty() {
        let object = json!({ "metadata": { "name": "kube-scheduler" }, "spec": { "holderIdentity": null } });
        let expected = Lease { holder: String::new(), renewed_at: None, duration_seconds: 0 };
        assert_eq!(lease(serde_json::from_value(object).unwrap()), expected);
    }
}
