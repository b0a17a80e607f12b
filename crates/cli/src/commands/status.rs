//! `lifeboat status`.

mod render;
mod view;

use anyhow::Result;
use lifeboat_recovery::probe::ProbeOptions;
use lifeboat_recovery::rules::diagnose;

use crate::commands::Context;
use crate::exit::Status;
use crate::observe::FactsArgs;
use crate::output;
use crate::styles::Styles;
use view::StatusView;

/// Show the cluster on one screen: machines, etcd members, control-plane machines, nodes, and single points of failure.
///
/// Exits with 0 if everything could be queried and nothing is wrong, otherwise with 3; see `lifeboat diagnose` for
/// details.
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
    let facts = args.from.facts(&ProbeOptions::quick(), &context.progress)?;
    let diagnosis = diagnose(&facts);
    let view = StatusView::new(&facts, &diagnosis);
    output::print(context.format, &view, |out| render::write(out, &view, Styles::stdout()))?;
    Ok(if diagnosis.is_healthy() { Status::Ok } else { Status::Findings })
}
