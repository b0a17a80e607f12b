//! `lifeboat inspect`.

mod log;
mod render;

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_etcd::{FindingKind, inspect};

use crate::commands::Context;
use crate::commands::remote::SourceArg;
use crate::comparison::ComparisonView;
use crate::exit::Status;
use crate::output;
use crate::source::combination;
pub use log::LogPositionView;
use log::LogView;
use render::{InspectionView, Reading};
pub use render::{RaftView, UncommittedView};

/// Show what a source holds, or compare several: which is freshest, whose histories agree, and where they diverge.
///
/// For one source: revision, members, versions, leases, alarms, auth, and keys by prefix. For several: what each
/// holds, and which keys of the freshest the others lack. Exits with 3 if the digest of a snapshot does not match;
/// for several, if one is damaged, if histories diverge, or if it is not clear which one to restore.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat inspect backup.db
  lifeboat inspect /var/lib/etcd -o json

  Compare the members' data dirs, copied here, with each other and with an old snapshot:
    lifeboat inspect m1.etcd m2.etcd m3.etcd backup.db

  Show the member and cluster ids of an etcd that hangs while starting:
    lifeboat inspect /var/lib/etcd --raft")]
pub struct Args {
    #[command(flatten)]
    source: SourceArg,

    /// More sources to compare with the first.
    #[arg(value_name = "SOURCE")]
    others: Vec<PathBuf>,

    /// Show only the member and cluster ids of a data dir, and how far its log goes. Works while etcd runs there.
    #[arg(long, conflicts_with_all = ["uncommitted", "others"])]
    raft: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if !args.others.is_empty() {
        let compared = args.source.compare_with(&args.others, context)?;
        output::print(context.format, &ComparisonView::from(&compared), |out| compared.table(out))?;
        return Ok(if compared.is_clear() { Status::Ok } else { Status::Findings });
    }
    if let Some(status) = args.source.run_remotely(context)? {
        return Ok(status);
    }
    if args.raft {
        let view = LogView::new(args.source.path(), args.source.log_position()?);
        output::print(context.format, &view, |out| view.table(out))?;
        return Ok(Status::Ok);
    }
    let source = args.source.open()?;
    let inspection = inspect(source.as_ref(), &context.progress)?;
    context.progress.finish();
    let is_identity = |kind: &&FindingKind| matches!(kind, FindingKind::BaseIdentity(_));
    let reading = Reading {
        combination: combination(source.as_ref()),
        identity: source.notes().iter().find(is_identity).map(ToString::to_string),
        stops_etcd: source.notes().iter().filter(|kind| kind.stops_etcd()).map(ToString::to_string).collect(),
    };
    let view = InspectionView::new(&inspection, reading);
    output::print(context.format, &view, |out| view.table(out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
