//! `lifeboat diagnose`.

mod body;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use lifeboat_recovery::operation::write_json;
use lifeboat_recovery::probe::ProbeOptions;
use lifeboat_recovery::rules::diagnose;

use crate::commands::Context;
use crate::exit::{Refused, Status};
use crate::observe::FactsArgs;
use crate::output;
use crate::paint::Paint;
use body::Body;

/// Find out what is wrong with a cluster, and why.
///
/// Asks the cloud, the machines over SSH, every etcd member and every API server, all at the same time and from
/// outside; whatever does not answer is unknown, never well. What follows from something else is shown under it.
/// Nothing is changed. Exits with 0 when all could be asked and nothing is found, with 3 otherwise.
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

    /// Write what was seen to a file, to look at later with --facts. It holds no secrets, but names and addresses.
    #[arg(long, value_name = "FILE")]
    save_facts: Option<PathBuf>,

    /// Show also what follows from each cause, and who was asked what.
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(path) = &args.save_facts {
        // Facts of an earlier look may be all that is left of it.
        if fs_err::symlink_metadata(path).is_ok() {
            return Err(Refused(format!("{} exists; name another file", path.display())).into());
        }
    }
    let facts = args.from.facts(&ProbeOptions::whole(), context)?;
    if let Some(path) = &args.save_facts {
        write_json(path, &facts).with_context(|| format!("write {}", path.display()))?;
    }
    let diagnosis = diagnose(&facts);
    let body = Body::new(&diagnosis);
    output::print(context.format, &body, |out| body.table(out, Paint::stdout(), args.verbose))?;
    Ok(if diagnosis.is_healthy() { Status::Ok } else { Status::Findings })
}
