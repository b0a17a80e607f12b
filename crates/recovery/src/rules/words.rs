//! Summaries and impact of findings.

use crate::finding::FindingId;

use super::facts_view::FactsView;
use super::symptom::listed;

/// The summary of a finding with these subjects.
pub(super) fn summary(id: FindingId, subjects: &[String]) -> String {
    let who = listed(subjects);
    let many = subjects.len() > 1;
    let (is, s) = if many { ("are", "s") } else { ("is", "") };
    let (does, has) = if many { ("do", "have") } else { ("does", "has") };
    match id {
        FindingId::CloudUnreachable => format!("The cloud's API is unavailable: {who}"),
        FindingId::NicMissing => format!("The cloud has no NIC for {who}"),
        FindingId::NicChanged => format!("The NIC{s} of {who} {does} not match the inventory"),
        FindingId::VmStopped => format!("The VM{s} of {who} {is} powered off"),
        FindingId::VmMissing => format!("The cloud does not know the VM{s} of {who}"),
        FindingId::HostUnreachable => format!("{who} cannot be reached"),
        FindingId::HostKeyChanged => format!("The SSH host key of {who} has changed"),
        FindingId::HostWrongMachine => format!("Another machine answers at the address of {who}"),
        FindingId::HostNoMachineId => format!("The inventory has no machineId for {who}"),
        FindingId::HostDenied => format!("Access to {who} is denied"),
        FindingId::HostClockSkew => format!("The clock{s} of {who} {is} off"),
        FindingId::HostDiskFull => format!("The disk{s} of {who} {is} full"),
        FindingId::HostDiskReadOnly => format!("The disk{s} of {who} {is} read-only"),
        FindingId::HostReset => format!("{who} {has} lost {} units and data", its(many)),
        FindingId::ServiceDisabled => format!("Services on {who} do not start at the next boot"),
        FindingId::OperationPending => format!("Operation {who} is unfinished"),
        FindingId::ServiceFenced => {
            format!("Services on {who} are fenced by an unfinished recovery")
        }
        FindingId::HostLeftovers => {
            format!("A finished recovery left the cluster's state, including all Secrets, on {who}")
        }
        FindingId::EtcdQuorumLost => "etcd has no quorum".into(),
        FindingId::EtcdStateLost => "etcd serves data that contains none of this cluster's nodes".into(),
        FindingId::EtcdStateConflict => format!("{who} {has} more data than the etcd cluster"),
        FindingId::EtcdMemberDown => format!("etcd member{s} {who} {does} not serve"),
        FindingId::EtcdMemberCorrupt => format!("The data of etcd member{s} {who} is damaged"),
        FindingId::EtcdMemberDataMissing => format!("The data dir{s} of etcd member{s} {who} {is} gone"),
        FindingId::EtcdMemberWrongDataDir => {
            format!("etcd member{s} {who} {does} not use the inventory's data dir")
        }
        FindingId::EtcdMemberDiverged => {
            format!("etcd member{s} {who} {has} different data than the others")
        }
        FindingId::EtcdMemberForeign => format!("etcd member{s} {who} {does} not belong to the cluster"),
        FindingId::EtcdMemberUnlisted => format!("etcd member{s} {who} {is} not in the inventory"),
        FindingId::EtcdMemberLearner => format!("etcd member{s} {who} {has} the data but no vote"),
        FindingId::EtcdNospace => "etcd refuses writes: its db has reached its quota".into(),
        FindingId::EtcdCorruptAlarm => {
            format!("etcd found that {who} {has} different data than the others")
        }
        FindingId::ApiserverDown => format!("The API server{s} on {who} {does} not answer"),
        FindingId::ApiserverNotReady => format!("The API server{s} on {who} {is} not ready"),
        FindingId::ApiserverCertExpired => format!("The API server certificate{s} on {who} {has} expired"),
        FindingId::ApiserverCertExpiring => {
            format!("The API server certificate{s} on {who} expire{} soon", verb(many))
        }
        FindingId::ControllerManagerNoLeader => "No controller-manager leads".into(),
        FindingId::ControllerManagerDown => format!("The controller-manager{s} on {who} {is} stopped"),
        FindingId::SchedulerNoLeader => "No scheduler leads".into(),
        FindingId::SchedulerDown => format!("The scheduler{s} on {who} {is} stopped"),
        FindingId::NodeNotReady => format!("Node{s} {who} {is} not Ready"),
        FindingId::NodeKubeletDown => format!("The kubelet{s} on {who} {is} stopped"),
        FindingId::NodeKubeletHung => {
            format!("The kubelet{s} on {who} run{} but {does} not answer", verb(many))
        }
        FindingId::NodeKubeletCertExpired => {
            format!("The client certificate{s} of the kubelet{s} on {who} {has} expired")
        }
        FindingId::NodeApiUnreachable => format!("The kubelet{s} on {who} cannot reach the API"),
        FindingId::NodeMissing => format!("The Node object{s} of {who} {is} missing"),
        FindingId::CheckFailing => format!("Check{s} {who} fail{}", verb(many)),
    }
}

fn its(many: bool) -> &'static str {
    if many { "their" } else { "its" }
}

fn verb(many: bool) -> &'static str {
    if many { "" } else { "s" }
}

/// The impact of a finding: what fails, or cannot be relied on, until it is fixed.
pub(super) fn blocks(view: &FactsView<'_>, id: FindingId, hosts: &[String]) -> Vec<String> {
    let fixed: &[&str] = match id {
        FindingId::CloudUnreachable => &["repair of NICs and VMs"],
        FindingId::EtcdQuorumLost => &["all etcd writes, and so all Kubernetes changes"],
        FindingId::EtcdStateLost => &["trust in etcd's data: some or all of the cluster's state is missing"],
        FindingId::EtcdStateConflict => &["trust in etcd's data: the cluster's state may be elsewhere"],
        FindingId::EtcdNospace => &["all etcd writes except deletes"],
        FindingId::EtcdCorruptAlarm => &["trust in etcd's data"],
        FindingId::ControllerManagerNoLeader | FindingId::ControllerManagerDown => {
            &["pod replacement, endpoint updates, node health checks"]
        }
        FindingId::SchedulerNoLeader | FindingId::SchedulerDown => &["scheduling of new pods"],
        FindingId::ServiceFenced => &["everything that depends on these services"],
        FindingId::HostNoMachineId => &["detection of another machine at the address"],
        FindingId::OperationPending => &["further recoveries of this cluster"],
        FindingId::HostClockSkew => &["validity of certificates, tokens and leases"],
        FindingId::NicMissing
        | FindingId::NicChanged
        | FindingId::VmStopped
        | FindingId::VmMissing
        | FindingId::HostUnreachable
        | FindingId::HostKeyChanged
        | FindingId::HostWrongMachine
        | FindingId::HostDenied
        | FindingId::HostReset
        | FindingId::HostDiskFull
        | FindingId::HostDiskReadOnly => return carried(view, hosts),
        FindingId::ApiserverDown | FindingId::ApiserverNotReady | FindingId::ApiserverCertExpired => {
            &["kubectl and all other clients of these API servers"]
        }
        FindingId::NodeNotReady
        | FindingId::NodeKubeletDown
        | FindingId::NodeKubeletHung
        | FindingId::NodeKubeletCertExpired
        | FindingId::NodeApiUnreachable
        | FindingId::NodeMissing => &["starting, stopping and monitoring of pods there"],
        _ => &[],
    };
    fixed.iter().map(|text| (*text).to_owned()).collect()
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
