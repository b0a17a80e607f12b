//! Nodes, and the checks at the end.

use crate::finding::Remedy;
use crate::plan::Action;

use super::{Draft, Wants};

/// Seconds a node gets: to come by itself, after a restart of its kubelet, and after a reboot.
const NODE_SECONDS: u64 = 300;
const CHECK_SECONDS: u64 = 120;

/// Adds what nodes need.
pub(super) fn plan(draft: &mut Draft<'_>, wants: &Wants) {
    let hosts: Vec<String> = wants
        .remedies
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
        super::reach::settle(draft);
        checks(draft);
    }
}

/// Adds the step that gets these nodes Ready.
pub(super) fn recover(draft: &mut Draft<'_>, hosts: Vec<String>) {
    let seconds = NODE_SECONDS.saturating_mul(hosts.len().try_into().unwrap_or(u64::MAX));
    draft.steps.add(seconds, Action::RecoverNodes { hosts });
    draft.steps.changing("a kubelet that does not come by itself is restarted, then its machine rebooted");
}

/// Adds the wait for the inventory's checks.
pub(super) fn checks(draft: &mut Draft<'_>) {
    let checks: Vec<String> = draft.facts.inventory.checks.iter().map(|check| check.name.clone()).collect();
    if !checks.is_empty() {
        draft.steps.add(CHECK_SECONDS, Action::WaitForChecks { checks });
    }
}
