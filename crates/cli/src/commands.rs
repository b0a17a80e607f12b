//! The verbs, one file each.

pub mod agent;
pub mod check;
pub mod completions;
pub mod diagnose;
pub mod explain;
pub mod get;
pub mod hash;
pub mod init;
pub mod inspect;
pub mod man;
pub mod recover;
pub mod remote;
pub mod restore;
pub mod salvage;
pub mod save;
pub mod status;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::exit::Status;
use crate::output::Format;
use crate::progress::ProgressBar;

/// Context shared by all verbs.
pub struct Context {
    pub format: Format,
    pub progress: ProgressBar,
}

/// Runs the verb that the command line names.
pub fn run(cli: Cli) -> Result<Status> {
    let context = Context { format: cli.output, progress: ProgressBar::new(cli.quiet) };
    let result = match cli.command {
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
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Agent(args) => agent::run(&args),
    };
    context.progress.finish();
    result
}
