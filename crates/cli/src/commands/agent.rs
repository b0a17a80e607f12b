//! `lifeboat agent`: what another Lifeboat asks the copy that it has sent to a machine. Answers are JSON of the types in
//! `lifeboat_recovery::facts`, which the same build reads: no interface for others.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use lifeboat_recovery::agent::{LogPlace, answer};
use serde::Serialize;

use crate::exit::Status;
use crate::output;

/// Answer another Lifeboat, on a machine that it recovers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    request: Request,
}

#[derive(Debug, Subcommand)]
enum Request {
    /// What a stopped member's data dir holds.
    DataDir {
        data_dir: PathBuf,
        #[arg(long, value_name = "DIR")]
        wal_dir: Option<PathBuf>,
        /// The member's service says that its log is there: it is damage if it is missing.
        #[arg(long)]
        wal_expected: bool,
    },
    /// How far the log of a data dir goes, whether an etcd runs on it or not.
    Log {
        data_dir: PathBuf,
        #[arg(long, value_name = "DIR")]
        wal_dir: Option<PathBuf>,
    },
}

pub fn run(args: &Args) -> Result<Status> {
    match &args.request {
        Request::DataDir { data_dir, wal_dir, wal_expected } => {
            let place = if *wal_expected { LogPlace::Known } else { LogPlace::Unknown };
            print(&answer::data_dir(data_dir, wal_dir.as_deref(), place))
        }
        Request::Log { data_dir, wal_dir } => print(&answer::log(data_dir, wal_dir.as_deref())),
    }
}

fn print(answer: &impl Serialize) -> Result<Status> {
    output::write_all(&serde_json::to_vec(answer)?)?;
    Ok(Status::Ok)
}
