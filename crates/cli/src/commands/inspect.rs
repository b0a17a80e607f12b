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
/// Of one source: revision, members, versions, leases, alarms, auth, keys by kind. Of several: what each holds, and what
/// the freshest has that another lacks, by key. Exits with 3 when the digest behind a snapshot does not match; of
/// several, when one is damaged, when histories diverge, or when it cannot be told which one a restore should take.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat inspect backup.db
  lifeboat inspect /var/lib/etcd -o json

  Which of the members' data dirs, brought here, holds most, and whether an old snapshot is of the same history:
    lifeboat inspect m1.etcd m2.etcd m3.etcd backup.db

  Which member of which cluster an etcd believes to be that hangs in its start:
    lifeboat inspect /var/lib/etcd --raft")]
pub struct Args {
    #[command(flatten)]
    source: SourceArg,

    /// Further sources, to be compared with the first.
    #[arg(value_name = "SOURCE")]
    others: Vec<PathBuf>,

    /// Show only which member of which cluster a data dir belongs to, and how far its log goes. Works while an etcd
    /// runs there.
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
    let said = |kind: &&FindingKind| matches!(kind, FindingKind::BaseIdentity(_));
    let known = Reading {
        combination: combination(source.as_ref()),
        identity: source.notes().iter().find(said).map(ToString::to_string),
        stops_etcd: source.notes().iter().filter(|kind| kind.stops_etcd()).map(ToString::to_string).collect(),
    };
    let view = InspectionView::new(&inspection, known);
    output::print(context.format, &view, |out| view.table(out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
