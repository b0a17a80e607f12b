//! `lab`: the peers and clusters of Lifeboat's tests, from the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lab::machines::command::MachinesCommand;
use lab::peers::{self, EtcdVersion, Unavailable};
use lab::{bench, demo, incident};

/// Real peers and clusters for Lifeboat's tests, demo and benchmarks.
#[derive(Parser)]
#[command(name = "lab")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build every peer that is not in the cache yet, and print where they are.
    Peers,
    /// Lose a cluster of three members and bring it back from a snapshot.
    Demo {
        /// The `lifeboat` to show.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
    },
    /// Write the inventory of the lab that is up into a folder, with the AccessKey beside it.
    Inventory {
        /// The folder.
        dir: PathBuf,
    },
    /// Tell the incident on the lab that is up: lose the NICs, then the data, and recover.
    Incident {
        /// The `lifeboat` to show.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
    },
    /// Touch memory: what the benchmark runs before every command.
    #[command(hide = true)]
    Level,
    /// Measure Lifeboat against etcd's own tools, and print a table in Markdown.
    Bench {
        /// The `lifeboat` to measure.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
        /// Measure this alone.
        #[arg(long, value_enum)]
        only: Option<bench::Case>,
    },
    #[command(flatten)]
    Machines(MachinesCommand),
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Peers => build_peers(),
        Command::Demo { lifeboat } => report(absolute(&lifeboat).and_then(|path| demo::run(&path))),
        Command::Machines(command) => report(command.run()),
        Command::Inventory { dir } => report(incident::write_inventory(&dir)),
        Command::Incident { lifeboat } => report(absolute(&lifeboat).and_then(|path| incident::run(&path))),
        Command::Level => {
            bench::touch_memory();
            ExitCode::SUCCESS
        }
        Command::Bench { lifeboat, only } => report(
            absolute(&lifeboat).and_then(|path| bench::run(&path, only)).map(|table| print!("{table}")),
        ),
    }
}

/// The program is run from other folders.
fn absolute(program: &Path) -> anyhow::Result<PathBuf> {
    fs_err::canonicalize(program).context("find lifeboat; build it with: cargo build --release")
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build_peers() -> ExitCode {
    let mut missing = false;
    for version in EtcdVersion::ALL {
        let begin = Instant::now();
        let etcd = peers::etcd(version);
        missing |= show(&format!("etcd {version}"), etcd.as_ref().map(|etcd| etcd.etcd.as_path()), begin);
    }
    let begin = Instant::now();
    let bbolt = peers::bbolt();
    missing |= show("bbolt", bbolt.as_deref(), begin);
    if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints one line for a peer; true when it is missing.
fn show(name: &str, peer: Result<&Path, &Unavailable>, begin: Instant) -> bool {
    match peer {
        Ok(path) => println!("{name}\t{}\t{:.1?}", path.display(), begin.elapsed()),
        Err(missing) => println!("{name}\tunavailable: {}", missing.why),
    }
    peer.is_err()
}
