//! Collects and numbers steps.

use crate::plan::{Action, Guard, Needs, Step};

/// Every machine is asked once more.
const PREFLIGHT_SECONDS: u64 = 120;

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
            guards: Vec::new(),
        });
        number
    }

    /// Sets the changes of the last step.
    pub fn changing(&mut self, changes: impl Into<String>) -> &mut Self {
        if let Some(step) = self.0.last_mut() {
            step.changes.push(changes.into());
        }
        self
    }

    /// Sets the guards of the last step.
    pub fn guarded(&mut self, guards: impl IntoIterator<Item = Guard>) -> &mut Self {
        if let Some(step) = self.0.last_mut() {
            step.guards.extend(guards);
        }
        self
    }

    /// Marks the last step as irreversible.
    pub fn irreversible(&mut self) {
        if let Some(step) = self.0.last_mut() {
            step.irreversible = true;
        }
    }

    /// Sets the dependencies of the last step, if not all steps before it.
    pub fn needing(&mut self, needs: Needs) -> &mut Self {
        if let Some(step) = self.0.last_mut() {
            step.needs = needs;
        }
        self
    }

    /// Says of the steps behind the first `count` that none needs another. Where one fails, the others are done all the same,
    /// and the next round decides by what it finds.
    pub fn independent_behind(&mut self, count: usize) {
        let default = self.0.iter_mut().skip(count).filter(|step| step.needs == Needs::default());
        default.for_each(|step| step.needs = Needs::Steps(Vec::new()));
    }

    /// Says that what step `number` brings about stands only until the newest step.
    pub fn ends(&mut self, number: u32) {
        let newest = self.0.last().map(|step| step.number);
        if let Some(step) = self.0.iter_mut().find(|step| step.number == number) {
            step.holds_until = newest;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a step must not act before something is proven.
    pub fn are_guarded(&self) -> bool {
        self.0.iter().any(|step| !step.guards.is_empty())
    }

    /// The steps. What they must not act without is checked first, before anything is touched.
    pub fn into_vec(mut self, established: Vec<String>) -> Vec<Step> {
        if self.are_guarded() {
            let shift = |number: &mut u32| *number = number.saturating_add(1);
            for step in &mut self.0 {
                shift(&mut step.number);
                step.holds_until.as_mut().map(shift);
                if let Needs::Steps(steps) | Needs::OneOf(steps) = &mut step.needs {
                    steps.iter_mut().for_each(shift);
                }
            }
            let step = Step {
                number: 1,
                title: Action::Preflight.title(),
                action: Action::Preflight,
                changes: established,
                irreversible: false,
                timeout_seconds: PREFLIGHT_SECONDS,
                needs: Needs::default(),
                holds_until: None,
                guards: Vec::new(),
            };
            self.0.insert(0, step);
        }
        self.0
    }
}
