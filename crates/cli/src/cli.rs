//! The command line, and the verb that it names.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{
    Context, agent, check, completions, diagnose, explain, get, hash, init, inspect, man, recover, restore,
    salvage, save, status,
};
use crate::exit::Status;
use crate::log_file;
use crate::output::Format;
use crate::progress::ProgressBar;

/// Recover a broken self-managed Kubernetes cluster.
///
/// SOURCE is a snapshot from `lifeboat save` or `etcdctl snapshot save`, a member's db file (member/snap/db in its
/// data dir), or the data dir of a stopped or crashed member: its db with its write-ahead log applied. A snapshot may
/// be compressed or in an archive (zip, gzip, xz, zstd, tar), or the only one in a directory; it is unpacked to a
/// temporary file in $TMPDIR or /var/tmp. Sources are opened read-only, and nothing is written next to them. Verbs
/// that only read also take member:NAME, the data dir of a member in the inventory, and read it on its machine.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, propagate_version = true)]
pub struct Cli {
    /// Output format of results on stdout.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,

    /// Do not show progress on stderr.
    #[arg(long, global = true)]
    pub quiet: bool,

    /// Append what is asked of machines, members and the cloud, and what they answer, to this file. Secrets are not
    /// in it.
    #[arg(long, global = true, env = "LIFEBOAT_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<OsString>,

    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Runs the verb that the command line names.
    pub fn run(self) -> Result<Status> {
        if let Some(file) = self.log_file.as_deref().filter(|file| !file.is_empty()) {
            log_file::open(Path::new(file))?;
        }
        let context = Context { format: self.output, progress: ProgressBar::new(self.quiet) };
        let result = match self.command {
            Command::Save(args) => save::run(&args, &context),
            Command::Inspect(args) => inspect::run(&args, &context),
            Command::Check(args) => check::run(&args, &context),
            Command::Hash(args) => hash::run(&args, &context),
            Command::Init(args) => init::run(&args, &context),
            Command::Get(args) => get::run(&args, &context),
            Command::Status(args) => status::run(&args, &context),
            Command::Diagnose(args) => diagnose::run(&args, &context),
            Command::Explain(args) => explain::run(&args, &context),
            Command::Recover(args) => recover::run(&args, &context),
            Command::Restore(args) => restore::run(&args, &context),
            Command::Salvage(args) => salvage::run(&args, &context),
            Command::Completions(args) => completions::run(&args, &Self::command()),
            Command::Man(args) => man::run(&args, Self::command()),
            Command::Agent(args) => agent::run(&args),
        };
        context.progress.finish();
        result
    }
}

const AFTER_HELP: &str = "\
Where to begin:
  lifeboat diagnose       a cluster that is down (without an inventory: lifeboat init)
  lifeboat inspect A B C  only data dirs or snapshots are left

Exit codes: 0 ok, 1 unexpected error, 2 usage error, 3 damage or findings,
4 refused by a safety check, 5 partially completed.";

/// The verbs, in the order in which they are needed when a cluster is down.
#[derive(Debug, Subcommand)]
pub enum Command {
    Diagnose(diagnose::Args),
    Recover(recover::Args),
    Status(status::Args),
    Init(init::Args),
    Save(save::Args),
    Inspect(inspect::Args),
    Check(check::Args),
    Hash(hash::Args),
    Get(get::Args),
    Restore(restore::Args),
    Salvage(salvage::Args),
    Explain(explain::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    Agent(agent::Args),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
