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

/// Save what a damaged db or data dir still holds, as a snapshot, with an account of what it lacks.
///
/// Takes the newest state whose tree can be walked, searches the file page by page for what the tree lacks, and
/// replays a data dir's log where it fits; or reads the log on top of another state of the same cluster, where that
/// keeps more: a snapshot named with --base, or nothing where the log begins with the cluster. PATH is only read. OUT is a snapshot as any other: check it, which
/// warns of revisions it lacks, inspect it, restore it. Of bytes that were wrong in values nothing warns any more:
/// OUT's own sha256 proves nothing about them. While another member or snapshot survives, that is better.
///
/// Exits with 0 only when it is proved that nothing is missing, and with 3 when anything is or may be; OUT is written
/// all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat salvage /var/lib/etcd salvaged.db
  lifeboat salvage broken.db salvaged.db -o json > account.json

  Then bring it back:
    lifeboat restore salvaged.db --all-members ./restored \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380")]
pub struct Args {
    /// Db file, snapshot, or the data dir of a stopped member.
    path: PathBuf,

    /// The file to write; one that exists is never replaced.
    out: PathBuf,

    #[command(flatten)]
    replay: ReplayArgs,

    /// Where the log of a data dir is, when etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    atomic_file::refuse_existing(&args.out)?;
    let (wal_dir, bases) = (args.wal_dir.as_deref(), args.replay.bases());
    let how_far = args.replay.replay(true);
    let (salvaged, account) = salvage_on(&args.path, how_far, wal_dir, bases, &context.progress)?;
    let (staged, exported) = atomic_file::write_snapshot(&salvaged, &args.out, &context.progress)?;
    staged.persist(&args.out)?;
    context.progress.finish();
    let view = SalvageView::new(&args.path, &args.out, combination(&salvaged), &account, &exported);
    output::print(context.format, &view, |out| view.table(out))?;
    Ok(if account.is_complete { Status::Ok } else { Status::Findings })
}
