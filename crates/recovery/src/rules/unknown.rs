//! Lists the unknown facts that no finding explains.

use std::collections::BTreeMap;

use crate::facts::{ControlPlaneFacts, Fact, HostFacts, MemberFacts};
use crate::finding::{FindingId, Severity, Unknown};

use super::facts_view::FactsView;
use super::symptom::Symptom;

/// Why a machine that is behind one of these says nothing.
const HIDES_HOST: &[FindingId] = &[
    FindingId::NicMissing,
    FindingId::NicChanged,
    FindingId::VmStopped,
    FindingId::VmMissing,
    FindingId::HostUnreachable,
    FindingId::HostKeyChanged,
    FindingId::HostWrongMachine,
    FindingId::HostDenied,
];

pub(super) fn list(view: &FactsView<'_>, found: &[Symptom]) -> Vec<Unknown> {
    let mut open = Open::default();
    hosts(view, found, &mut open);
    members(view, found, &mut open);
    control_plane(view, found, &mut open);
    kubernetes(view, found, &mut open);
    checks(view, found, &mut open);
    open.list()
}

/// Questions without an answer, those of one owner for one reason together.
#[derive(Default)]
struct Open(BTreeMap<(String, String), Vec<&'static str>>);

impl Open {
    fn add<T>(&mut self, owner: &str, what: &'static str, fact: &Fact<T>) {
        if let Some(reason) = fact.why_unknown() {
            self.0.entry((owner.to_owned(), reason.to_owned())).or_default().push(what);
        }
    }

    fn list(self) -> Vec<Unknown> {
        let unknown = |((owner, reason), what): ((String, String), Vec<&str>)| Unknown {
            what: if what == [""] { owner } else { format!("{owner}: {}", what.join(", ")) },
            reason,
        };
        self.0.into_iter().map(unknown).collect()
    }
}

fn is_on(found: &[Symptom], ids: &[FindingId], host: &str) -> bool {
    found.iter().any(|symptom| ids.contains(&symptom.id) && symptom.hosts.iter().any(|on| on == host))
}

fn is_hidden(found: &[Symptom], host: &str) -> bool {
    is_on(found, HIDES_HOST, host)
}

fn hosts(view: &FactsView<'_>, found: &[Symptom], open: &mut Open) {
    for (host, _, facts) in view.hosts().filter(|(host, _, _)| !is_hidden(found, host)) {
        let HostFacts { login, machine_id, boot_id, clock_offset, disks, services, kubelet, .. } = facts;
        open.add(host, "login", login);
        open.add(host, "machine id", machine_id);
        open.add(host, "boot id", boot_id);
        open.add(host, "clock", clock_offset);
        open.add(host, "disks", disks);
        open.add(host, "services", services);
        if let (Some(kubelet), false) = (kubelet, is_on(found, &[FindingId::NodeKubeletDown], host)) {
            open.add(host, "kubelet", kubelet);
        }
    }
}

fn members(view: &FactsView<'_>, found: &[Symptom], open: &mut Open) {
    let lost = found.iter().any(|symptom| symptom.id == FindingId::EtcdQuorumLost);
    for (name, spec) in &view.inventory().etcd.members {
        let Some(facts) = view.facts.members.get(name) else { continue };
        let is_named = found.iter().any(|symptom| symptom.subjects.contains(name) && is_etcd(symptom.id));
        if is_named || is_hidden(found, &spec.host) {
            continue;
        }
        let MemberFacts { status, member_list, linearizable, alarms, hash_kv, identity, .. } = facts;
        let owner = format!("etcd member {name}");
        open.add(&owner, "status", status);
        // Its data dir is read only while it is stopped, and then it is a finding.
        if status.get().is_none() {
            continue;
        }
        open.add(&owner, "member list", member_list);
        if let Some(identity) = identity {
            open.add(&owner, "namespace and nodes", identity);
        }
        if !lost {
            open.add(&owner, "linearizable read", linearizable);
            open.add(&owner, "alarms", alarms);
            open.add(&owner, "HashKV", hash_kv);
        }
    }
}

fn is_etcd(id: FindingId) -> bool {
    id.as_str().starts_with("etcd.member.")
}

fn control_plane(view: &FactsView<'_>, found: &[Symptom], open: &mut Open) {
    let explained = [FindingId::ApiserverDown, FindingId::ApiserverNotReady, FindingId::ApiserverCertExpired];
    for (host, facts) in &view.facts.control_plane {
        if is_on(found, &explained, host) || is_hidden(found, host) {
            continue;
        }
        let ControlPlaneFacts { livez, readyz, certificate } = facts;
        let owner = format!("API server on {host}");
        open.add(&owner, "livez", livez);
        open.add(&owner, "readyz", readyz);
        open.add(&owner, "certificate", certificate);
    }
}

fn kubernetes(view: &FactsView<'_>, found: &[Symptom], open: &mut Open) {
    let explained = [FindingId::ApiserverDown, FindingId::ApiserverNotReady, FindingId::EtcdQuorumLost];
    if !view.api_is_ready() && found.iter().any(|symptom| explained.contains(&symptom.id)) {
        return;
    }
    let facts = &view.facts.kubernetes;
    open.add("Kubernetes", "controller-manager lease", &facts.controller_manager);
    open.add("Kubernetes", "scheduler lease", &facts.scheduler);
    open.add("Kubernetes", "nodes", &facts.nodes);
    open.add("Kubernetes", "leases without node", &facts.leases_without_node);
}

fn checks(view: &FactsView<'_>, found: &[Symptom], open: &mut Open) {
    if found.iter().any(|symptom| symptom.severity >= Severity::Error) {
        return;
    }
    for (name, fact) in &view.facts.checks {
        open.add(&format!("check {name}"), "", fact);
    }
}
