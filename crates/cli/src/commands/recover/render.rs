//! The text output of `recover`: plans and reports.

use std::io::{self, Write};

use lifeboat_recovery::execute::Undo;
use lifeboat_recovery::facts::Uncommitted;
use lifeboat_recovery::finding::{Diagnosis, Unknown};
use lifeboat_recovery::operation::Operation;
use lifeboat_recovery::plan::{Plan, Step};
use lifeboat_recovery::recover::{Report, RollbackReport};

use crate::terminal::printable;

/// Writes the findings and the plan for them.
pub fn plan(out: &mut dyn Write, diagnosis: &Diagnosis, plan: &Plan) -> io::Result<()> {
    if diagnosis.is_healthy() {
        writeln!(out, "No problems found; nothing to do.")?;
        return unused_source(out, plan.unused_source.as_ref());
    }
    if diagnosis.causes.is_empty() {
        writeln!(out, "No problems found, but not everything could be determined; nothing to do yet.")?;
        unused_source(out, plan.unused_source.as_ref())?;
        return unknown(out, &diagnosis.unknown);
    }
    writeln!(out, "Findings:")?;
    for cause in &diagnosis.causes {
        writeln!(out, "  {}  {}: {}", cause.severity, cause.id, line(&cause.summary))?;
    }
    candidates(out, plan)?;
    if plan.is_empty() {
        writeln!(out, "\nNo automated fix is available.")?;
    } else {
        writeln!(out, "\nPlan {}:", plan.id)?;
    }
    plan.steps.iter().try_for_each(|it| step(out, it))?;
    unused_source(out, plan.unused_source.as_ref())?;
    manual(out, &plan.manual)
}

fn step(out: &mut dyn Write, step: &Step) -> io::Result<()> {
    let mark = if step.irreversible { "  (irreversible)" } else { "" };
    writeln!(out, "  {:>2}. {}{mark}", step.number, line(&step.title))?;
    step.changes.iter().try_for_each(|change| writeln!(out, "      - {}", line(change)))
}

/// Keeps a text in its line: a file name with a line break could add a step or a candidate to what is shown.
fn line(text: &str) -> String {
    printable(text.as_bytes())
}

/// Writes the remaining steps of an interrupted operation.
pub fn resuming(out: &mut dyn Write, operation: &Operation, plan: &Plan, left: &[&Step]) -> io::Result<()> {
    let (id, minutes) = (&operation.id, operation.idle_minutes());
    writeln!(out, "Operation {id} was interrupted; its last journal entry is {minutes} min old.")?;
    writeln!(out, "\nRemaining steps of plan {} for cluster {}:", plan.id, plan.cluster)?;
    left.iter().try_for_each(|it| step(out, it))
}

/// Writes the steps that a rollback would undo.
pub fn rolling_back(
    out: &mut dyn Write,
    operation: &Operation,
    plan: &Plan,
    undo: &Undo<'_>,
) -> io::Result<()> {
    writeln!(out, "Rolling back operation {}, plan {} for cluster {}:", operation.id, plan.id, plan.cluster)?;
    if undo.steps.is_empty() {
        writeln!(out, "  nothing to undo")?;
    }
    undo.steps.iter().try_for_each(|step| writeln!(out, "  undo {:>2}. {}", step.number, step.title))?;
    undo.kept.iter().try_for_each(|step| writeln!(out, "  keep {:>2}. {}", step.number, step.title))
}

/// Writes what a rollback did.
pub fn rollback(out: &mut dyn Write, report: &RollbackReport) -> io::Result<()> {
    writeln!(out, "Rolled back operation {}", report.operation)?;
    report.undone.iter().try_for_each(|title| writeln!(out, "  undone  {title}"))?;
    report.kept.iter().try_for_each(|title| writeln!(out, "  kept    {title}"))?;
    writeln!(
        out,
        "Data dirs that were restored, if any, are kept next to the old ones, as DATA_DIR.lifeboat-PLAN-undone."
    )
}

fn unused_source(out: &mut dyn Write, unused: Option<&String>) -> io::Result<()> {
    unused.map_or(Ok(()), |why| writeln!(out, "\nNote: {why}"))
}

fn candidates(out: &mut dyn Write, plan: &Plan) -> io::Result<()> {
    if plan.candidates.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nSources to restore from, freshest first:")?;
    for candidate in &plan.candidates {
        let mark = if candidate.chosen { "->" } else { "  " };
        let revision = candidate.revision.map_or("-".into(), |revision| format!("revision {revision}"));
        let newest = candidate.newest.map_or(String::new(), |at| format!(", file written {at:.0}"));
        let held = match (&candidate.combination, candidate.revision) {
            (Some(combination), None) => combination.clone(),
            (Some(combination), Some(_)) => format!("{combination}, {revision}"),
            (None, _) => format!("{revision}{newest}"),
        };
        let text = format!("{}: {held}; {}", candidate.source, candidate.remark);
        writeln!(out, "  {mark} {}", line(&text))?;
        if let Some(entries) = &candidate.uncommitted {
            uncommitted(out, entries)?;
        }
    }
    match plan.unread_snapshots {
        0 => {}
        1 => writeln!(out, "     1 older snapshot was not read")?,
        unread => writeln!(out, "     {unread} older snapshots were not read")?,
    }
    let unexamined = plan.unexamined_snapshots.as_ref();
    unexamined.map_or(Ok(()), |why| writeln!(out, "\nWarning: {}", line(why)))
}

/// Changes shown of entries that are not known to be committed; the JSON has more.
const MAX_SHOWN_CHANGES: usize = 10;

fn uncommitted(out: &mut dyn Write, entries: &Uncommitted) -> io::Result<()> {
    let Uncommitted { first, last, changes, further_changes, known } = entries;
    let span = if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
    writeln!(
        out,
        "     with {span} of its log, not known to be on a majority: writes that failed for their client may take effect"
    )?;
    if !known {
        return writeln!(out, "       the keys that they change are unknown");
    }
    if changes.is_empty() {
        return writeln!(out, "       no keys change");
    }
    for change in changes.iter().take(MAX_SHOWN_CHANGES) {
        let verb = if change.deleted { "delete" } else { "put" };
        writeln!(out, "       {verb} {}", printable(change.key.as_bytes()))?;
    }
    let unlisted = u64::try_from(changes.len().saturating_sub(MAX_SHOWN_CHANGES)).unwrap_or(u64::MAX);
    match further_changes.saturating_add(unlisted) {
        0 => Ok(()),
        more => writeln!(out, "       and {more} more"),
    }
}

fn manual(out: &mut dyn Write, manual: &[String]) -> io::Result<()> {
    if !manual.is_empty() {
        writeln!(out, "\nManual steps:")?;
    }
    manual.iter().try_for_each(|what| writeln!(out, "  - {what}"))
}

/// Writes what was done.
pub fn report(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    if report.recovered && report.rounds == 0 {
        writeln!(out, "No problems found; nothing to do.")?;
        return unused_source(out, report.unused_source.as_ref());
    }
    let how = match report {
        Report { recovered: true, .. } => "Recovered in",
        Report { left, .. } if !left.is_empty() => "Not recovered after",
        Report { rounds: 0, .. } => {
            "No problems found, but not everything could be determined; nothing done in"
        }
        _ => "No problems left, but not everything could be determined, after",
    };
    writeln!(out, "{how} {:.1} s (operation {})", report.seconds, report.operation)?;
    for step in &report.steps {
        let already = if step.already { "  (already done)" } else { "" };
        writeln!(out, "  {:>6.1} s  {}{already}", step.seconds, step.title)?;
    }
    if !report.failed.is_empty() {
        writeln!(out, "\nFailed:")?;
        report.failed.iter().try_for_each(|failed| writeln!(out, "  - {failed}"))?;
    }
    if !report.lost.is_empty() {
        writeln!(out, "\nRestored from:")?;
        report.lost.iter().try_for_each(|lost| writeln!(out, "  - {lost}"))?;
    }
    if !report.left.is_empty() {
        writeln!(out, "\nRemaining findings (see lifeboat diagnose):")?;
        report.left.iter().try_for_each(|left| writeln!(out, "  - {left}"))?;
    }
    unknown(out, &report.unknown)?;
    if !report.swept.is_empty() {
        writeln!(out, "\nRemoved leftovers of earlier operations:")?;
        report.swept.iter().try_for_each(|what| writeln!(out, "  - {what}"))?;
    }
    unused_source(out, report.unused_source.as_ref())?;
    manual(out, &report.manual)
}

fn unknown(out: &mut dyn Write, unknown: &[Unknown]) -> io::Result<()> {
    if !unknown.is_empty() {
        writeln!(out, "\nCould not determine:")?;
    }
    unknown.iter().try_for_each(|Unknown { what, reason }| writeln!(out, "  - {what}: {reason}"))
}
