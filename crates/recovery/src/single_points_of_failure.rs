//! Single points of failure: components without redundancy.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::inventory::{Cloud, Inventory};

/// What the loss of one thing would stop, one sentence each.
pub fn single_points_of_failure(facts: &Facts) -> Vec<String> {
    let inventory = &facts.inventory;
    let mut found = etcd(facts);
    found.extend(control_plane(inventory));
    found.extend(roles(inventory));
    found.extend(ranges(inventory));
    if inventory.snapshots.is_empty() {
        found.push("the inventory lists no snapshots: data lost on every member cannot be recovered".into());
    }
    found
}

fn etcd(facts: &Facts) -> Vec<String> {
    let members = &facts.inventory.etcd.members;
    let needed = members.len() / 2 + 1;
    let mut found = Vec::new();
    if members.len() < 3 {
        found.push(format!(
            "etcd has {}: losing one member stops the cluster",
            count(members.len(), "member")
        ));
    }
    let mut by_host: BTreeMap<&str, usize> = BTreeMap::new();
    members.values().for_each(|member| *by_host.entry(&member.host).or_default() += 1);
    for (host, on_it) in by_host {
        if on_it > 1 && members.len() - on_it < needed {
            found.push(format!("{host} carries {on_it} etcd members: losing it loses the quorum"));
        }
    }
    let serving = facts.members.values().filter(|m| m.sees_quorum()).count();
    if members.len() >= 3 && serving == needed {
        found.push(format!(
            "etcd has {serving} of {} members: losing one more stops the cluster",
            members.len()
        ));
    }
    found
}

fn control_plane(inventory: &Inventory) -> Vec<String> {
    let kubernetes = &inventory.kubernetes;
    let mut found = Vec::new();
    if let (Some(host), 1) = (kubernetes.control_plane.keys().next(), kubernetes.control_plane.len()) {
        found.push(format!("{host} is the only control plane machine: without it there is no API"));
    }
    if let (Some(node), 1) = (kubernetes.nodes.keys().next(), kubernetes.nodes.len()) {
        found.push(format!("{node} is the only node: without it no pod runs"));
    }
    found
}

fn roles(inventory: &Inventory) -> Vec<String> {
    let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (host, spec) in &inventory.hosts {
        spec.roles.iter().for_each(|role| holders.entry(role).or_default().push(host));
    }
    let only = |(role, hosts): (&str, Vec<&str>)| match hosts.as_slice() {
        [host] => Some(format!("only {host} has the role {role}: without it, whatever uses it stops")),
        _ => None,
    };
    holders.into_iter().filter_map(only).collect()
}

/// A range takes the NICs of all its addresses along when it is deleted.
fn ranges(inventory: &Inventory) -> Vec<String> {
    let Some(Cloud::Zstack(zstack)) = &inventory.cloud else { return Vec::new() };
    let needed = inventory.etcd.members.len() / 2 + 1;
    let mut found = Vec::new();
    for range in &zstack.ip_ranges {
        let holds = |host: &str| {
            let nics =
                inventory.hosts.get(host).and_then(|spec| spec.vm.as_ref()).map(|vm| vm.nics.as_slice());
            nics.unwrap_or_default()
                .iter()
                .any(|nic| nic.l3_network == range.l3_network && range.contains(&nic.ip))
        };
        let left = inventory.etcd.members.values().filter(|member| !holds(&member.host)).count();
        if left < needed {
            let (name, start, end) = (&range.name, &range.start_ip, &range.end_ip);
            found.push(format!(
                "IP range {name} ({start} to {end}) holds the etcd members' addresses: deleting it in the cloud \
                 takes their NICs"
            ));
        }
    }
    found
}

fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
