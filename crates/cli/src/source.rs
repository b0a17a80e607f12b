//! Opening the sources that verbs read.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lifeboat_etcd::{
    Base, Bases, ContentSummary, Inspection, NoProgress, Replay, Severity, Source, inspect, is_data_dir,
    newer_data, open, open_on, salvage_on,
};

use crate::exit::{Unreadable, Usage};
use crate::terminal::{printable, stderr_line};

/// Flags that say how to read a data dir.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Apply the whole log of a data dir, including entries not known to be committed. Use it for the member that
    /// stopped last, whose clients may rely on them. Not needed for a single-member cluster, or if the data dirs of a
    /// majority of the members are read together.
    #[arg(long)]
    pub uncommitted: bool,

    /// Read the log of a data dir on top of this snapshot or db of the same cluster, instead of the data dir's own db.
    /// Fails unless they belong together and the log has all entries between them.
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
}

impl ReplayArgs {
    /// Opens a source, and warns about its log and about files next to it that have more. The log is in `wal_dir`, if
    /// etcd ran with `--wal-dir`.
    pub fn open(&self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let opened = self.open_without_siblings(source, wal_dir)?;
        warn_if_incomplete(source)?;
        Ok(opened)
    }

    /// As [`open`](Self::open), without the warning about files next to the source.
    pub fn open_without_siblings(&self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let opened = self.open_quietly(source, wal_dir)?;
        warn(opened.as_ref());
        match opened.unusable() {
            Some(kind) => {
                let kind = kind.clone();
                drop(opened);
                Err(Unreadable { alternatives: describe(self.alternatives(source, wal_dir, &[])), kind }
                    .into())
            }
            None => Ok(opened),
        }
    }

    /// Opens a source without warnings, for a verb that reports them itself.
    pub fn open_quietly(&self, source: &Path, wal_dir: Option<&Path>) -> Result<Box<dyn Source>> {
        let is_dir = is_data_dir(source)?;
        for (given, flag) in [
            (self.uncommitted, "--uncommitted"),
            (wal_dir.is_some(), "a WAL dir"),
            (self.base.is_some(), "--base"),
        ] {
            if given && !is_dir {
                return Err(Usage(format!("{flag} requires a data dir; other sources have no log")).into());
            }
        }
        Ok(open_on(source, self.replay(is_dir), wal_dir, self.bases())?)
    }

    /// Opens one of several sources, which need not all be data dirs. `counted` is how far its log counts, unless
    /// `--uncommitted` is given. If a data dir's own db cannot be used, its log is read on top of one of the others.
    pub fn open_any(
        &self,
        source: &Path,
        others: &[&Path],
        counted: Replay,
    ) -> lifeboat_etcd::Result<Box<dyn Source>> {
        let replay = match self.replay(is_data_dir(source)?) {
            Replay::Committed => counted,
            whole_log => whole_log,
        };
        let opened = open_on(source, replay, None, Bases::OwnOr(others))?;
        warn(opened.as_ref());
        warn_if_incomplete(source)?;
        Ok(opened)
    }

    /// How much of a log to apply.
    pub fn replay(&self, is_dir: bool) -> Replay {
        if self.uncommitted && is_dir { Replay::WholeLog } else { Replay::Committed }
    }

    /// The states that a log may be read on top of.
    pub fn bases(&self) -> Bases<'_> {
        self.base.as_deref().map_or(Bases::Own, Bases::Only)
    }

    /// What can be done with a data dir that cannot be read. Its log may be read on top of one of `others`.
    pub fn alternatives(
        &self,
        data_dir: &Path,
        wal_dir: Option<&Path>,
        others: &[&Path],
    ) -> Vec<Alternative> {
        let db = data_dir.join("member").join("snap").join("db");
        let salvaged =
            salvage_on(data_dir, self.replay(true), wal_dir, Bases::OwnOr(others), &NoProgress).ok();
        let salvaged = salvaged.and_then(|(salvaged, _)| inspect(&salvaged, &NoProgress).ok());
        let alone = open(&db).ok().and_then(|db| inspect(db.as_ref(), &NoProgress).ok());
        let base = salvaged.as_ref().and_then(|held| match &held.origin.base {
            Some(Base::At(base)) => Some(format!(" --base {}", base.display())),
            _ => None,
        });
        let salvage = format!("lifeboat salvage {} OUT{}", data_dir.display(), base.unwrap_or_default());
        let db_only = format!("the db without its log, {} (restore: --db-only)", db.display());
        let alternatives = [(salvaged, salvage), (alone, db_only)];
        alternatives.into_iter().filter_map(|(held, what)| Some(Alternative::new(what, &held?))).collect()
    }
}

/// Something that can be done instead, and the data it keeps.
pub struct Alternative {
    what: String,
    held: ContentSummary,
}

impl Alternative {
    pub fn new(what: String, held: &Inspection) -> Self {
        Self { what, held: ContentSummary { keys: held.live_keys, revision: held.revision } }
    }
}

/// Alternatives as text; what keeps the most data comes first.
pub fn describe(mut alternatives: Vec<Alternative>) -> Vec<String> {
    alternatives.sort_by_key(|alternative| Reverse(alternative.held.revision));
    let line =
        |Alternative { what, held }| format!("{what}: {} keys, up to revision {}", held.keys, held.revision);
    alternatives.into_iter().map(line).collect()
}

/// [`Origin::combination`](lifeboat_etcd::Origin::combination) of a source, for a terminal.
pub fn combination(source: &dyn Source) -> Option<String> {
    let text = source.origin().combination(source.raft()?)?;
    Some(printable(text.as_bytes()))
}

/// Warns if a db file lacks its member's log, or a full snapshot its deltas.
pub fn warn_if_incomplete(source: &Path) -> lifeboat_etcd::Result<()> {
    if let Some(lacking) = newer_data(source)? {
        stderr_line(format_args!("warning: {}: {lacking}", source.display()));
    }
    Ok(())
}

/// Warns about the log of a source that can be used nevertheless.
fn warn(source: &dyn Source) {
    for kind in source.notes().iter().filter(|kind| kind.severity() > Severity::Note) {
        let path = source.origin().path.display().to_string();
        let path = printable(path.as_bytes());
        stderr_line(format_args!("warning: {path}: {kind}; {}", kind.remedy()));
    }
}
