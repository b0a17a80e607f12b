//! `lifeboat`: brings a broken self-managed Kubernetes cluster back.
//!
//! Parses, dispatches to a command, maps its error to an exit code. A command file holds its arguments and
//! formats what the crates below decide.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod atomic_file;
mod cli;
mod commands;
mod comparison;
mod connection;
mod exit;
mod inventory;
mod observe;
mod output;
mod progress;
mod source;
mod styles;
mod suggestions;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// Keys, passwords and every Secret of a cluster pass through this process: none of it may end in a core dump.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // Where the kernel does not let us, nothing is worse than before.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn main() -> ExitCode {
    keep_memory_private();
    // Two TLS providers in one process make rustls panic at first use: name the one we link.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::try_parse().unwrap_or_else(|error| suggestions::suggest(error).exit());
    match commands::run(cli) {
        Ok(status) => status.into(),
        Err(error) => exit::report(&error),
    }
}
