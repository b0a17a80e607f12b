//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{check, completions, get, hash, inspect, man, restore, save};
use crate::output::Format;

/// Brings a broken self-managed Kubernetes cluster back.
///
/// SOURCE is a snapshot from `lifeboat save` or `etcdctl snapshot save`, or a member's db file
/// (member/snap/db in its data dir). Reading opens it read-only and writes nothing beside it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// How results are printed on stdout.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,

    /// Show no progress on stderr.
    #[arg(long, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 unexpected, 2 usage, 3 damage or findings, 4 refused by a safety check,
5 partly done.";

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    Save(save::Args),
    Inspect(inspect::Args),
    Check(check::Args),
    Hash(hash::Args),
    Get(get::Args),
    Restore(restore::Args),
    Completions(completions::Args),
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
