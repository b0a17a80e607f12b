//! Collects steps and numbers them.

use crate::plan::{Action, Needs, Step};

/// The steps of a plan in the making.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Adds a step and gives its number.
    pub fn add(&mut self, timeout_seconds: u64, action: Action) -> u32 {
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.0.push(Step {
            number,
            title: action.title(),
            action,
            changes: Vec::new(),
            irreversible: false,
            timeout_seconds,
            needs: Needs::default(),
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

    /// Says what the newest step needs, if not everything before it.
    pub fn needing(&mut self, needs: Needs) -> &mut Self {
        if let Some(step) = self.0.last_mut() {
            step.needs = needs;
        }
        self
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
