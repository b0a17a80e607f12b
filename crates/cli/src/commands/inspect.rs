//! `lifeboat inspect`.

mod body;

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_etcd::{inspect, open};

use crate::commands::Context;
use crate::exit::Status;
use crate::output;
use body::Body;

/// Show what a source holds: revision, members, versions, leases, alarms, auth, keys by kind.
///
/// Exits with 3 when the digest behind a snapshot does not match.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat inspect backup.db
  lifeboat inspect /var/lib/etcd/member/snap/db -o json")]
pub struct Args {
    /// Snapshot or db file.
    source: PathBuf,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    let source = open(&args.source)?;
    let inspection = inspect(source.as_ref(), &context.progress)?;
    context.progress.finish();
    let body = Body::from(&inspection);
    output::print(context.format, &body, |out| body.table(out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
