//! `lab`: the command line to the peers, clusters and machines of Lifeboat's tests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lab::machines::command::MachinesCommand;
use lab::peers::{self, EtcdVersion, Unavailable};
use lab::{bench, demo, incident};

/// Real etcd, machines and clusters for Lifeboat's tests, demo and benchmarks.
#[derive(Parser)]
#[command(name = "lab")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build every etcd and tool that is not in the cache, and print their paths.
    Peers,
    /// Lose a cluster of three members and restore it from a snapshot.
    Demo {
        /// The `lifeboat` to run.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
    },
    /// Write the running lab's inventory into a directory, with the AccessKey beside it.
    Inventory {
        /// The directory.
        dir: PathBuf,
    },
    /// Run the incident on the running lab: lose the NICs, then the data, and recover.
    Incident {
        /// The `lifeboat` to run.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
    },
    /// Touch memory; the benchmark runs this before every command.
    #[command(hide = true)]
    TouchMemory,
    /// Measure Lifeboat against etcd's own tools, and print tables in Markdown.
    Bench {
        /// The `lifeboat` to measure.
        #[arg(long, default_value = "target/release/lifeboat")]
        lifeboat: PathBuf,
        /// Measure only this.
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
        Command::TouchMemory => {
            bench::touch_memory();
            ExitCode::SUCCESS
        }
        Command::Bench { lifeboat, only } => report(
            absolute(&lifeboat).and_then(|path| bench::run(&path, only)).map(|table| print!("{table}")),
        ),
    }
}

/// An absolute path, since the program is run from other directories.
fn absolute(program: &Path) -> anyhow::Result<PathBuf> {
    fs_err::canonicalize(program).context("find lifeboat (build it with: cargo build --release)")
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

/// Prints one line for a peer; returns whether it is missing.
fn show(name: &str, peer: Result<&Path, &Unavailable>, begin: Instant) -> bool {
    match peer {
        Ok(path) => println!("{name}\t{}\t{:.1?}", path.display(), begin.elapsed()),
        Err(missing) => println!("{name}\tunavailable: {}", missing.why),
    }
    peer.is_err()
}
