//! The source that a verb reads.

use std::path::{Path, PathBuf};

use anyhow::Result;
use lifeboat_etcd::{Replay, Source, open_with};

use crate::exit::Usage;

/// A source on the command line.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// Snapshot, db file, or the data dir of a stopped member.
    source: PathBuf,

    /// Take in all of a data dir's log, also what the member did not know to be committed: right for the last of
    /// the members that ran, whose clients may count on it.
    #[arg(long)]
    uncommitted: bool,
}

impl SourceArgs {
    /// Opens it; its log is in `wal_dir`, if etcd ran with `--wal-dir`.
    pub fn open(&self, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        for (given, flag) in [(self.uncommitted, "--uncommitted"), (wal_dir.is_some(), "a WAL dir")] {
            if given && self.source.is_file() {
                return Err(Usage(format!("{flag} is for a data dir: other sources have no log")).into());
            }
        }
        let replay = if self.uncommitted { Replay::WholeLog } else { Replay::Committed };
        Ok(open_with(&self.source, replay, wal_dir)?)
    }

    /// The same of another path.
    pub fn at(&self, path: &Path) -> Self {
        Self { source: path.into(), uncommitted: self.uncommitted }
    }

    /// As it was named.
    pub fn name(&self) -> String {
        self.source.display().to_string()
    }
}
