//! The data of `status`: a row for each machine, member, control-plane machine, node and check.

use std::path::PathBuf;

use lifeboat_recovery::facts::{Facts, HostFacts, Lease, Login, MemberFacts, Node, ServiceState};
use lifeboat_recovery::finding::{Diagnosis, Finding, FindingId, Severity};
use lifeboat_recovery::inventory::{ControlPlaneSpec, HostSpec, Service};
use lifeboat_recovery::single_points_of_failure::single_points_of_failure;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    pub cluster: String,
    pub observed_at: String,
    pub healthy: bool,
    /// Number of causes in the diagnosis.
    pub causes: usize,
    /// The first cause, which is the worst.
    pub worst: Option<Worst>,
    pub hosts: Vec<HostRow>,
    pub members: Vec<MemberRow>,
    pub control_plane: Vec<ControlPlaneRow>,
    pub nodes: Vec<NodeRow>,
    pub checks: Vec<CheckRow>,
    pub single_points_of_failure: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Worst {
    pub id: FindingId,
    pub severity: Severity,
    pub summary: String,
}

/// State of a row's subject: `ok`, the id of its worst finding, or `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(super) enum State {
    Found(FindingId),
    #[serde(serialize_with = "ok")]
    Ok,
    #[serde(serialize_with = "unknown")]
    Unknown,
}

fn ok<S: serde::Serializer>(to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str("ok")
}

fn unknown<S: serde::Serializer>(to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str("unknown")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostRow {
    pub name: String,
    pub address: String,
    pub state: State,
    pub roles: Vec<String>,
    /// Seconds that its clock is ahead of ours.
    pub clock_offset: Option<f64>,
    pub disks: Vec<DiskRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiskRow {
    pub mount: PathBuf,
    pub size: u64,
    pub available: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberRow {
    pub name: String,
    pub host: String,
    pub state: State,
    pub leader: bool,
    pub version: Option<String>,
    pub revision: Option<i64>,
    pub db_size: Option<u64>,
    pub db_size_in_use: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ControlPlaneRow {
    pub name: String,
    pub api: State,
    /// Days until its certificate expires.
    pub certificate_days: Option<i64>,
    pub controller_manager: Controller,
    pub scheduler: Controller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Controller {
    Leads,
    Runs,
    Stopped,
    Unknown,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeRow {
    pub name: String,
    pub state: State,
    /// The Ready condition: `True`, `False` or `Unknown`.
    pub ready: Option<String>,
    pub cordoned: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckRow {
    pub name: String,
    pub state: State,
    pub detail: String,
}

impl StatusView {
    pub(super) fn new(facts: &Facts, diagnosis: &Diagnosis) -> Self {
        let found = Findings(diagnosis.all());
        let inventory = &facts.inventory;
        let worst = diagnosis.causes.first().map(|cause| Worst {
            id: cause.id,
            severity: cause.severity,
            summary: cause.summary.clone(),
        });
        let hosts = inventory
            .hosts
            .iter()
            .filter_map(|(name, spec)| Some(host(&found, name, spec, facts.hosts.get(name)?)));
        let members = inventory
            .etcd
            .members
            .iter()
            .filter_map(|(name, spec)| Some(member(&found, name, &spec.host, facts.members.get(name)?)));
        let control_plane = inventory.kubernetes.control_plane.iter();
        let checks = facts.checks.iter().map(|(name, fact)| CheckRow {
            name: name.clone(),
            state: found.state(name, "check.", fact.get().is_some()),
            detail: fact
                .get()
                .map_or_else(|| fact.why_unknown().unwrap_or_default().into(), |a| a.detail.clone()),
        });
        Self {
            cluster: diagnosis.cluster.clone(),
            observed_at: diagnosis.observed_at.to_string(),
            healthy: diagnosis.is_healthy(),
            causes: diagnosis.causes.len(),
            worst,
            hosts: hosts.collect(),
            members: members.collect(),
            control_plane: control_plane
                .map(|(name, spec)| control_plane_row(&found, facts, name, spec))
                .collect(),
            nodes: nodes(&found, facts),
            checks: checks.collect(),
            single_points_of_failure: single_points_of_failure(facts),
        }
    }
}

/// All findings, to look them up by subject.
struct Findings<'a>(Vec<&'a Finding>);

impl Findings<'_> {
    /// The first finding about a subject with this id prefix. Causes come before their consequences.
    fn state(&self, subject: &str, prefix: &str, known: bool) -> State {
        self.any(subject, &[prefix], known)
    }

    fn any(&self, subject: &str, prefixes: &[&str], known: bool) -> State {
        let about = |finding: &&&Finding| {
            finding.subjects.iter().any(|name| name == subject)
                && prefixes.iter().any(|prefix| finding.id.as_str().starts_with(prefix))
        };
        match self.0.iter().find(about) {
            Some(finding) => State::Found(finding.id),
            None if known => State::Ok,
            None => State::Unknown,
        }
    }
}

fn host(found: &Findings<'_>, name: &str, spec: &HostSpec, facts: &HostFacts) -> HostRow {
    let known = facts.login.get() == Some(&Login::Ok);
    let disk = |(mount, disk): (&PathBuf, &lifeboat_recovery::facts::Disk)| DiskRow {
        mount: mount.clone(),
        size: disk.size,
        available: disk.available,
    };
    HostRow {
        name: name.into(),
        address: spec.address.clone(),
        state: found.any(name, &["vm.", "nic.", "host.", "service."], known),
        roles: spec.roles.clone(),
        clock_offset: facts.clock_offset.get().copied(),
        disks: facts.disks.get().into_iter().flatten().map(disk).collect(),
    }
}

fn member(found: &Findings<'_>, name: &str, host: &str, facts: &MemberFacts) -> MemberRow {
    let status = facts.status.get();
    let own = found.state(name, "etcd.member.", status.is_some());
    MemberRow {
        name: name.into(),
        host: host.into(),
        // A finding about the member itself says more than one about the whole etcd.
        state: if matches!(own, State::Found(_)) {
            own
        } else {
            found.state(name, "etcd.", status.is_some())
        },
        leader: status.is_some_and(|status| status.leader.as_ref() == Some(&status.member_id)),
        version: status.map(|status| status.version.clone()),
        revision: status.map(|status| status.revision),
        db_size: status.map(|status| status.db_size),
        db_size_in_use: status.map(|status| status.db_size_in_use),
    }
}

fn control_plane_row(
    found: &Findings<'_>,
    facts: &Facts,
    name: &str,
    spec: &ControlPlaneSpec,
) -> ControlPlaneRow {
    let seen = facts.control_plane.get(name);
    let ready = seen.and_then(|machine| machine.readyz.get()).is_some();
    let certificate = seen.and_then(|machine| machine.certificate.get());
    let kubernetes = &facts.kubernetes;
    ControlPlaneRow {
        name: name.into(),
        api: found.state(name, "apiserver.", ready),
        certificate_days: certificate.map(|c| c.not_after.duration_since(facts.observed_at).as_hours() / 24),
        controller_manager: controller(
            facts,
            name,
            &spec.controller_manager,
            kubernetes.controller_manager.get(),
        ),
        scheduler: controller(facts, name, &spec.scheduler, kubernetes.scheduler.get()),
    }
}

fn controller(facts: &Facts, host: &str, service: &Service, lease: Option<&Lease>) -> Controller {
    let services = facts.hosts.get(host).and_then(|host| host.services.get());
    let state = services.and_then(|services| services.get(&service.key()));
    // The holder is the machine's name, an underscore and a random id.
    let holds = |lease: &Lease| lease.holder.rsplit_once('_').is_some_and(|(name, _)| name == host);
    match state.map(ServiceState::is_running) {
        Some(false) => Controller::Stopped,
        _ if lease.is_some_and(holds) => Controller::Leads,
        Some(true) => Controller::Runs,
        None => Controller::Unknown,
    }
}

/// The nodes in the inventory, then those that only the API knows.
fn nodes(found: &Findings<'_>, facts: &Facts) -> Vec<NodeRow> {
    let known = facts.kubernetes.nodes.get().map(Vec::as_slice).unwrap_or_default();
    let object = |name: &str| known.iter().find(|node| node.name == name);
    let row = |host: Option<&str>, name: &str, node: Option<&Node>| {
        let of_node = found.state(name, "node.", node.is_some());
        NodeRow {
            name: name.into(),
            // The subject of findings about the kubelet is the machine.
            state: match (of_node, host) {
                (State::Found(id), _) => State::Found(id),
                (other, Some(host)) => match found.state(host, "node.", false) {
                    State::Found(id) => State::Found(id),
                    _ => other,
                },
                (other, None) => other,
            },
            ready: node.map(|node| node.ready.clone()),
            cordoned: node.map(|node| node.unschedulable),
        }
    };
    let inventory = &facts.inventory.kubernetes.nodes;
    let name = |(host, spec): (&String, &lifeboat_recovery::inventory::NodeSpec)| {
        spec.name.clone().unwrap_or_else(|| host.clone())
    };
    let mut rows: Vec<NodeRow> = inventory
        .iter()
        .map(|(host, spec)| row(Some(host), &name((host, spec)), object(&name((host, spec)))))
        .collect();
    let listed: Vec<String> = inventory.iter().map(name).collect();
    rows.extend(
        known
            .iter()
            .filter(|node| !listed.contains(&node.name))
            .map(|node| row(None, &node.name, Some(node))),
    );
    rows
}
