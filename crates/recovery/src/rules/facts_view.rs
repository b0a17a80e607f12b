//! A view of the facts for rules: facts of a machine count only if its identity is certain.

use crate::facts::{Answer, ControlPlaneFacts, Fact, Facts, HostFacts, Login, ServiceState};
use crate::finding::Evidence;
use crate::inventory::{HostSpec, Inventory, Service};

/// The facts of one observation.
pub(crate) struct FactsView<'a> {
    pub facts: &'a Facts,
}

impl<'a> FactsView<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        Self { facts }
    }

    pub fn inventory(&self) -> &'a Inventory {
        &self.facts.inventory
    }

    /// The machines of the inventory with what was seen of them.
    pub fn hosts(&self) -> impl Iterator<Item = (&'a String, &'a HostSpec, &'a HostFacts)> {
        let seen = &self.facts.hosts;
        self.inventory().hosts.iter().filter_map(|(name, spec)| Some((name, spec, seen.get(name)?)))
    }

    pub fn login(&self, host: &str) -> Option<&'a Login> {
        self.facts.hosts.get(host)?.login.get()
    }

    /// The machine id that answered in place of the inventory's.
    pub fn wrong_machine(&self, host: &str) -> Option<&'a Fact<String>> {
        let expected = self.inventory().hosts.get(host)?.machine_id.as_ref()?;
        let found = &self.facts.hosts.get(host)?.machine_id;
        (found.get()? != expected).then_some(found)
    }

    /// Whether nothing indicates that it is another machine than the inventory's.
    pub fn is_trusted(&self, host: &str) -> bool {
        !matches!(self.login(host), Some(Login::HostKeyChanged(_))) && self.wrong_machine(host).is_none()
    }

    /// Facts of a machine that accepts logins and is the right one.
    pub fn host(&self, host: &str) -> Option<&'a HostFacts> {
        let facts = self.facts.hosts.get(host)?;
        (facts.login.get() == Some(&Login::Ok) && self.is_trusted(host)).then_some(facts)
    }

    /// Whether a machine is known to be inaccessible, or is another machine.
    pub fn is_behind(&self, host: &str) -> bool {
        self.login(host).is_some_and(|login| *login != Login::Ok) || !self.is_trusted(host)
    }

    /// State of a service on a trusted machine.
    pub fn service(&self, host: &str, service: &Service) -> Option<&'a ServiceState> {
        self.host(host)?.services.get()?.get(&service.key())
    }

    /// The state of a service, and what it logged last, as evidence.
    pub fn service_evidence(&self, host: &str, service: &Service) -> Vec<Evidence> {
        self.state_evidence(host, service).into_iter().chain(self.log_evidence(host, service)).collect()
    }

    fn log_evidence(&self, host: &str, service: &Service) -> Vec<Evidence> {
        let logs = self.host(host).and_then(|host| host.logs.as_ref());
        let Some((fact, logs)) = logs.and_then(|fact| Some((fact, fact.get()?))) else { return Vec::new() };
        let lines = logs.get(&service.key()).into_iter().flatten();
        let seen = |line: &String| seen_in(fact, format!("{} on {host} logged: {line}", service.label()));
        lines.map(seen).collect()
    }

    fn state_evidence(&self, host: &str, service: &Service) -> Option<Evidence> {
        let state = self.service(host, service)?;
        let services = &self.facts.hosts.get(host)?.services;
        let sub = if state.sub.is_empty() { String::new() } else { format!(" ({})", state.sub) };
        let restarts = match state.restarts {
            0 => String::new(),
            times => format!(", restarted {times} times by systemd"),
        };
        let disabled = match service {
            _ if state.enabled => "",
            Service::Unit(_) => ", not enabled",
            Service::StaticPod(_) => ", its manifest is not in place",
        };
        let seen = format!("{} on {host} is {}{sub}{restarts}{disabled}", service.label(), state.active);
        Some(seen_in(services, seen))
    }

    /// Whether an etcd member answers.
    pub fn member_answers(&self, member: &str) -> bool {
        self.facts.members.get(member).is_some_and(|member| member.status.get().is_some())
    }

    /// Whether a machine's API server says that it is ready.
    pub fn api_answers(&self, host: &str) -> bool {
        let ready = |facts: &ControlPlaneFacts| facts.readyz.get().is_some_and(|health| health.ok);
        self.facts.control_plane.get(host).is_some_and(ready)
    }

    /// Whether a machine's node is Ready and its kubelet has renewed its lease.
    pub fn node_is_heard(&self, host: &str) -> bool {
        let Some(spec) = self.inventory().kubernetes.nodes.get(host) else { return false };
        let name = spec.name.as_deref().unwrap_or(host);
        let nodes = self.facts.kubernetes.nodes.get();
        let node = nodes.and_then(|nodes| nodes.iter().find(|node| node.name == name));
        node.is_some_and(|node| super::nodes::complaint(self, node).is_none())
    }

    /// Whether something on a machine answers, whether or not one can log in to it.
    pub fn answers(&self, host: &str) -> bool {
        let members = self.inventory().etcd.members.iter();
        members.filter(|(_, spec)| spec.host == host).any(|(name, _)| self.member_answers(name))
            || self.api_answers(host)
            || self.node_is_heard(host)
    }

    /// Whether some API server says that it is ready, which it is only with an etcd that answers.
    pub fn api_is_ready(&self) -> bool {
        self.facts.control_plane.values().any(|facts| facts.readyz.get().is_some_and(|health| health.ok))
    }

    /// Whether no API server is ready, and one at least not for its certificate's sake alone.
    pub fn api_is_not_ready(&self) -> bool {
        let shows = |facts: &&ControlPlaneFacts| facts.readyz.get().is_some() && !self.has_expired(facts);
        !self.api_is_ready() && self.facts.control_plane.values().any(|facts| shows(&facts))
    }

    /// Whether an API server's certificate is past its last day.
    pub fn has_expired(&self, facts: &ControlPlaneFacts) -> bool {
        facts.certificate.get().is_some_and(|certificate| certificate.not_after < self.facts.observed_at)
    }

    /// The control plane machines that should answer: all but those behind another finding.
    pub fn control_plane_in_reach(&self) -> impl Iterator<Item = &'a String> {
        self.inventory().kubernetes.control_plane.keys().filter(|host| !self.is_behind(host))
    }
}

/// Something seen in a fact.
pub(super) fn seen_in<T>(fact: &Fact<T>, seen: impl Into<String>) -> Evidence {
    Evidence { seen: seen.into(), source: fact.source.clone() }
}

/// That a question got no answer.
pub(super) fn no_answer<T>(fact: &Fact<T>, what: &str) -> Option<Evidence> {
    match &fact.answer {
        Answer::Value(_) => None,
        Answer::Unknown(reason) => Some(seen_in(fact, format!("{what}: {reason}"))),
    }
}
