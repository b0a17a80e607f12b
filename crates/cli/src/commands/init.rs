//! `lifeboat init`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lifeboat_recovery::discover::{CREDENTIALS, DiscoverError, Discovered, Request, discover};
use lifeboat_recovery::inventory::{SecretRef, Ssh, Zstack, schema};
use lifeboat_recovery::ownership::ensure_ssh_config;
use lifeboat_recovery::provider::CloudProvider;
use serde::Serialize;

use crate::commands::Context;
use crate::exit::{Refused, Status};
use crate::inventory::zstack;
use crate::{output, terminal};

/// Discover a running cluster and write its inventory.
///
/// Starts from the machines given and finds the others by etcd's member list, the API servers and the nodes. The
/// inventory notes what could not be discovered. Credentials that recovery needs are copied to lifeboat-credentials
/// next to it. Changes nothing on any machine, and replaces no file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat init --from root@10.0.0.231
  lifeboat init --from m1 --from nfs --ssh-config ./ssh_config --name prod --out prod/lifeboat.yaml
  lifeboat init --from m1 --zstack https://10.0.0.249:8443 --zstack-key-secret file:zstack.key
  lifeboat init --schema > lifeboat.schema.json")]
pub struct Args {
    /// Machine to start from, as for ssh: one of the control plane, and any that cannot be discovered, such as an NFS
    /// server. `local` is this machine.
    #[arg(long, value_name = "HOST", value_delimiter = ',', required_unless_present = "schema")]
    from: Vec<String>,

    /// Inventory file to write.
    #[arg(long, value_name = "FILE", default_value = "lifeboat.yaml")]
    out: PathBuf,

    /// Name of the cluster.
    #[arg(long, default_value = "kubernetes")]
    name: String,

    /// User for SSH logins.
    #[arg(long, value_name = "USER")]
    ssh_user: Option<String>,

    /// ssh configuration file to use instead of your own.
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,

    /// API URL of the ZStack cloud that runs the machines.
    #[arg(long, value_name = "URL")]
    zstack: Option<String>,

    /// CA bundle to verify its certificate, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "zstack")]
    zstack_ca: Option<PathBuf>,

    /// Where its AccessKey id is stored.
    #[arg(long, value_name = "env:NAME|file:PATH", default_value = "env:ZSTACK_ACCESS_KEY_ID", value_parser = secret)]
    zstack_key_id: SecretRef,

    /// Where its AccessKey secret is stored.
    #[arg(long, value_name = "env:NAME|file:PATH", default_value = "env:ZSTACK_ACCESS_KEY_SECRET", value_parser = secret)]
    zstack_key_secret: SecretRef,

    /// Print the JSON Schema of inventories and exit.
    #[arg(long, conflicts_with_all = ["from", "zstack"])]
    schema: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitView {
    file: String,
    credentials: Vec<String>,
    hosts: usize,
    members: usize,
    control_plane: usize,
    nodes: usize,
    /// What could not be discovered, and what is a guess.
    notes: Vec<String>,
}

fn secret(text: &str) -> Result<SecretRef, String> {
    match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(SecretRef::Env(name.into())),
        Some(("file", path)) if !path.is_empty() => absolute(Path::new(path)).map(SecretRef::File),
        // The value is not repeated: it may be the secret itself.
        _ => Err("must be env:NAME or file:PATH".into()),
    }
}

/// Makes a path absolute, since relative paths in an inventory start at its directory.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| error.to_string())
}

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    if args.schema {
        let schema = serde_json::to_string_pretty(&schema())?;
        output::write_all(format!("{schema}\n").as_bytes())?;
        return Ok(Status::Ok);
    }
    Discovered::refuse_existing(&args.out).map_err(refused)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start runtime")?;
    let found = runtime.block_on(discover(request(args, context)?))?;
    context.progress.finish();
    let mut files = found.write(&args.out).map_err(refused)?;
    let file = files.pop().unwrap_or_default();
    let problems = found.problems();
    let notes: Vec<String> =
        found.notes.iter().cloned().chain(problems.iter().map(ToString::to_string)).collect();
    let view = InitView {
        file: file.display().to_string(),
        credentials: files.iter().map(|file| file.display().to_string()).collect(),
        hosts: found.inventory.hosts.len(),
        members: found.inventory.etcd.members.len(),
        control_plane: found.inventory.kubernetes.control_plane.len(),
        nodes: found.inventory.kubernetes.nodes.len(),
        notes,
    };
    view.notes.iter().for_each(|note| {
        terminal::stderr_line(format_args!("note: {}", terminal::printable(note.as_bytes())));
    });
    output::print(context.format, &view, |out| {
        let InitView { hosts, members, control_plane, nodes, .. } = &view;
        let counts = format!(
            "{hosts} hosts, {members} etcd members, {control_plane} control-plane machines, {nodes} nodes"
        );
        writeln!(out, "{}: {counts}", view.file)?;
        if !view.credentials.is_empty() {
            let names = files.iter().filter_map(|file| file.file_name()?.to_str());
            let names = names.collect::<Vec<_>>().join(", ");
            writeln!(
                out,
                "copied to {CREDENTIALS}/: {names}; these credentials grant full access to the cluster"
            )?;
        }
        Ok(())
    })?;
    Ok(Status::Ok)
}

fn request<'a>(args: &Args, context: &'a Context) -> Result<Request<'a>> {
    let cloud = match &args.zstack {
        Some(endpoint) => {
            let spec = Zstack {
                endpoint: endpoint.clone(),
                ca: args.zstack_ca.as_deref().map(absolute).transpose().map_err(anyhow::Error::msg)?,
                access_key_id: args.zstack_key_id.clone(),
                access_key_secret: args.zstack_key_secret.clone(),
                ip_ranges: Vec::new(),
            };
            let provider: Arc<dyn CloudProvider> = zstack(&spec)?;
            Some((spec, provider))
        }
        None => None,
    };
    let config = args.ssh_config.as_deref().map(absolute).transpose().map_err(anyhow::Error::msg)?;
    config.as_deref().map_or(Ok(()), ensure_ssh_config)?;
    Ok(Request {
        from: args.from.clone(),
        ssh: Ssh { user: args.ssh_user.clone(), config },
        cluster: args.name.clone(),
        cloud,
        watch: if context.progress.is_quiet() {
            &|_| {}
        } else {
            &|what| terminal::stderr_line(format_args!("{what}"))
        },
    })
}

fn refused(error: DiscoverError) -> anyhow::Error {
    match &error {
        DiscoverError::Exists(_) | DiscoverError::Ownership(_) => Refused(error.to_string()).into(),
        _ => error.into(),
    }
}
