//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    check, completions, diagnose, explain, get, hash, init, inspect, man, recover, restore, salvage, save,
    status,
};
use crate::output::Format;

/// Brings a broken self-managed Kubernetes cluster back.
///
/// SOURCE is a snapshot from `lifeboat save` or `etcdctl snapshot save`, a member's db file (member/snap/db in its
/// data dir), or the data dir itself of a stopped or crashed member: its db with what its write-ahead log has
/// beyond it. A snapshot may be packed (zip, gzip, xz, zstd, tar), or the only one in a folder: it is unpacked into a
/// temporary file in $TMPDIR or /var/tmp. Reading opens it read-only and writes nothing in it or beside it. To read, member:NAME is the data dir
/// of a member in the inventory, read on its machine.
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

/// A verb; listed in the order in which somebody needs them whose cluster is down.
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
