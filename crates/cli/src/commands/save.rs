//! `lifeboat save`.

mod download;
mod offline;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lifeboat_client::messages::{AlarmType, StatusResponse};
use lifeboat_client::{Client, ConnectOptions, Endpoint};
use lifeboat_etcd::{FindingKind, Source, hash_kv, open};
use serde::Serialize;

use crate::commands::remote::{local_only, member_name};
use crate::commands::{Context, hash};
use crate::connection::{Connection, warn_about_clear_text, with_advice};
use crate::exit::{Refused, Status, Usage};
use crate::source::ReplayArgs;
use crate::{atomic_file, output};

/// Save a snapshot of a live member, or of a stopped member's data dir, to a file.
///
/// The snapshot of a live member is verified with the digest that etcd sends, before the file is renamed into place.
/// A member without a leader or with a CORRUPT alarm is refused. The snapshot of a data dir includes its log; nothing
/// in the directory is changed. An existing file is never replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat save https://10.0.0.1:2379 backup.db --cacert ca.crt --cert client.crt --key client.key
  ETCDCTL_ENDPOINTS=http://127.0.0.1:2379 lifeboat save backup.db
  lifeboat save /var/lib/etcd rescued.db")]
pub struct Args {
    /// Client URL of one member (default: --endpoints) or path of a data dir, and the file to write.
    #[arg(value_names = ["URL|PATH", "FILE"], num_args = 1..=2, required = true)]
    url_and_file: Vec<String>,

    #[command(flatten)]
    connection: Connection,

    /// Also save from a member without a leader or with a CORRUPT alarm.
    #[arg(long)]
    allow_unhealthy: bool,

    #[command(flatten)]
    replay: ReplayArgs,

    /// Refuse a base that only ids tie to the log; `recover` does not use such a base by default.
    #[arg(long, hide = true, requires = "base")]
    proven_base: bool,

    /// WAL dir of a data dir, if etcd ran with --wal-dir.
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SaveView {
    file: String,
    endpoint: String,
    cluster_id: String,
    member_id: String,
    version: String,
    size: u64,
    sha256: String,
    revision: i64,
    compact_revision: i64,
    hash: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_hash: Option<u32>,
    warnings: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    let (endpoint, file) = endpoint_and_file(args)?;
    atomic_file::refuse_existing(&file)?;
    if let Some(name) = member_name(Path::new(&endpoint)) {
        return Err(local_only("save", name));
    }
    // A member's endpoint has a port.
    if fs_err::symlink_metadata(&endpoint).is_ok() || !endpoint.contains(':') {
        let source = args.replay.open(Path::new(&endpoint), args.wal_dir.as_deref())?;
        if args.proven_base {
            ensure_proven(source.as_ref())?;
        }
        offline::save(source.as_ref(), &file, context)?;
        return Ok(Status::Ok);
    }
    if args.replay.uncommitted || args.replay.base.is_some() || args.wal_dir.is_some() {
        let why = format!("--uncommitted, --base and --wal-dir require a data dir, which {endpoint} is not");
        return Err(Usage(why).into());
    }
    let options = args.connection.options()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start runtime")?;
    let view = runtime.block_on(save(args, &options, &endpoint, &file, context))?;
    context.progress.finish();
    output::print(context.format, &view, |out| {
        let mut fields: Vec<_> = view.warnings.iter().map(|warning| ("warning", warning.clone())).collect();
        fields.extend([
            ("saved", format!("{} ({})", view.file, output::bytes(view.size))),
            (
                "from",
                format!("member {} of cluster {}, etcd {}", view.member_id, view.cluster_id, view.version),
            ),
            ("revision", view.revision.to_string()),
            ("hash", format!("{} (compact revision {})", view.hash, view.compact_revision)),
        ]);
        fields.extend(hash::older_field(view.older_hash));
        fields.push(("sha256", view.sha256.clone()));
        output::fields(out, &fields)
    })?;
    Ok(Status::Ok)
}

fn ensure_proven(source: &dyn Source) -> Result<()> {
    for kind in source.notes() {
        match kind {
            kind if kind.is_weak_identity() => {
                return Err(
                    Refused(format!("cannot confirm that base and log belong together: {kind}")).into()
                );
            }
            FindingKind::BaseBehindDb { .. } => {
                return Err(Refused(format!("entries would be lost: {kind}")).into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn endpoint_and_file(args: &Args) -> Result<(String, PathBuf)> {
    match args.url_and_file.as_slice() {
        [first, second] if second.contains("://") => {
            Err(Usage(format!("expected a member's URL and a file, but {first} and {second} are two URLs"))
                .into())
        }
        [url, file] => Ok((url.clone(), file.into())),
        [file] => match args.connection.endpoints.as_slice() {
            [_] if file.contains("://") => {
                Err(Usage("missing output file: the only argument is a URL".into()).into())
            }
            [endpoint] => Ok((endpoint.clone(), file.into())),
            [] if fs_err::symlink_metadata(file).is_ok() => {
                Err(Usage(format!("missing output file; to save {file}, run: lifeboat save {file} FILE"))
                    .into())
            }
            // It may hold a password.
            [] if file.contains("://") => {
                Err(Usage("missing output file; run: lifeboat save URL FILE".into()).into())
            }
            [] => {
                Err(Usage(format!("missing member URL; run: lifeboat save URL {file}, or pass --endpoints"))
                    .into())
            }
            several => {
                Err(Usage(format!("expected one endpoint to save from, but {} are given", several.len()))
                    .into())
            }
        },
        _ => Err(Usage("expected [URL|PATH] FILE".into()).into()),
    }
}

async fn save(
    args: &Args,
    options: &ConnectOptions,
    endpoint: &str,
    file: &Path,
    context: &Context,
) -> Result<SaveView> {
    let parsed = Endpoint::parse(endpoint, args.connection.has_tls_flag()).map_err(with_advice)?;
    warn_about_clear_text(options, &parsed);
    let client = Client::connect(options, endpoint).await.map_err(with_advice)?;
    let status = client.status().await.map_err(with_advice)?;
    let (problems, warnings) = health(&client, &status).await;
    if !problems.is_empty() && !args.allow_unhealthy {
        return Err(Refused(format!(
            "{endpoint}: {}; save from another member, or pass --allow-unhealthy",
            problems.join(", ")
        ))
        .into());
    }
    let pending = download::download(&client, status.db_size, file, &context.progress).await?;

    // Read what the RPC does not report from the temporary file, so that a file with the final name has been read in
    // full.
    let source = open(pending.path())?;
    let kv = hash_kv(source.as_ref(), None, None, &context.progress).context("read the snapshot back")?;
    let (size, sha256) = (pending.size, pending.sha256.clone());
    pending.persist(file)?;
    Ok(SaveView {
        file: file.display().to_string(),
        endpoint: endpoint.into(),
        cluster_id: format!("{:x}", status.header.cluster_id),
        member_id: format!("{:x}", status.header.member_id),
        version: status.version,
        size,
        sha256,
        revision: kv.hash_revision,
        compact_revision: kv.compact_revision,
        hash: kv.hash,
        older_hash: kv.older_hash,
        warnings: problems.into_iter().chain(warnings).collect(),
    })
}

/// Problems that speak against a snapshot of this member, and warnings.
async fn health(client: &Client, status: &StatusResponse) -> (Vec<String>, Vec<String>) {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    if status.leader == 0 {
        problems.push("the member has no leader: its state may lag behind".to_owned());
    }
    if status.is_learner {
        problems.push("the member is a learner: its state may lag behind".to_owned());
    }
    if !problems.is_empty() {
        // Listing alarms needs a quorum, and a learner does not answer.
        problems.extend(status.errors.iter().cloned());
        return (problems, warnings);
    }
    match client.alarms().await {
        Ok(response) => {
            for alarm in response.alarms {
                let member = format!("{:x}", alarm.member_id);
                match alarm.alarm() {
                    AlarmType::Nospace => warnings.push(format!(
                        "NOSPACE alarm for member {member}: writes except deletes are refused until it is disarmed"
                    )),
                    AlarmType::Corrupt => problems.push(format!("CORRUPT alarm for member {member}")),
                    AlarmType::None => {}
                }
            }
        }
        Err(error) => problems.push(format!("cannot list alarms: {:#}", anyhow::Error::from(error))),
    }
    (problems, warnings)
}
