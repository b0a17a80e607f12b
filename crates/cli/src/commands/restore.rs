//! `lifeboat restore`.

mod guards;
mod render;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lifeboat_etcd::{EtcdVersion, InitialCluster, RestoreOptions, Source, State, Target, restore};

use crate::commands::Context;
use crate::commands::comparison::Compared;
use crate::commands::remote::{local_only, member_name};
use crate::exit::{Refused, Status, Usage};
use crate::output;
use crate::source::ReplayArgs;
use render::RestoreView;

/// Restore a source into the data dirs of a new cluster.
///
/// The new cluster starts far above every revision of the old one and reports those as compacted, so that clients of
/// the old cluster notice and list again. All data is read back and compared before it is renamed into place. The
/// data dirs belong to the current user: `chown` them if etcd runs as another.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  All members at once, with a directory for each; copy every directory to its host:
    lifeboat restore backup.db --all-members ./restored \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380

  From the freshest of the members' data dirs, copied here:
    lifeboat restore m1.etcd m2.etcd m3.etcd --all-members ./restored \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380

  From last night's snapshot and the log of a member whose db is damaged:
    lifeboat restore m1.etcd nightly.db --all-members ./restored \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380

  One member, on its host; use the same token for every member:
    lifeboat restore backup.db --name m1 --data-dir /var/lib/etcd \\
      --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380 \\
      --initial-cluster-token restored-2026-11-23")]
pub struct Args {
    /// Snapshot, db file, or data dir of a stopped member. Of several, the freshest is restored if the others agree
    /// with it; if histories diverge, or the log of a damaged one goes further, select one with --take. If the db of
    /// a data dir is damaged or missing, its log is read on top of another source that it continues.
    source: PathBuf,

    /// More sources to compare with the first.
    #[arg(value_name = "SOURCE")]
    others: Vec<PathBuf>,

    /// Restore this one of several sources, whatever the others hold.
    #[arg(long, value_name = "SOURCE", requires = "others")]
    take: Option<PathBuf>,

    #[command(flatten)]
    replay: ReplayArgs,

    /// WAL dir of a SOURCE that is a data dir, if its etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR", conflicts_with = "others")]
    source_wal_dir: Option<PathBuf>,

    /// Write all members of the initial cluster, each to DIR/NAME.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "data_dir", "wal_dir", "initial_advertise_peer_urls"])]
    all_members: Option<PathBuf>,

    /// Name of the member to write.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,

    /// Data dir of that member; default: NAME.etcd.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// WAL dir of that member; default: inside the data dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,

    /// Members of the new cluster; default for a single member named default: default=http://localhost:2380.
    #[arg(long, value_name = "NAME=URL,...")]
    initial_cluster: Option<String>,

    /// Peer URLs of the member to write; default, and only valid value: those in the initial cluster.
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    initial_advertise_peer_urls: Option<Vec<String>>,

    /// Token that makes the ids of the new cluster unique; default with --all-members: a new one.
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,

    /// How far above the newest revision to start, with all earlier ones marked as compacted: `auto` (1000000000), a
    /// number, or 0 to do neither.
    #[arg(long, value_name = "auto|N|0", default_value = "auto")]
    bump_revision: Bump,

    /// Keep superseded revisions in the file. Clients cannot read them, and etcd drops them at its next compaction.
    #[arg(long)]
    keep_history: bool,

    /// Restore the keyspace as of this revision.
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(i64).range(1..))]
    rev: Option<i64>,

    /// Version of etcd that will run the members: 3.4, 3.5, 3.6 or 3.7; default: the one that wrote the source.
    #[arg(long, value_name = "VERSION")]
    etcd_version: Option<EtcdVersion>,

    /// Do not verify the digest of a snapshot.
    #[arg(long)]
    skip_hash_check: bool,

    /// Restore a file even though files next to it have more: a db without its log, a full snapshot without its deltas.
    #[arg(long)]
    db_only: bool,

    /// Allow a source without keys.
    #[arg(long)]
    allow_empty: bool,
}

/// etcdutl's defaults, for a single-member cluster.
const DEFAULT_NAME: &str = "default";
const DEFAULT_CLUSTER: &str = "default=http://localhost:2380";

/// Value of `--bump-revision`.
#[derive(Debug, Clone, Copy)]
struct Bump(u64);

impl FromStr for Bump {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(RestoreOptions::AUTO_BUMP)),
            number => number.parse().map(Self).map_err(|_| "expected auto or a number".into()),
        }
    }
}

impl Args {
    fn options(&self, initial_cluster: &str) -> Result<RestoreOptions> {
        let token = match (&self.initial_cluster_token, &self.all_members) {
            (Some(token), _) if token.is_empty() => {
                return Err(Usage("--initial-cluster-token must not be empty".into()).into());
            }
            (Some(token), _) => token.clone(),
            (None, Some(_)) => fresh_token(),
            (None, None) => {
                let cluster = match &self.initial_cluster {
                    Some(_) => String::new(),
                    None => {
                        format!(" and --initial-cluster (optional for a single member, {DEFAULT_CLUSTER})")
                    }
                };
                return Err(Refused(format!(
                    "missing --initial-cluster-token{cluster}: use the same new token for all members of this restore, or \
                     members of an older cluster may join it; --all-members generates one"
                ))
                .into());
            }
        };
        let cluster = InitialCluster::parse(initial_cluster, &token)?;
        Ok(RestoreOptions {
            targets: self.targets(&cluster)?,
            cluster,
            bump_revision: self.bump_revision.0,
            keep_history: self.keep_history,
            revision: self.rev,
            version: self.etcd_version,
            skip_hash_check: self.skip_hash_check,
            allow_empty: self.allow_empty,
        })
    }

    /// The members of the new cluster. The default of a single member applies only to its default name.
    fn initial_cluster(&self) -> Option<&str> {
        let is_default = self.all_members.is_none() && self.name == DEFAULT_NAME;
        self.initial_cluster.as_deref().or(is_default.then_some(DEFAULT_CLUSTER))
    }

    fn needs_initial_cluster(&self, source: &dyn Source) -> Result<Usage> {
        let members = InitialCluster::of(&State::read(source)?.members, "").map_or_else(
            || "NAME=PEER_URL,NAME=PEER_URL; the source lists no members".into(),
            |known| format!("the source lists these members\n    --initial-cluster {known}"),
        );
        let token = match (&self.initial_cluster_token, &self.all_members) {
            (None, None) => " and --initial-cluster-token",
            _ => "",
        };
        Ok(Usage(format!("missing --initial-cluster{token}: {members}")))
    }

    fn open(&self) -> Result<Box<dyn Source>> {
        if let Some(name) = member_name(&self.source) {
            return Err(local_only("restore", name));
        }
        self.replay.open_without_siblings(&self.source, self.source_wal_dir.as_deref())
    }

    fn targets(&self, cluster: &InitialCluster) -> Result<Vec<Target>> {
        let Some(dir) = &self.all_members else {
            cluster.verify_advertised(&self.name, self.initial_advertise_peer_urls.as_deref())?;
            let data_dir = self.data_dir.clone().unwrap_or_else(|| format!("{}.etcd", self.name).into());
            return Ok(vec![Target { name: self.name.clone(), data_dir, wal_dir: self.wal_dir.clone() }]);
        };
        let target = |name: &str| {
            if name.contains('/') || name == "." || name == ".." {
                return Err(Usage(format!("member name {name:?} cannot be a directory name")));
            }
            Ok(Target { name: name.into(), data_dir: dir.join(name), wal_dir: None })
        };
        Ok(cluster.initial_members().iter().map(|member| target(&member.name)).collect::<Result<_, _>>()?)
    }
}

/// A token that no other restore has: seconds since 1970 and 64 random bits.
fn fresh_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("lifeboat-{seconds}-{:016x}", RandomState::new().hash_one(std::process::id()))
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    // Report usage errors before anything is read.
    let options = args.initial_cluster().map(|cluster| args.options(cluster)).transpose()?;
    if args.others.is_empty() {
        let source = args.open()?;
        return restore_from(
            args,
            source.as_ref(),
            &args.source.display().to_string(),
            None,
            options,
            context,
        );
    }
    if args.replay.base.is_some() {
        let why =
            "--base requires a single source; with several, those that fit are used as bases automatically";
        return Err(Usage(why.into()).into());
    }
    let compared = Compared::new(&args.source, &args.others, &args.replay, context)?;
    let (name, source) = compared.taken(args.take.as_deref())?;
    restore_from(args, source, name, Some(&compared), options, context)
}

fn restore_from(
    args: &Args,
    source: &dyn Source,
    name: &str,
    compared: Option<&Compared>,
    options: Option<RestoreOptions>,
    context: &Context,
) -> Result<Status> {
    let Some(options) = options else { return Err(args.needs_initial_cluster(source)?.into()) };
    guards::ensure_complete(Path::new(name), args.db_only)?;
    guards::ensure_intended_members(source, &options.cluster, args.initial_cluster.is_some())?;
    let report = restore(source, &options, &context.progress)?;
    context.progress.finish();
    let view = RestoreView::new(name.to_owned(), source, &report, &options, compared);
    output::print(context.format, &view, |out| view.table(out))?;
    Ok(Status::Ok)
}
