//! Nodes: their state in the API, and their kubelets over SSH.

use jiff::SignedDuration;

use crate::facts::{Fact, KubeletApi, Node, Reach, ServiceState};
use crate::finding::{FindingId, Remedy, Severity};
use crate::inventory::{NodeSpec, Service};

use super::facts_view::{FactsView, seen_in};
use super::host::clocks_agree;
use super::symptom::{Symptom, day};

/// A kubelet renews its lease every 10 s, for 40 s (`pkg/kubelet/apis/config/v1beta1/defaults.go`); 10 s are let pass.
const LEASE: SignedDuration = SignedDuration::from_secs(50);

pub(super) fn evaluate(view: &FactsView<'_>) -> Vec<Symptom> {
    let mut found = Vec::new();
    for (host, spec) in &view.inventory().kubernetes.nodes {
        found.extend(kubelet(view, host, spec));
        found.extend(missing(view, host, spec));
    }
    found.extend(without_api(view));
    found.extend(not_ready(view));
    found.extend(left_over(view));
    found
}

/// Name of the Node object of a machine.
fn node_name<'a>(host: &'a str, spec: &'a NodeSpec) -> &'a str {
    spec.name.as_deref().unwrap_or(host)
}

fn kubelet(view: &FactsView<'_>, host: &str, spec: &NodeSpec) -> Option<Symptom> {
    let service = Service::Unit(spec.kubelet.clone());
    let state = view.service(host, &service)?;
    let symptom = |id: FindingId| {
        Symptom::new(id)
            .on(host)
            .with_service(host, &service)
            .shown_by(view.service_evidence(host, &service))
            .remedy(Remedy::RecoverNode { host: host.into() })
    };
    if !ServiceState::is_running(state) {
        return Some(symptom(FindingId::NodeKubeletDown));
    }
    let fact = view.host(host)?.kubelet.as_ref()?;
    let health = fact.get()?;
    (!health.ok).then(|| {
        symptom(FindingId::NodeKubeletHung)
            .shown_by([seen_in(fact, format!("{host} healthz: {}", health.detail))])
    })
}

fn not_ready(view: &FactsView<'_>) -> Vec<Symptom> {
    let fact = &view.facts.kubernetes.nodes;
    let Some(nodes) = fact.get() else { return Vec::new() };
    let bad: Vec<(&Node, String)> =
        nodes.iter().filter_map(|node| Some((node, complaint(view, node)?))).collect();
    let severity = if bad.len() == nodes.len() { Severity::Critical } else { Severity::Error };
    let symptom = |(node, complaint): (&Node, String)| {
        let seen = seen_in(fact, format!("node {}: {complaint}", node.name));
        let symptom = Symptom::new(FindingId::NodeNotReady).severity(severity).shown_by([seen]);
        match host_of(view, &node.name) {
            Some(host) => unheard(view, host, symptom.of(&node.name, host)),
            None => symptom.about([&node.name]).manual(format!(
                "node {} is not in the inventory: add its machine, or check its kubelet by hand",
                node.name
            )),
        }
    };
    bad.into_iter().map(symptom).collect()
}

/// Why the API does not hear of a node's kubelet, as its machine shows it. A restart of the kubelet fixes a dead
/// connection without affecting pods. A reboot stops every pod, so a kubelet that answers is no reason for one.
fn unheard(view: &FactsView<'_>, host: &str, symptom: Symptom) -> Symptom {
    let restart = Remedy::RecoverNode { host: host.to_owned() };
    let Some((fact, api)) = view
        .host(host)
        .and_then(|facts| facts.kubelet_api.as_ref())
        .and_then(|fact| Some((fact, fact.get()?)))
    else {
        let symptom = symptom.remedy(restart);
        return match answers(view, host) {
            true => symptom.manual(format!(
                "if {{who}} is still not Ready after that: `journalctl -u kubelet -n 50` on {host} says why it does \
                 not report to the API (certificate, network to its API server)"
            )),
            false => symptom,
        };
    };
    match cut_off(view, host, fact, api) {
        Some(_) => symptom,
        None => symptom
            .shown_by([seen_in(fact, format!("{host}: TCP connection to {} succeeds", api.server))])
            .remedy(restart)
            .manual(format!(
                "if {{who}} is still not Ready after that: `journalctl -u kubelet -n 50` on {host} says why it does \
                 not report to the API"
            )),
    }
}

/// Kubelets that cannot speak to the API, whatever is done to them. Only nodes of which the API does not hear are asked.
fn without_api(view: &FactsView<'_>) -> Vec<Symptom> {
    let nodes = view.inventory().kubernetes.nodes.keys();
    let seen = nodes.filter_map(|host| {
        let fact = view.host(host)?.kubelet_api.as_ref()?;
        cut_off(view, host, fact, fact.get()?)
    });
    seen.collect()
}

fn cut_off(view: &FactsView<'_>, host: &str, fact: &Fact<KubeletApi>, api: &KubeletApi) -> Option<Symptom> {
    let expired =
        api.certificate.as_ref().filter(|certificate| certificate.not_after < view.facts.observed_at);
    if let Some(certificate) = expired {
        let day = day(certificate.not_after);
        return Some(
            Symptom::new(FindingId::NodeKubeletCertExpired)
                .on(host)
                .summary(format!("The API refuses {host}'s kubelet: its client certificate expired on {day}"))
                .shown_by([seen_in(fact, format!("{host}: {} expired on {day}", certificate.subject))])
                .manual(
                    "give the kubelet of {who} a new client certificate (kubeadm: a bootstrap token, or `kubeadm init phase \
                     kubeconfig kubelet`; else as it was made) and restart the kubelet; a reboot does not help",
                ),
        );
    }
    let Reach::Failed(why) = &api.reach else { return None };
    Some(
        Symptom::new(FindingId::NodeApiUnreachable)
            .on(host)
            .alone()
            .summary(format!("{host}'s kubelet cannot reach the API at {}: {why}", api.server))
            .shown_by([seen_in(fact, format!("{host}: no TCP connection to {}: {why}", api.server))])
            .manual(format!(
                "on {host}, check why {} does not answer: the load balancer there or in front of the API servers, \
                 the route, a firewall; a reboot does not help",
                api.server
            )),
    )
}

/// Whether a node's kubelet says that it is well.
fn answers(view: &FactsView<'_>, host: &str) -> bool {
    let kubelet = view.host(host).and_then(|facts| facts.kubelet.as_ref()?.get());
    kubelet.is_some_and(|health| health.ok)
}

/// What is wrong with a node by its object and its lease. An object goes on saying Ready when nobody is there to judge
/// it, as while no controller-manager leads, or when it comes out of a snapshot: the lease tells.
pub(super) fn complaint(view: &FactsView<'_>, node: &Node) -> Option<String> {
    let silence = node.lease_renewed_at.map(|renewed| view.facts.observed_at.duration_since(renewed));
    let heard = match silence {
        Some(silence) => format!(", its kubelet was last heard {} s ago", silence.as_secs().max(0)),
        None => String::new(),
    };
    if node.ready != "True" {
        return Some(format!("Ready is {} ({}){heard}", node.ready, node.reason));
    }
    let is_stale = clocks_agree(view) && silence.is_some_and(|silence| silence > LEASE);
    is_stale.then(|| format!("counts as Ready{heard}"))
}

fn host_of<'a>(view: &FactsView<'a>, node: &str) -> Option<&'a str> {
    let nodes = &view.facts.inventory.kubernetes.nodes;
    nodes.iter().find(|(host, spec)| node_name(host, spec) == node).map(|(host, _)| host.as_str())
}

fn missing(view: &FactsView<'_>, host: &str, spec: &NodeSpec) -> Option<Symptom> {
    let fact = &view.facts.kubernetes.nodes;
    let name = node_name(host, spec);
    if fact.get()?.iter().any(|node| node.name == name) {
        return None;
    }
    let leases = &view.facts.kubernetes.leases_without_node;
    let leased = leases.get().is_some_and(|leases| leases.iter().any(|lease| lease == name));
    let lease = leased.then(|| seen_in(leases, format!("there is a lease {name}")));
    Some(
        Symptom::new(FindingId::NodeMissing)
            .of(name, host)
            .shown_by([seen_in(fact, format!("no Node object {name}"))])
            .shown_by(lease)
            .remedy(Remedy::RecoverNode { host: host.into() }),
    )
}

/// Leases of unknown nodes.
fn left_over(view: &FactsView<'_>) -> Vec<Symptom> {
    let fact = &view.facts.kubernetes.leases_without_node;
    let unexpected = fact.get().into_iter().flatten().filter(|name| host_of(view, name).is_none());
    unexpected
        .map(|name| {
            Symptom::new(FindingId::NodeMissing).severity(Severity::Warning)
                .about([name])
                .summary(format!("There is a kubelet lease {name}, but no Node object or machine has that name"))
                .shown_by([seen_in(fact, format!("lease {name} in kube-node-lease"))])
                .manual(format!("find the machine whose kubelet is called {name}, or `kubectl -n kube-node-lease delete lease {name}`"))
        })
        .collect()
}
