//! The sources that verbs read.

use std::path::Path;

use anyhow::Result;
use lifeboat_etcd::{LogBeside, Replay, Severity, Source, deltas_beside, is_data_dir, open_with};

use crate::exit::Usage;
use crate::terminal::{printable, stderr_line};

/// How far the log of a source counts that is a data dir.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ReplayArgs {
    /// Take in all of a data dir's log, also what is not known to be committed: right for the last of the members that
    /// ran, whose clients may count on it. Not needed for the only member of a cluster, nor where the data dirs of a
    /// majority of the members are read together.
    #[arg(long)]
    pub uncommitted: bool,
}

impl ReplayArgs {
    /// Opens a source, and warns of what a person should know of its log; that is in `wal_dir`, if etcd ran with
    /// `--wal-dir`.
    pub fn open(self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let opened = self.open_noted(source, wal_dir)?;
        warn_of_what_is_beside(source)?;
        Ok(opened)
    }

    /// As [`open`](Self::open), for a verb that looks at the log beside a db file by itself.
    pub fn open_noted(self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let opened = self.open_unwarned(source, wal_dir)?;
        warn(opened.as_ref());
        Ok(opened)
    }

    /// Opens a source whose log is going to be checked.
    pub fn open_unwarned(self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let is_dir = is_data_dir(source)?;
        for (given, flag) in [(self.uncommitted, "--uncommitted"), (wal_dir.is_some(), "a WAL dir")] {
            if given && !is_dir {
                return Err(Usage(format!("{flag} is for a data dir: other sources have no log")).into());
            }
        }
        Ok(open_with(source, self.replay(is_dir), wal_dir)?)
    }

    /// Opens one of several sources, which need not all be data dirs. `counted` is how far its log counts, unless all of
    /// it is asked for.
    pub fn open_any(self, source: &Path, counted: Replay) -> lifeboat_etcd::Result<Box<dyn Source>> {
        let replay = match self.replay(is_data_dir(source)?) {
            Replay::Committed => counted,
            asked => asked,
        };
        let opened = open_with(source, replay, None)?;
        warn(opened.as_ref());
        warn_of_what_is_beside(source)?;
        Ok(opened)
    }

    fn replay(self, is_dir: bool) -> Replay {
        if self.uncommitted && is_dir { Replay::WholeLog } else { Replay::Committed }
    }
}

/// Says that a db file is not all that its member had, nor a full snapshot all that was backed up.
pub fn warn_of_what_is_beside(source: &Path) -> lifeboat_etcd::Result<()> {
    if let Some(lacking) = lacking(source)? {
        stderr_line(format_args!("warning: {}: {lacking}", source.display()));
    }
    Ok(())
}

/// What a file lacks that lies beside it, as a sentence.
pub fn lacking(source: &Path) -> lifeboat_etcd::Result<Option<String>> {
    if let Some(log) = LogBeside::of(source)? {
        return Ok(Some(log.to_string()));
    }
    let deltas = deltas_beside(source)?;
    Ok((deltas > 0).then(|| {
        format!("{deltas} delta snapshots beside it go on from it and are not read here; `etcdbrctl restore` applies them")
    }))
}

/// Says on stderr what is worth knowing of a source's log and is no reason not to use it.
fn warn(source: &dyn Source) {
    for kind in source.notes().iter().filter(|kind| kind.severity() > Severity::Note) {
        let path = source.origin().path.display().to_string();
        let path = printable(path.as_bytes());
        stderr_line(format_args!("warning: {path}: {kind}; {}", kind.remedy()));
    }
}
