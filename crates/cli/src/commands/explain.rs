//! `lifeboat explain`.

use std::ffi::OsStr;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use lifeboat_recovery::finding::FindingId;
use serde::Serialize;

use crate::commands::Context;
use crate::exit::Status;
use crate::output;

/// Explain a finding: what it means, its impact, what Lifeboat does about it, and what to do by hand.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat explain
  lifeboat explain etcd
  lifeboat explain etcd.quorum-lost")]
pub struct Args {
    /// Id of the finding, as printed by `lifeboat diagnose` and `lifeboat check`, or a part of one. Without it, all
    /// findings are listed.
    #[arg(hide_possible_values = true, value_parser = PartOfId)]
    id: Option<String>,
}

/// Parses a part of at least one id. Shells complete ids, and an unknown id is answered with the nearest one.
#[derive(Clone)]
struct PartOfId;

impl TypedValueParser for PartOfId {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        match value.to_str().map(str::to_lowercase) {
            Some(text) if pages().any(|page| page.id.contains(&text)) => Ok(text),
            _ => ids().parse_ref(command, arg, value).map_err(|mut error| {
                // The list of all ids would hide the suggestion, and one that begins differently does not help.
                error.remove(ContextKind::ValidValue);
                let start = value.to_str().and_then(|text| text.get(..3)).unwrap_or_default().to_lowercase();
                let near = error.get(ContextKind::SuggestedValue).map(ToString::to_string);
                if !near.is_some_and(|near| near.starts_with(&start)) {
                    error.remove(ContextKind::SuggestedValue);
                    let tip =
                        "lifeboat explain lists all findings; a part of an id is enough, such as quorum";
                    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
                }
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
    PossibleValuesParser::new(pages().map(|page| page.id))
}

/// Documentation of the findings in sources, with a section for each id.
const SOURCES: &str = include_str!("../../../../docs/source-findings.md");

/// The pages of all findings, those in clusters first, then those in sources.
fn pages() -> impl Iterator<Item = Page> {
    let of_cluster =
        |id: &FindingId| Page { id: id.as_str(), title: id.title().into(), page: id.page().into() };
    let of_source = |section: &'static str| {
        let (id, text) = section.split_once('\n').unwrap_or((section, ""));
        let text = text.trim();
        let title = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let end = title.find(". ").map_or(title.len(), |end| end + 1);
        Page { id, title: title[..end].to_owned(), page: format!("# {id}\n\n{text}\n") }
    };
    FindingId::ALL.iter().map(of_cluster).chain(SOURCES.split("\n## ").skip(1).map(of_source))
}

#[derive(Serialize)]
struct List {
    findings: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    id: &'static str,
    title: String,
}

#[derive(Serialize)]
struct Page {
    id: &'static str,
    title: String,
    /// Markdown.
    page: String,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    let part = args.id.as_deref().unwrap_or_default();
    match pages().find(|page| page.id == part) {
        None => list(part, context)?,
        Some(page) => output::print(context.format, &page, |out| out.write_all(page.page.as_bytes()))?,
    }
    Ok(Status::Ok)
}

/// Lists the findings whose ids contain `part`.
fn list(part: &str, context: &Context) -> Result<()> {
    let listed = pages().filter(|page| page.id.contains(part));
    let view = List { findings: listed.map(|page| Line { id: page.id, title: page.title }).collect() };
    let width = view.findings.iter().map(|line| line.id.len()).max().unwrap_or(0);
    output::print(context.format, &view, |out| {
        view.findings.iter().try_for_each(|line| writeln!(out, "{:width$}  {}", line.id, line.title))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every id that `check` prints can be explained.
    #[test]
    fn every_finding_of_a_source_has_a_section() {
        let code = include_str!("../../../etcd/src/finding/catalog.rs");
        let ids = code.split_once("fn id(").and_then(|(_, rest)| rest.split_once("fn severity(")).unwrap().0;
        for id in ids.split('"').skip(1).step_by(2) {
            let page = pages().find(|page| page.id == id);
            let page = page.unwrap_or_else(|| panic!("docs/source-findings.md has no section {id}"));
            assert!(page.title.ends_with('.') && page.title.len() < 200, "{id}: {:?}", page.title);
        }
    }
}
