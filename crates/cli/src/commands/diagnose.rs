//! `lifeboat diagnose`.

mod render;

use anyhow::Result;
use lifeboat_recovery::probe::ProbeOptions;
use lifeboat_recovery::rules::diagnose;

use crate::commands::Context;
use crate::exit::Status;
use crate::observe::{FactsArgs, SaveFacts};
use crate::output;
use crate::styles::Styles;
use render::DiagnosisView;

/// Find out what is wrong with a cluster, and why.
///
/// Queries the cloud, the machines over SSH, every etcd member and every API server, all in parallel and from
/// outside. What does not answer is reported as unknown, never as healthy. Consequences are listed under their cause.
/// Changes nothing. Exits with 0 if everything could be queried and no problems were found, otherwise with 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat diagnose
  lifeboat diagnose --save-facts facts.json -v
  lifeboat diagnose --facts facts.json -o json
  lifeboat explain etcd.quorum-lost")]
pub struct Args {
    #[command(flatten)]
    from: FactsArgs,

    #[command(flatten)]
    save_facts: SaveFacts,

    /// Also show the consequences of each cause, and the source of each fact.
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    args.save_facts.ensure_new()?;
    let facts = args.from.facts(&ProbeOptions::whole(), &context.progress)?;
    args.save_facts.save(&facts)?;
    let diagnosis = diagnose(&facts);
    let view = DiagnosisView::new(&diagnosis);
    output::print(context.format, &view, |out| view.table(out, Styles::stdout(), args.verbose))?;
    Ok(if diagnosis.is_healthy() { Status::Ok } else { Status::Findings })
}
