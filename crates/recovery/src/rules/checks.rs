//! The inventory's own checks.

use crate::finding::{FindingId, Severity};

use super::look::{Look, seen_in};
use super::sighting::Sighting;

pub(super) fn look(look: &Look<'_>) -> Vec<Sighting> {
    let mut found = Vec::new();
    for check in &look.inventory().checks {
        let Some(fact) = look.facts.checks.get(&check.name) else { continue };
        let Some(answer) = fact.get().filter(|answer| !answer.ok) else { continue };
        found.push(
            Sighting::new(FindingId::CheckFailing, Severity::Error)
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
