//! `lifeboat`: recovers a broken self-managed Kubernetes cluster.
//!
//! Parses the command line, runs a command, and maps errors to exit codes. A command's file holds its arguments and
//! renders what the library crates return.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod atomic_file;
mod cli;
mod commands;
mod connection;
mod exit;
mod inventory;
mod log_file;
mod observe;
mod output;
mod progress;
mod source;
mod styles;
mod suggestions;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// Disables core dumps: keys, passwords and all Secrets of a cluster pass through this process.
fn disable_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // Best effort: the kernel may refuse.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn main() -> ExitCode {
    disable_core_dumps();
    // Two TLS providers in one process make rustls panic at first use unless one is selected.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::try_parse().unwrap_or_else(|error| suggestions::suggest(error).exit());
    match cli.run() {
        Ok(status) => status.into(),
        Err(error) => {
            tracing::error!(error = ?format!("{error:#}"), "lifeboat fails");
            exit::report(&error)
        }
    }
}
