//! `lifeboat explain`.

use std::ffi::OsStr;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ContextKind;
use clap::{Arg, Command};
use lifeboat_recovery::finding::FindingId;
use serde::Serialize;

use crate::commands::Context;
use crate::exit::Status;
use crate::output;

/// Say what a finding means, what it stops, what Lifeboat does about it and what to do by hand.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat explain
  lifeboat explain etcd
  lifeboat explain etcd.quorum-lost")]
pub struct Args {
    /// The finding's id, as `lifeboat diagnose` prints it, or a part of it; without one, all ids are listed.
    #[arg(hide_possible_values = true, value_parser = PartOfId)]
    id: Option<String>,
}

/// A part of at least one id. Shells complete ids, and a typing error names the nearest one.
#[derive(Clone)]
struct PartOfId;

impl TypedValueParser for PartOfId {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        match value.to_str() {
            Some(text) if FindingId::ALL.iter().any(|id| id.as_str().contains(text)) => Ok(text.to_owned()),
            _ => ids().parse_ref(command, arg, value).map_err(|mut error| {
                // The list of all ids would hide the nearest one.
                error.remove(ContextKind::ValidValue);
                error
            }),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = ids().possible_values()?.collect::<Vec<_>>();
        Some(Box::new(values.into_iter()))
    }
}

fn ids() -> PossibleValuesParser {
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
    let part = args.id.as_deref().unwrap_or_default();
    match FindingId::parse(part) {
        None => list(part, context)?,
        Some(id) => {
            let body = Page { id, title: id.title(), page: id.page() };
            output::print(context.format, &body, |out| out.write_all(body.page.as_bytes()))?;
        }
    }
    Ok(Status::Ok)
}

/// The findings whose ids have `part` in them.
fn list(part: &str, context: &Context) -> Result<()> {
    let ids = FindingId::ALL.iter().filter(|id| id.as_str().contains(part));
    let body = List { findings: ids.map(|id| Line { id: *id, title: id.title() }).collect() };
    let width = body.findings.iter().map(|line| line.id.as_str().len()).max().unwrap_or(0);
    output::print(context.format, &body, |out| {
        body.findings.iter().try_for_each(|line| writeln!(out, "{:width$}  {}", line.id.as_str(), line.title))
    })
}
