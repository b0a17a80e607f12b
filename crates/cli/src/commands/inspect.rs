//! `lifeboat inspect`.

mod body;

use anyhow::Result;
use lifeboat_etcd::inspect;

use crate::commands::Context;
use crate::commands::remote::AnySource;
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
  lifeboat inspect /var/lib/etcd -o json")]
pub struct Args {
    #[command(flatten)]
    source: AnySource,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(status) = args.source.elsewhere(context)? {
        return Ok(status);
    }
    let source = args.source.open()?;
    let inspection = inspect(source.as_ref(), &context.progress)?;
    context.progress.finish();
    let body = Body::from(&inspection);
    output::print(context.format, &body, |out| body.table(out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
