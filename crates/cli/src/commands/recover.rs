//! `lifeboat recover`.

mod plan;
mod prompt;
mod render;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use lifeboat_etcd::{is_data_dir, open};
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::operation::load_plan;
use lifeboat_recovery::plan::StateSource;
use lifeboat_recovery::recover::{Reboots, RecoverError, Recovery, Report};

use crate::commands::Context;
use crate::commands::remote::no_such_member;
use crate::exit::{Status, Usage};
use crate::inventory::InventoryArgs;
use crate::output;
use crate::terminal::stderr_line;
use prompt::Prompt;

/// Recover the cluster: diagnose, plan, confirm and execute, until no problems are found.
///
/// Every step is journaled before it is executed, so that `recover resume` can continue an interrupted run. Replaced
/// data is moved aside, never deleted. Ctrl-C stops at the next safe point.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Show the plan and change nothing:
    lifeboat recover plan

  Recover, with a confirmation before each round:
    lifeboat recover

  Plan now, have the plan reviewed, and apply it later; refused if the cluster has changed since:
    lifeboat recover plan --out plan.json
    lifeboat recover apply plan.json")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    inventory: InventoryArgs,

    #[command(flatten)]
    source: StateSourceArg,

    #[command(flatten)]
    yes: Yes,

    #[command(flatten)]
    reboot: Reboot,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(plan::Args),
    /// Execute a plan written by `recover plan --out`, unless the cluster has changed since.
    Apply {
        /// Plan file.
        plan: PathBuf,

        #[command(flatten)]
        source: StateSourceArg,

        #[command(flatten)]
        yes: Yes,

        #[command(flatten)]
        reboot: Reboot,
    },
    /// Continue the interrupted operation.
    Resume {
        #[command(flatten)]
        source: StateSourceArg,

        #[command(flatten)]
        yes: Yes,

        #[command(flatten)]
        reboot: Reboot,
    },
    /// Undo the interrupted or abandoned operation: put old data dirs back, lift fences, start what ran before.
    /// Refused once the restored etcd has started.
    Rollback {
        #[command(flatten)]
        yes: Yes,
    },
    /// Abandon the interrupted operation without undoing it. What it fenced stays fenced and is reported by `diagnose`.
    Abandon,
}

#[derive(Debug, Clone, clap::Args)]
struct StateSourceArg {
    /// Restore this state instead of the freshest one: a snapshot file, member:NAME, or the log of a member on top of
    /// one of these, as FILE+member:NAME. This only selects the state to restore. It causes a restore only if quorum
    /// is lost or the report asks for a choice, as with etcd.state-lost; an etcd that serves the right state is not
    /// replaced.
    #[arg(long, value_name = "FILE|member:NAME", value_parser = StateSource::parse)]
    source: Option<StateSource>,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Yes {
    /// Skip confirmations: show the plan and execute it.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Reboot {
    /// Reboot workers whose nodes do not recover when the kubelet is restarted: one at a time, cordoned and drained
    /// first. Without this flag, each reboot needs a confirmation, and --yes does not reboot any. Machines with a
    /// role are never rebooted.
    #[arg(long)]
    reboot_nodes: bool,
}

/// The flags that apply to a verb.
struct Flags {
    source: Option<StateSource>,
    yes: bool,
    reboots: Reboots,
}

impl Args {
    /// Merges flags given before and after a verb; refuses those that have no effect with it.
    fn flags(&self) -> Result<Flags> {
        let none = (None, None, None);
        let (verb, (source, yes, reboot)) = match &self.command {
            None => ("recover", (Some(None), Some(false), Some(false))),
            Some(Command::Plan(plan)) => {
                ("recover plan", (Some(plan.source.source.clone()), None, Some(plan.reboot.reboot_nodes)))
            }
            Some(Command::Apply { source, yes, reboot, .. }) => {
                ("recover apply", (Some(source.source.clone()), Some(yes.yes), Some(reboot.reboot_nodes)))
            }
            Some(Command::Resume { source, yes, reboot }) => {
                ("recover resume", (Some(source.source.clone()), Some(yes.yes), Some(reboot.reboot_nodes)))
            }
            Some(Command::Rollback { yes }) => ("recover rollback", (None, Some(yes.yes), None)),
            Some(Command::Abandon) => ("recover abandon", none),
        };
        for (flag, given, takes) in [
            ("--source", self.source.source.is_some(), source.is_some()),
            ("--yes", self.yes.yes, yes.is_some()),
            ("--reboot-nodes", self.reboot.reboot_nodes, reboot.is_some()),
        ] {
            if given && !takes {
                return Err(Usage(format!("{flag} has no effect with `{verb}`")).into());
            }
        }
        let yes = yes.unwrap_or_default() || self.yes.yes;
        let is_interactive =
            !yes && !matches!(self.command, Some(Command::Plan(_))) && std::io::stdin().is_terminal();
        let reboots = match reboot.unwrap_or_default() || self.reboot.reboot_nodes {
            true => Reboots::All,
            false if is_interactive => Reboots::Ask,
            false => Reboots::Never,
        };
        Ok(Flags { source: source.flatten().or_else(|| self.source.source.clone()), yes, reboots })
    }
}

/// Set by Ctrl-C; the executor checks it between steps.
static STOP: AtomicBool = AtomicBool::new(false);

pub fn run(args: &Args, context: &Context) -> Result<Status> {
    let flags = args.flags()?;
    if let Some(Command::Plan(plan)) = &args.command
        && let Some(status) = plan.replay(&flags, context)?
    {
        return Ok(status);
    }
    let Flags { source, yes, reboots } = flags;
    let (path, inventory) = args.inventory.load()?;
    if let Some(source) = &source {
        ensure_source_exists(source, &inventory)?;
    }
    let access = InventoryArgs::access(&inventory);
    let recovery = Recovery {
        inventory: &inventory,
        inventory_path: path,
        access: &access,
        source,
        reboots,
        operator: operator(),
        stop: &STOP,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(async {
        tokio::spawn(stop_on_ctrl_c());
        let mut prompt = Prompt::new(yes, context);
        let report = match &args.command {
            None => recovery.recover(&mut prompt).await,
            Some(Command::Plan(plan)) => return plan.run(&recovery, context).await,
            Some(Command::Apply { plan, .. }) => {
                recovery.apply(&load_plan(plan, &inventory).map_err(RecoverError::from)?, &mut prompt).await
            }
            Some(Command::Resume { .. }) => recovery.resume(&mut prompt).await,
            Some(Command::Rollback { .. }) => {
                let report = recovery.rollback(&mut prompt).await?;
                output::print(context.format, &report, |to| render::rollback(to, &report))?;
                return Ok(Status::Ok);
            }
            Some(Command::Abandon) => {
                let id = recovery.abandon().await?;
                let text = format!(
                    "Operation {id} abandoned; it cannot be resumed. Services that it fenced stay fenced, and data that it \
                     moved stays moved: `lifeboat recover rollback` undoes both, unless the restored etcd has started. To \
                     release services by hand, see `lifeboat explain service.fenced`.\n"
                );
                output::write_all(text.as_bytes())?;
                return Ok(Status::Ok);
            }
        };
        finish(&report?, context)
    })
}

fn ensure_members_exist(source: &StateSource, inventory: &Inventory) -> Result<()> {
    let mut members = source.members();
    match members.find(|name| !inventory.etcd.members.contains_key(*name)) {
        Some(name) => Err(no_such_member(name, inventory)),
        None => Ok(()),
    }
}

/// Reports a wrong `--source` before anything is queried.
fn ensure_source_exists(source: &StateSource, inventory: &Inventory) -> Result<()> {
    ensure_members_exist(source, inventory)?;
    let Some(path) = source.snapshot() else { return Ok(()) };
    if is_data_dir(path)? {
        let path = path.display();
        let why = format!(
            "--source {path} is a data dir; save a snapshot of it first, with `lifeboat save {path} FILE`"
        );
        return Err(Usage(why).into());
    }
    // The file is sent to machines as it is.
    if fs_err::metadata(path)?.is_dir() {
        let why = format!("--source {} is a directory; name the snapshot in it", path.display());
        return Err(Usage(why).into());
    }
    open(path)?;
    Ok(())
}

fn finish(report: &Report, context: &Context) -> Result<Status> {
    output::print(context.format, report, |to| render::report(to, report))?;
    Ok(if report.recovered { Status::Ok } else { Status::Findings })
}

async fn stop_on_ctrl_c() {
    if tokio::signal::ctrl_c().await.is_ok() {
        STOP.store(true, Ordering::Relaxed);
        stderr_line(format_args!("stopping after this step; press Ctrl-C again to stop immediately"));
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}

/// Names the user and machine, for other operators to see.
fn operator() -> String {
    let user =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "someone".into());
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user} on {}", host.trim())
}
