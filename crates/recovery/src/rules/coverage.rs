//! What a diagnosis looked at and what it did not, so that "nothing found" is not read as "all is well".

use crate::facts::Facts;

/// What no rule looks at. A layer that is built takes its line out.
const NOT_EXAMINED: &[&str] = &[
    "pods and their network",
    "DNS",
    "kube-proxy and services",
    "ingress",
    "webhooks and API services",
    "certificates other than the API servers' serving ones",
    "logs",
];

/// What was looked at.
pub(super) fn examined(facts: &Facts) -> Vec<String> {
    let count = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let nodes = facts.kubernetes.nodes.get().map_or(0, Vec::len);
    let parts = [
        facts.cloud.as_ref().map(|_| "the cloud".to_owned()),
        count(facts.hosts.len(), "machine", "machines"),
        count(facts.members.len(), "etcd member", "etcd members"),
        count(facts.masters.len(), "API server", "API servers"),
        count(nodes, "node", "nodes"),
        count(facts.checks.len(), "check", "checks"),
    ];
    parts.into_iter().flatten().collect()
}

/// What was not.
pub(super) fn not_examined() -> Vec<String> {
    NOT_EXAMINED.iter().map(|what| (*what).to_owned()).collect()
}
