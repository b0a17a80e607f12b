//! Nodes, and the checks at the end.

use crate::finding::Remedy;
use crate::plan::Action;

use super::{Draft, Remedies};

/// Seconds a node gets: to come by itself, and after a restart of its kubelet.
const NODE_SECONDS: u64 = 120;
/// Seconds a node gets to be drained, and to come back from a reboot.
const REBOOT_SECONDS: u64 = 480;
const CHECK_SECONDS: u64 = 120;

/// Adds the steps for nodes.
pub(super) fn plan(draft: &mut Draft<'_>, remedies: &Remedies) {
    let hosts: Vec<String> = remedies
        .automatic
        .iter()
        .filter_map(|remedy| match remedy {
            Remedy::RecoverNode { host } => Some(host.clone()),
            _ => None,
        })
        .collect();
    if !hosts.is_empty() {
        recover(draft, hosts);
    }
    if !draft.steps.is_empty() {
        super::infrastructure::stabilize(draft);
        checks(draft);
    }
}

/// Adds the step that gets these nodes Ready, and a reboot for each where that is asked for. A machine that does more
/// than run pods is not rebooted.
pub(super) fn recover(draft: &mut Draft<'_>, hosts: Vec<String>) {
    let seconds = NODE_SECONDS.saturating_mul(hosts.len().try_into().unwrap_or(u64::MAX));
    draft.steps.add(seconds, Action::RecoverNodes { hosts: hosts.clone() });
    draft.steps.changing("a kubelet that does not recover by itself is restarted");
    let inventory = &draft.facts.inventory;
    let workers: Vec<String> = hosts.into_iter().filter(|host| !inventory.has_role(host)).collect();
    if !draft.options.reboot_nodes {
        if !workers.is_empty() {
            draft.manual.push(reboot_advice(&workers.join(", ")));
        }
        return;
    }
    for host in workers {
        reboot(draft, host);
    }
}

/// What is left where a kubelet was restarted in vain.
pub(super) fn reboot_advice(hosts: &str) -> String {
    format!(
        "where a restart of the kubelet does not help, a reboot of {hosts} may: `lifeboat recover --reboot-nodes` cordons, \
         drains and reboots one machine at a time"
    )
}

fn reboot(draft: &mut Draft<'_>, host: String) {
    let name = draft.facts.inventory.node_name(&host);
    let node =
        draft.facts.kubernetes.nodes.get().and_then(|nodes| nodes.iter().find(|node| node.name == name));
    let pods = match node.and_then(|node| node.pods.as_ref()) {
        Some(pods) if pods.is_empty() => "no pods are on it".to_owned(),
        Some(pods) => format!("these pods stop: {}", pods.join(", ")),
        None => "all pods on it stop; the list is not known now".to_owned(),
    };
    draft.steps.add(REBOOT_SECONDS, Action::RebootNode { host });
    draft.steps.changing(pods);
    draft
        .steps
        .changing("evictions respect PodDisruptionBudgets: where one refuses, the machine is not rebooted");
    draft.steps.irreversible();
}

/// Adds the wait for the inventory's checks.
pub(super) fn checks(draft: &mut Draft<'_>) {
    let checks: Vec<String> = draft.facts.inventory.checks.iter().map(|check| check.name.clone()).collect();
    if !checks.is_empty() {
        draft.steps.add(CHECK_SECONDS, Action::WaitForChecks { checks });
    }
}
