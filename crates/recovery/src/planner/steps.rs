//! Collects steps and numbers them.

use crate::plan::{Action, HostService, Step};

/// The steps of a plan in the making.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Adds a step and gives its number.
    pub fn add(&mut self, title: impl Into<String>, timeout_seconds: u64, action: Action) -> u32 {
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.0.push(Step {
            number,
            title: title.into(),
            action,
            changes: Vec::new(),
            irreversible: false,
            timeout_seconds,
            holds_until: None,
        });
        number
    }

    /// Says what the newest step changes.
    pub fn changing(&mut self, changes: impl Into<String>) -> &mut Self {
        if let Some(step) = self.0.last_mut() {
            step.changes.push(changes.into());
        }
        self
    }

    /// Says that the newest step cannot be taken back.
    pub fn irreversible(&mut self) {
        if let Some(step) = self.0.last_mut() {
            step.irreversible = true;
        }
    }

    /// Says that what step `number` brings about stands only until the newest step.
    pub fn ends(&mut self, number: u32) {
        let newest = self.0.last().map(|step| step.number);
        if let Some(step) = self.0.iter_mut().find(|step| step.number == number) {
            step.holds_until = newest;
        }
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The steps.
    pub fn into_vec(self) -> Vec<Step> {
        self.0
    }
}

/// `etcd.service on m1, m2`, for titles.
pub(super) fn services(services: &[HostService]) -> String {
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    for HostService { host, service } in services {
        match parts.iter_mut().find(|(name, _)| *name == service.label()) {
            Some((_, hosts)) => hosts.push(host),
            None => parts.push((service.label().to_owned(), vec![host])),
        }
    }
    let parts = parts.iter().map(|(name, hosts)| format!("{name} on {}", hosts.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}
