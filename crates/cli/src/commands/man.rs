//! `lifeboat man`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Command;

use crate::exit::Status;
use crate::output;

/// Generate manual pages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat man | man -l -
  lifeboat man /usr/local/share/man/man1")]
pub struct Args {
    /// Directory to write a page per verb to. Without it, the main page goes to stdout.
    dir: Option<PathBuf>,
}

/// `command` is the command line.
pub fn run(args: &Args, command: Command) -> Result<Status> {
    let command = without_help_verbs(command);
    match &args.dir {
        Some(dir) => {
            fs_err::create_dir_all(dir)?;
            clap_mangen::generate_to(command, dir)
                .with_context(|| format!("write pages to {}", dir.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output::write_all(&page)?;
        }
    }
    Ok(Status::Ok)
}

/// `lifeboat help` has no page of its own.
fn without_help_verbs(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help_verbs)
}
