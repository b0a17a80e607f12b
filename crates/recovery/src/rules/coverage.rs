//! What a diagnosis covers and what it does not, so that "nothing found" is not read as "all is well".

use crate::facts::{Facts, Login};

/// What no rule covers.
const NOT_EXAMINED: &[&str] = &[
    "pods and their network",
    "DNS",
    "kube-proxy and services",
    "ingress",
    "webhooks and API services",
    "certificates except those of API servers and of silent kubelets",
    "logs of services that run",
];

/// What was looked at: of how many that let themselves be asked.
pub(super) fn examined(facts: &Facts) -> Vec<String> {
    let cloud = facts.cloud.as_ref().is_some_and(|cloud| cloud.nics.get().is_some());
    let machines = facts.hosts.values().filter(|host| host.login.get() == Some(&Login::Ok)).count();
    let members = facts.members.values().filter(|member| member.status.get().is_some()).count();
    let ready = facts.control_plane.values().filter(|m| m.readyz.get().or(m.livez.get()).is_some()).count();
    let nodes = facts.kubernetes.nodes.get().map_or(0, Vec::len);
    let parts = [
        cloud.then(|| "the cloud".to_owned()),
        count(machines, facts.hosts.len(), "machine", "machines"),
        count(members, facts.members.len(), "etcd member", "etcd members"),
        count(ready, facts.control_plane.len(), "API server", "API servers"),
        count(nodes, nodes.max(facts.inventory.kubernetes.nodes.len()), "node", "nodes"),
        count(facts.checks.len(), facts.checks.len(), "check", "checks"),
    ];
    parts.into_iter().flatten().collect()
}

/// `3 etcd members`, or `1 of 3 etcd members`.
fn count(asked: usize, all: usize, one: &str, many: &str) -> Option<String> {
    let what = if all == 1 { one } else { many };
    match all {
        0 => None,
        _ if asked == all => Some(format!("{all} {what}")),
        _ => Some(format!("{asked} of {all} {what}")),
    }
}

/// What was not.
pub(super) fn not_examined() -> Vec<String> {
    NOT_EXAMINED.iter().map(|what| (*what).to_owned()).collect()
}
