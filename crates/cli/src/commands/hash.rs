//! `lifeboat hash`.

use anyhow::Result;
use lifeboat_etcd::{HashKv, hash_kv, open_file};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::remote::SourceArg;
use crate::exit::Status;
use crate::output;

/// Compute etcd's HashKV: sources with equal hashes have the same history.
///
/// The result is what `etcdctl endpoint hashkv` reports for a member at the same revision and compact revision.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat hash backup.db
  lifeboat hash backup.db --rev 1200 -o json
  lifeboat hash backup.db --status")]
pub struct Args {
    #[command(flatten)]
    source: SourceArg,

    /// Revision to hash up to; default: the current one.
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(i64).range(1..))]
    rev: Option<i64>,

    /// Compact revision to hash with; default: the source's.
    #[arg(long, value_name = "REV", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    compact_rev: Option<i64>,

    /// Compute the hash of `etcdutl snapshot status` instead: a CRC of everything in a snapshot or db file.
    #[arg(long, conflicts_with_all = ["rev", "compact_rev"])]
    status: bool,
}

/// What else `etcdutl snapshot status` reports is in `inspect`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusHashView {
    status_hash: u32,
}

/// Field names of etcdutl.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashView {
    hash: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_hash: Option<u32>,
    hash_revision: i64,
    compact_revision: i64,
}

impl From<HashKv> for HashView {
    fn from(HashKv { hash, older_hash, hash_revision, compact_revision }: HashKv) -> Self {
        Self { hash, older_hash, hash_revision, compact_revision }
    }
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(status) = args.source.run_remotely(context)? {
        return Ok(status);
    }
    if args.status {
        let view = StatusHashView { status_hash: open_file(args.source.path())?.status_hash()? };
        // Hexadecimal, as in etcdutl's table.
        output::print(context.format, &view, |out| {
            output::fields(out, &[("status hash", format!("{:x}", view.status_hash))])
        })?;
        return Ok(Status::Ok);
    }
    let source = args.source.open()?;
    let hash = hash_kv(source.as_ref(), args.rev, args.compact_rev, &context.progress)?;
    context.progress.finish();
    let view = HashView::from(hash);
    output::print(context.format, &view, |out| {
        let mut fields = vec![("hash", view.hash.to_string())];
        fields.extend(older_field(view.older_hash));
        fields.extend([
            ("hash revision", view.hash_revision.to_string()),
            ("compact revision", view.compact_revision.to_string()),
        ]);
        output::fields(out, &fields)
    })?;
    Ok(Status::Ok)
}

/// The field for the hash of older etcd releases, if it differs.
pub fn older_field(older_hash: Option<u32>) -> Option<(&'static str, String)> {
    older_hash.map(|hash| ("older hash", format!("{hash}, from etcd before 3.4.34 and 3.5.16")))
}
