//! What fails, or cannot be relied on, until a finding is fixed.

use crate::finding::{FindingId, Impact, listed};

use super::facts_view::FactsView;

/// The impact of a finding on these machines.
pub(super) fn of(view: &FactsView<'_>, id: FindingId, hosts: &[String]) -> Vec<String> {
    match id.kind().impact {
        Impact::Nothing => Vec::new(),
        Impact::Function(function) => vec![function.to_owned()],
        Impact::Machine => carried(view, hosts),
    }
}

/// What runs on these machines and is not seen at work in the same look: who depends on it is who feels it.
fn carried(view: &FactsView<'_>, hosts: &[String]) -> Vec<String> {
    let inventory = view.inventory();
    let on = |host: &String| hosts.contains(host);
    let members =
        inventory.etcd.members.iter().filter(|(name, spec)| on(&spec.host) && !view.member_answers(name));
    let servers =
        inventory.kubernetes.control_plane.keys().filter(|host| on(host) && !view.api_answers(host));
    let nodes = inventory.kubernetes.nodes.keys().filter(|host| on(host) && !view.node_is_heard(host));
    let mut carried = Vec::new();
    let mut add = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            carried.push(format!("{what} {}", listed(&names)));
        }
    };
    add("etcd on", members.map(|(name, _)| name.clone()).collect());
    add("API on", servers.cloned().collect());
    add("pods on", nodes.cloned().collect());
    for host in hosts.iter().filter(|host| !view.answers(host)) {
        let roles = inventory.hosts.get(host).map(|spec| spec.roles.as_slice()).unwrap_or_default();
        roles.iter().for_each(|role| add(role, vec![format!("on {host}")]));
    }
    carried
}
