//! `lifeboat completions`.

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;

use crate::exit::Status;
use crate::output;

/// Print a shell completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  lifeboat completions bash > /etc/bash_completion.d/lifeboat")]
pub struct Args {
    /// Shell to print the script for.
    shell: Shell,
}

/// `command` is the command line.
pub fn run(args: &Args, command: &Command) -> Result<Status> {
    // Into memory first: the generator panics if stdout is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut without_hidden_verbs(command), "lifeboat", &mut script);
    output::write_all(&script)?;
    Ok(Status::Ok)
}

/// The generator offers hidden subcommands as well.
fn without_hidden_verbs(all: &Command) -> Command {
    let shown = Command::new("lifeboat").args(all.get_arguments());
    shown.subcommands(all.get_subcommands().filter(|verb| !verb.is_hide_set()))
}
