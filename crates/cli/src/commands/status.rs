//! `lifeboat status`.

mod body;
mod table;

use anyhow::Result;
use lifeboat_recovery::probe::ProbeOptions;
use lifeboat_recovery::rules::diagnose;

use crate::commands::Context;
use crate::exit::Status;
use crate::observe::FactsArgs;
use crate::output;
use crate::paint::Paint;
use body::Body;

/// Show the cluster on one screen: machines, etcd members, masters, nodes, and what rests on one thing alone.
///
/// Exits with 0 when all could be asked and nothing is wrong, with 3 otherwise: `lifeboat diagnose` says what and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat status
  lifeboat status --inventory prod.yaml -o json")]
pub struct Args {
    #[command(flatten)]
    from: FactsArgs,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    let facts = args.from.facts(&ProbeOptions::quick(), context)?;
    let diagnosis = diagnose(&facts);
    let body = Body::new(&facts, &diagnosis);
    output::print(context.format, &body, |out| table::write(out, &body, Paint::stdout()))?;
    Ok(if diagnosis.is_healthy() { Status::Ok } else { Status::Findings })
}
