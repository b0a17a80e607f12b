//! `lifeboat completions`.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Status;
use crate::output;

/// Print a shell's completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  lifeboat completions bash > /etc/bash_completion.d/lifeboat")]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args) -> Result<Status> {
    // Into memory first: the generator panics when stdout is closed on it.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lifeboat", &mut script);
    output::write_all(&script)?;
    Ok(Status::Ok)
}
