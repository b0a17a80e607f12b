//! `lifeboat get`.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lifeboat_etcd::mvcc::KeyState;
use lifeboat_etcd::{Query, get};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;

use crate::commands::Context;
use crate::commands::remote::SourceArg;
use crate::exit::Status;
use crate::output::{self, Format};
use crate::terminal;

/// Read keys from a source, at its current or an earlier revision.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat get backup.db --key /registry/namespaces/default
  lifeboat get backup.db --prefix /registry/deployments/ --keys-only
  lifeboat get backup.db --key app/config --rev 1200 -o json")]
#[command(group(clap::ArgGroup::new("which").required(true).args(["key", "prefix"])))]
pub struct Args {
    #[command(flatten)]
    source: SourceArg,

    // Keys may be any bytes, as in etcdctl.
    /// Read this key.
    #[arg(long, value_name = "KEY")]
    key: Option<OsString>,

    /// Read all keys with this prefix; an empty prefix reads all keys.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<OsString>,

    /// Read as of this revision.
    #[arg(long, value_name = "REV", value_parser = clap::value_parser!(i64).range(1..))]
    rev: Option<i64>,

    /// Print only keys, without values.
    #[arg(long)]
    keys_only: bool,
}

/// Same structure as `etcdctl get -w json`, so that scripts for it work here.
#[derive(Serialize)]
struct GetView<'a> {
    header: Header,
    kvs: Pairs<'a>,
    count: usize,
}

/// Encodes each pair as it is written, since the values may be most of a db.
struct Pairs<'a> {
    found: &'a BTreeMap<Vec<u8>, KeyState>,
    keys_only: bool,
}

impl Serialize for Pairs<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.found.iter().map(|(key, found)| Pair {
            key: STANDARD.encode(key),
            create_revision: found.create_revision,
            mod_revision: found.mod_revision,
            version: found.version,
            value: (!self.keys_only).then(|| STANDARD.encode(&found.value)),
            lease: (found.lease != 0).then_some(found.lease),
        }))
    }
}

#[derive(Serialize)]
struct Header {
    revision: i64,
}

#[derive(Serialize)]
struct Pair {
    /// Base64.
    key: String,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    /// Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<i64>,
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if let Some(status) = args.source.run_remotely(context)? {
        return Ok(status);
    }
    let source = args.source.open()?;
    let query = Query {
        key: args.key.as_ref().or(args.prefix.as_ref()).map(|key| key.clone().into_vec()).unwrap_or_default(),
        prefix: args.prefix.is_some(),
        revision: args.rev,
        keys_only: args.keys_only,
    };
    let (revision, found) = get(source.as_ref(), &query, &context.progress)?;
    context.progress.finish();
    if found.is_empty() {
        let what = if query.prefix { "no key with prefix" } else { "no key" };
        let at = args.rev.unwrap_or(revision);
        terminal::stderr_line(format_args!(
            "note: {what} {} at revision {at}",
            terminal::printable(&query.key)
        ));
    }
    let view = GetView {
        header: Header { revision },
        kvs: Pairs { found: &found, keys_only: args.keys_only },
        count: found.len(),
    };
    let on_terminal = std::io::stdout().is_terminal();
    let table = |out: &mut dyn Write| {
        for (key, found) in &found {
            write_line(out, key, on_terminal)?;
            if !args.keys_only {
                write_line(out, &found.value, on_terminal)?;
            }
        }
        Ok(())
    };
    if context.format == Format::Table && !on_terminal {
        output::write_raw(table)?;
    } else {
        output::print(context.format, &view, table)?;
    }
    Ok(Status::Ok)
}

/// Writes raw bytes, or escapes them for a terminal.
fn write_line(out: &mut dyn Write, bytes: &[u8], on_terminal: bool) -> std::io::Result<()> {
    if on_terminal {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        return lines.try_for_each(|line| writeln!(out, "{}", terminal::printable(line)));
    }
    out.write_all(bytes)?;
    out.write_all(b"\n")
}
