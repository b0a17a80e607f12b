//! `lifeboat check`.

use std::io::{self, Write};

use anyhow::Result;
use lifeboat_etcd::report::FindingReport;
use lifeboat_etcd::{CheckReport, Error, Severity, check};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::remote::SourceArg;
use crate::exit::Status;
use crate::output;
use crate::source::warn_if_incomplete;

/// Check a source: its digest, every page, every revision and value.
///
/// Exits with 3 on any warning or error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat check backup.db
  lifeboat check /var/lib/etcd -o json")]
pub struct Args {
    #[command(flatten)]
    source: SourceArg,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    source: String,
    ok: bool,
    sha256: Option<String>,
    revisions: u64,
    findings: Vec<FindingReport>,
    unlisted_findings: u64,
}

/// Writes a finding and what to do about it.
pub fn write_finding(finding: &FindingReport, out: &mut dyn Write) -> io::Result<()> {
    let FindingReport { id, severity, message, remedy } = finding;
    writeln!(out, "{severity}: {message} [{id}]")?;
    writeln!(out, "    {remedy}")
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(status) = args.source.run_remotely(context)? {
        return Ok(status);
    }
    let report = match args.source.open_quietly() {
        Ok(source) => {
            warn_if_incomplete(args.source.path())?;
            check(source.as_ref(), &context.progress)?
        }
        // A source too damaged to open is reported as a finding.
        Err(error) => match error.downcast::<Error>()? {
            Error::Damaged(kind) => CheckReport::of_damage(kind),
            error => return Err(error.into()),
        },
    };
    context.progress.finish();
    let ok = report.worst().is_none_or(|worst| worst == Severity::Note);
    let view = CheckView {
        source: args.source.name(),
        ok,
        sha256: report.sha256.clone(),
        revisions: report.revisions,
        findings: report.findings.iter().map(|finding| FindingReport::from(&finding.kind)).collect(),
        unlisted_findings: report.unlisted,
    };
    output::print(context.format, &view, |out| {
        for finding in &view.findings {
            write_finding(finding, out)?;
        }
        if view.unlisted_findings > 0 {
            writeln!(out, "and {} more findings", view.unlisted_findings)?;
        }
        writeln!(out, "{}: {}", view.source, verdict(&view, report.worst()))
    })?;
    Ok(if ok { Status::Ok } else { Status::Findings })
}

fn verdict(view: &CheckView, worst: Option<Severity>) -> String {
    let revisions = view.revisions;
    let digest = if view.sha256.is_some() { ", sha256 matches" } else { "" };
    match (worst, revisions) {
        (None | Some(Severity::Note), _) => format!("ok: {revisions} valid revisions{digest}"),
        (Some(Severity::Warning), _) => {
            format!("usable, with warnings: {revisions} valid revisions{digest}")
        }
        (Some(Severity::Error), 0)
            if view.findings.iter().any(|finding| finding.id == "bbolt.meta.none-valid") =>
        {
            "DAMAGED, or not an etcd snapshot, db or data dir; no revision can be read".into()
        }
        (Some(Severity::Error), 0) => "DAMAGED, see above; no revision can be read".into(),
        (Some(Severity::Error), _) => format!("DAMAGED, see above; {revisions} revisions can still be read"),
    }
}
