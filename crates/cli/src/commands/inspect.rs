//! `lifeboat inspect`.

mod body;
mod log;

use anyhow::Result;
use lifeboat_etcd::inspect;

use crate::commands::Context;
use crate::commands::remote::AnySource;
use crate::exit::Status;
use crate::output;
use body::Body;
use log::LogBody;

/// Show what a source holds: revision, members, versions, leases, alarms, auth, keys by kind.
///
/// Exits with 3 when the digest behind a snapshot does not match.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat inspect backup.db
  lifeboat inspect /var/lib/etcd -o json

  Which member of which cluster an etcd believes to be that hangs in its start:
    lifeboat inspect /var/lib/etcd --raft")]
pub struct Args {
    #[command(flatten)]
    source: AnySource,

    /// Show only which member of which cluster a data dir belongs to, and how far its log goes. Works while an etcd
    /// runs there.
    #[arg(long, conflicts_with = "uncommitted")]
    raft: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(status) = args.source.elsewhere(context)? {
        return Ok(status);
    }
    if args.raft {
        let body = LogBody::new(args.source.path(), args.source.log_position()?);
        output::print(context.format, &body, |out| body.table(out))?;
        return Ok(Status::Ok);
    }
    let source = args.source.open()?;
    let inspection = inspect(source.as_ref(), &context.progress)?;
    context.progress.finish();
    let body = Body::from(&inspection);
    output::print(context.format, &body, |out| body.table(out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
