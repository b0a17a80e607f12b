//! `lifeboat inspect`.

mod render;

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_etcd::report::{InspectionReport, LogReport};
use lifeboat_etcd::{FindingKind, inspect};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::comparison::ComparisonView;
use crate::commands::remote::SourceArg;
use crate::exit::Status;
use crate::output;
use crate::source::combination;

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

/// The output of `inspect --raft`.
#[derive(Serialize)]
struct LogView {
    source: String,
    raft: LogReport,
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
        let source = args.source.path().display().to_string();
        let view = LogView { source, raft: args.source.log_position()?.into() };
        output::print(context.format, &view, |out| render::log(&view.source, &view.raft, out))?;
        return Ok(Status::Ok);
    }
    let source = args.source.open()?;
    let inspection = inspect(source.as_ref(), &context.progress)?;
    context.progress.finish();
    let report = InspectionReport::new(&inspection, combination(source.as_ref()));
    let remedy = inspection.integrity.as_ref().err().map(FindingKind::remedy);
    output::print(context.format, &report, |out| render::inspection(&report, remedy, out))?;
    Ok(if inspection.integrity.is_ok() { Status::Ok } else { Status::Findings })
}
