//! `lifeboat explain`.

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lifeboat_recovery::finding::FindingId;
use serde::Serialize;

use crate::commands::Context;
use crate::exit::{Status, Usage};
use crate::output;

/// Say what a finding means, what it stops, what Lifeboat does about it and what to do by hand.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat explain
  lifeboat explain etcd.quorum-lost")]
pub struct Args {
    /// The finding's id, as `lifeboat diagnose` prints it; without one, all ids are listed.
    #[arg(hide_possible_values = true, value_parser = ids())]
    id: Option<String>,
}

/// Known ids only, so that shells complete them and a typing error names the nearest one.
fn ids() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(FindingId::ALL.iter().map(|id| id.as_str()))
}

#[derive(Serialize)]
struct List {
    findings: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    id: FindingId,
    title: &'static str,
}

#[derive(Serialize)]
struct Page {
    id: FindingId,
    title: &'static str,
    /// Markdown.
    page: &'static str,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    match &args.id {
        None => list(context)?,
        Some(id) => {
            let id = FindingId::parse(id).ok_or_else(|| Usage(format!("{id}: no such finding")))?;
            let body = Page { id, title: id.title(), page: id.page() };
            output::print(context.format, &body, |out| out.write_all(body.page.as_bytes()))?;
        }
    }
    Ok(Status::Ok)
}

fn list(context: &Context) -> Result<()> {
    let findings = FindingId::ALL.iter().map(|id| Line { id: *id, title: id.title() }).collect();
    let body = List { findings };
    let width = body.findings.iter().map(|line| line.id.as_str().len()).max().unwrap_or(0);
    output::print(context.format, &body, |out| {
        body.findings.iter().try_for_each(|line| writeln!(out, "{:width$}  {}", line.id.as_str(), line.title))
    })
}
