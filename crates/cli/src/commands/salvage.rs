//! `lifeboat salvage`.

mod render;

use std::path::PathBuf;

use anyhow::Result;
use lifeboat_etcd::salvage_on;

use crate::commands::Context;
use crate::exit::Status;
use crate::source::{ReplayArgs, combination};
use crate::{atomic_file, output};
use render::SalvageView;

/// Save what a damaged db or data dir still holds as a snapshot, and report what is lost.
///
/// Uses the newest state whose tree can be walked, searches the file page by page for what the tree lacks, and
/// replays the log of a data dir if it fits. If that keeps more, reads the log on top of another state of the same
/// cluster instead: the snapshot given with --base, or the empty store if the log starts with the cluster. PATH is
/// only read. OUT is a regular snapshot: `check` warns about its missing revisions. Wrong bytes in values can no
/// longer be detected: OUT's own sha256 proves nothing about them. If another member or a snapshot survives, use that
/// instead.
///
/// Exits with 0 only if it is proven that nothing is missing, otherwise with 3. OUT is written in both cases.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat salvage /var/lib/etcd salvaged.db
  lifeboat salvage broken.db salvaged.db -o json > report.json

  Then restore it:
    lifeboat restore salvaged.db --all-members ./restored \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380")]
pub struct Args {
    /// Db file, snapshot, or data dir of a stopped member.
    path: PathBuf,

    /// Snapshot file to write; an existing file is never replaced.
    out: PathBuf,

    #[command(flatten)]
    replay: ReplayArgs,

    /// WAL dir of a data dir, if etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    atomic_file::refuse_existing(&args.out)?;
    let (wal_dir, bases) = (args.wal_dir.as_deref(), args.replay.bases());
    let replay = args.replay.replay(true);
    let (salvaged, account) = salvage_on(&args.path, replay, wal_dir, bases, &context.progress)?;
    let (pending, exported) = atomic_file::write_snapshot(&salvaged, &args.out, &context.progress)?;
    pending.persist(&args.out)?;
    context.progress.finish();
    let view = SalvageView::new(&args.path, &args.out, combination(&salvaged), &account, &exported);
    output::print(context.format, &view, |out| view.table(out))?;
    Ok(if account.is_complete { Status::Ok } else { Status::Findings })
}
