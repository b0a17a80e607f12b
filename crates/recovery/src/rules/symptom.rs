//! Symptoms: what one layer reports, before causes are known.

use jiff::Timestamp;

use crate::facts::ServiceState;
use crate::finding::{Evidence, FindingId, Remedy, Severity};
use crate::inventory::Service;

use super::facts_view::FactsView;

/// One problem in one place.
#[derive(Debug, Clone)]
pub(super) struct Symptom {
    pub id: FindingId,
    /// Names of machines, members or nodes.
    pub subjects: Vec<String>,
    /// Machines it affects; empty for the whole cluster.
    pub hosts: Vec<String>,
    /// The services it is about, with their machines.
    pub services: Vec<(String, Service)>,
    pub severity: Severity,
    /// A sentence that says more than the id alone would.
    pub summary: Option<String>,
    pub evidence: Vec<Evidence>,
    pub remedies: Vec<Remedy>,
    /// Whether it must not be merged with others of its kind.
    pub alone: bool,
}

impl Symptom {
    pub fn new(id: FindingId) -> Self {
        Self {
            id,
            subjects: Vec::new(),
            hosts: Vec::new(),
            services: Vec::new(),
            severity: id.kind().severity,
            summary: None,
            evidence: Vec::new(),
            remedies: Vec::new(),
            alone: false,
        }
    }

    /// On a machine, and named after it.
    pub fn on(mut self, host: &str) -> Self {
        self.subjects.push(host.into());
        self.hosts.push(host.into());
        self
    }

    /// On a machine, and named otherwise.
    pub fn of(mut self, subject: &str, host: &str) -> Self {
        self.subjects.push(subject.into());
        self.hosts.push(host.into());
        self
    }

    /// About something that is on no machine.
    pub fn about(mut self, subjects: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subjects.extend(subjects.into_iter().map(Into::into));
        self
    }

    /// Not to be merged with others of its kind, which have another cause.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    pub fn with_service(mut self, host: &str, service: &Service) -> Self {
        self.services.push((host.into(), service.clone()));
        self
    }

    /// Worse or less bad than its kind.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    pub fn shown_by(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    pub fn remedies(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }

    /// Adds a manual fix; `{who}` stands for the subjects.
    pub fn manual(self, text: impl Into<String>) -> Self {
        self.remedy(Remedy::Manual(text.into()))
    }

    /// How a person says which state etcd is rebuilt from.
    pub fn names_state(self, text: impl Into<String>) -> Self {
        self.remedy(Remedy::NameState(text.into()))
    }
}

/// The machines a remedy changes something on. The cloud's own side of a machine is not the machine.
pub(super) fn touches(view: &FactsView<'_>, remedy: &Remedy) -> impl Iterator<Item = String> + use<> {
    let inventory = view.inventory();
    let hosts: Vec<String> = match remedy {
        Remedy::StartService { host, .. }
        | Remedy::RestartService { host, .. }
        | Remedy::EnableService { host, .. }
        | Remedy::RecoverNode { host } => vec![host.clone()],
        Remedy::ReplaceMember { member } => {
            inventory.etcd.members.get(member).map(|spec| spec.host.clone()).into_iter().collect()
        }
        Remedy::RestoreCluster => {
            let members = inventory.etcd.members.values().map(|member| member.host.clone());
            members.chain(inventory.kubernetes.control_plane.keys().cloned()).collect()
        }
        Remedy::AttachNics { .. }
        | Remedy::StartVm { .. }
        | Remedy::ClearNospace { .. }
        | Remedy::DisarmCorrupt { .. }
        | Remedy::NameState(_)
        | Remedy::Manual(_) => Vec::new(),
    };
    hosts.into_iter()
}

/// So many restarts by systemd are no slow start any more.
const CRASH_LOOP: u32 = 3;

/// How a service is not running.
pub(super) fn stopped(state: &ServiceState) -> &'static str {
    match state.sub.as_str() {
        "masked" => "is masked",
        "not-found" => "has no unit",
        _ if does_not_load(state) => "has a unit that does not load",
        _ if state.active == "activating" => "does not stay up",
        _ => "is stopped",
    }
}

/// What starts a service that is stopped, if there is anything to start.
pub(super) fn start(host: &str, service: &Service, state: Option<&ServiceState>) -> Remedy {
    match (service, state) {
        (Service::Unit(unit), Some(state)) if state.sub == "not-found" => Remedy::Manual(format!(
            "there is no unit {unit} on {host}: install it again, or correct the unit name in the inventory"
        )),
        (Service::Unit(unit), Some(state)) if state.sub == "masked" => Remedy::Manual(format!(
            "{unit} on {host} is masked and cannot start: find out why, then `systemctl unmask {unit}`"
        )),
        (Service::Unit(unit), Some(state)) if does_not_load(state) => Remedy::Manual(format!(
            "systemd cannot load {unit} on {host}: `systemctl status {unit}` and `systemd-analyze verify {unit}` say which line \
             is wrong; correct it, then `systemctl daemon-reload`"
        )),
        (Service::StaticPod(pod), Some(state)) if !state.enabled && !state.fenced => Remedy::Manual(format!(
            "put the manifest {} on {host} back: without it the kubelet does not start {}",
            pod.manifest.display(),
            pod.process
        )),
        _ => Remedy::StartService { host: host.into(), service: service.clone() },
    }
}

/// Whether systemd has found a unit and cannot read it (`LoadState`).
fn does_not_load(state: &ServiceState) -> bool {
    matches!(state.sub.as_str(), "error" | "bad-setting")
}

/// Whether there is something that could be started: a unit that loads, a manifest that is in place.
pub(super) fn can_start(service: &Service, state: &ServiceState) -> bool {
    match service {
        Service::Unit(_) => !does_not_load(state) && !matches!(state.sub.as_str(), "not-found" | "masked"),
        Service::StaticPod(_) => state.enabled || state.fenced || state.is_running(),
    }
}

/// Whether systemd starts it over and over: one more start changes nothing.
pub(super) fn is_crash_loop(state: &ServiceState) -> bool {
    state.active == "activating" && state.sub == "auto-restart" && state.restarts >= CRASH_LOOP
}

/// Where to look when a service is started over and over: one more start alone will not help it.
pub(super) fn again_and_again(state: &ServiceState, service: &Service) -> Option<Remedy> {
    let log = match service {
        Service::Unit(unit) => format!("journalctl -u {unit} -n 50"),
        Service::StaticPod(pod) => format!("crictl ps -a --name {}", pod.process),
    };
    let label = service.label();
    (state.active == "activating" || state.restarts > 2)
        .then(|| Remedy::Manual(format!("if {label} stops again on {{who}}, its log says why: `{log}`")))
}

/// Date in UTC, such as `2026-11-29`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}
