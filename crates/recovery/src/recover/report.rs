//! The report of a recovery.

use jiff::Timestamp;
use serde::Serialize;

use crate::execute::Progress;
use crate::finding::{Diagnosis, Unknown};
use crate::operation::Operation;
use crate::plan::Plan;

/// What was done, how long it took, and what it cost.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Operation id.
    pub operation: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Seconds from one to the other: the time to recovery, when `recovered`.
    pub seconds: f64,
    /// Whether nothing is found any more, and nothing is unknown.
    pub recovered: bool,
    /// How many plans the operation has accepted, this run's and earlier ones'.
    pub rounds: usize,
    /// The steps of this run, in order.
    pub steps: Vec<StepReport>,
    /// The steps that failed and that others did not need: title and reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// What was lost by restoring an older state, if anything was restored.
    pub lost: Vec<String>,
    /// What is still found.
    pub left: Vec<String>,
    /// What could not be asked at the end, and is explained by nothing found.
    pub unknown: Vec<Unknown>,
    /// What only people can do.
    pub manual: Vec<String>,
    /// What operations that ended had left on machines, and was removed: the state that was sent there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swept: Vec<String>,
    /// That the state a person has named was not restored, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused_source: Option<String>,
}

/// A step that was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// The plan it belongs to.
    pub plan: String,
    /// Its number there.
    pub number: u32,
    /// Step title, as in the plan.
    pub title: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether there was nothing to do.
    pub already: bool,
}

impl Report {
    pub(super) fn begin(operation: &Operation) -> Self {
        let started = operation.started().unwrap_or_else(Timestamp::now);
        Self {
            operation: operation.id.clone(),
            started,
            ended: started,
            seconds: 0.0,
            recovered: false,
            rounds: 0,
            steps: Vec::new(),
            failed: Vec::new(),
            lost: Vec::new(),
            left: Vec::new(),
            unknown: Vec::new(),
            manual: Vec::new(),
            swept: Vec::new(),
            unused_source: None,
        }
    }

    pub(super) fn watch(&mut self, plan: &Plan, progress: &Progress<'_>) {
        if let Progress::Failed(step, why) = progress {
            self.failed.push(format!("{}: {why}", step.title));
        }
        let Progress::Done { step, took, already } = progress else { return };
        self.steps.push(StepReport {
            plan: plan.id.clone(),
            number: step.number,
            title: step.title.clone(),
            seconds: took.as_secs_f64(),
            already: *already,
        });
        for candidate in plan.candidates.iter().filter(|candidate| candidate.chosen) {
            let combination =
                candidate.combination.as_ref().map(|text| format!("{text}; ")).unwrap_or_default();
            let lost = format!("{}: {combination}{}", candidate.source, candidate.remark);
            if !self.lost.contains(&lost) {
                self.lost.push(lost);
            }
        }
    }

    pub(super) fn end(&mut self, now: Timestamp, rounds: usize, diagnosis: &Diagnosis) {
        self.rounds = rounds;
        self.ended = now;
        self.seconds = now.duration_since(self.started).as_secs_f64();
        self.recovered = diagnosis.is_healthy();
        self.left = diagnosis.causes.iter().map(|cause| format!("{}: {}", cause.id, cause.summary)).collect();
        self.unknown.clone_from(&diagnosis.unknown);
    }
}
