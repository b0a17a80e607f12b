//! The inventory's own checks.

use crate::finding::FindingId;

use super::facts_view::{FactsView, seen_in};
use super::symptom::Symptom;

pub(super) fn evaluate(view: &FactsView<'_>) -> Vec<Symptom> {
    let mut found = Vec::new();
    for check in &view.inventory().checks {
        let Some(fact) = view.facts.checks.get(&check.name) else { continue };
        let Some(answer) = fact.get().filter(|answer| !answer.ok) else { continue };
        found.push(
            Symptom::new(FindingId::CheckFailing)
                .about([&check.name])
                .shown_by([seen_in(fact, format!("{}: {}", check.url, answer.detail))])
                .manual(format!(
                    "no finding explains why {} fails: trace its URL {} hop by hop",
                    check.name, check.url
                )),
        );
    }
    found
}
