//! Comparison of several sources.

mod choice;
mod render;
mod text;
mod view;

use std::path::{Path, PathBuf};

use anyhow::Result;
use lifeboat_etcd::compare::{Comparison, Ineligible, RankedSource, Relation};
use lifeboat_etcd::{LogPosition, Majority, Replay, Source, compare, log_position_past_damage, majorities};

use crate::commands::Context;
use crate::commands::remote::{local_only, member_name};
use crate::exit::Usage;
use crate::source::ReplayArgs;
pub use view::ComparisonView;

/// Sources that were compared.
pub struct Compared {
    /// Their names on the command line.
    names: Vec<String>,
    sources: Vec<Result<Box<dyn Source>, Ineligible>>,
    comparison: Comparison,
    /// How far the logs go, for data dirs that cannot be read otherwise.
    logs: Vec<Option<LogPosition>>,
    /// What the logs together prove to be committed.
    majorities: Vec<Majority>,
    /// How they are read.
    replay: ReplayArgs,
}

impl Compared {
    /// Opens and compares sources. A damaged one is reported as damaged. One that does not exist, or that an etcd
    /// runs in, is an error, since it could change the result.
    pub fn new(first: &Path, others: &[PathBuf], replay: &ReplayArgs, context: &Context) -> Result<Self> {
        let paths: Vec<&Path> = std::iter::once(first).chain(others.iter().map(PathBuf::as_path)).collect();
        for (index, path) in paths.iter().enumerate() {
            if let Some(name) = member_name(path) {
                return Err(local_only("a comparison", name));
            }
            if paths.iter().take(index).any(|other| other == path) {
                return Err(Usage(format!("{} is given twice", path.display())).into());
            }
        }
        let (counted, majorities) = majorities(&paths)?;
        let sources: Vec<_> = paths
            .iter()
            .zip(counted)
            .map(|(path, counted)| {
                let bases: Vec<&Path> = paths.iter().copied().filter(|other| other != path).collect();
                opened(path, &bases, replay, counted)
            })
            .collect::<Result<_>>()?;
        let is_dir = |source: &Result<Box<dyn Source>, Ineligible>| {
            source.as_ref().is_ok_and(|source| source.raft().is_some())
        };
        if replay.uncommitted && !sources.iter().any(is_dir) {
            return Err(Usage("--uncommitted requires a data dir; other sources have no log".into()).into());
        }
        let given: Vec<_> =
            sources.iter().map(|source| source.as_deref().map_err(Ineligible::clone)).collect();
        let comparison = compare(&given, &context.progress)?;
        drop(given);
        context.progress.finish();
        let log = |(path, standing): (&&Path, &RankedSource)| match &standing.inspection {
            Some(_) => None,
            // Why it cannot be read is reported anyway.
            None => log_position_past_damage(path).ok(),
        };
        let logs = paths.iter().zip(&comparison.sources).map(log).collect();
        let names = paths.iter().map(|path| path.display().to_string()).collect();
        Ok(Self { names, sources, comparison, logs, majorities, replay: replay.clone() })
    }

    /// Whether all sources are usable, no two histories diverge, and the choice for a restore is clear.
    pub fn is_clear(&self) -> bool {
        let Comparison { sources, pairs, .. } = &self.comparison;
        sources.iter().all(|source| source.ineligible.is_none())
            && !pairs.iter().any(|pair| matches!(pair.relation, Relation::Diverged(_)))
            && self.choose().is_ok()
    }
}

fn opened(
    path: &Path,
    bases: &[&Path],
    replay: &ReplayArgs,
    counted: Replay,
) -> Result<Result<Box<dyn Source>, Ineligible>> {
    match replay.open_any(path, bases, counted) {
        Ok(source) => Ok(Ok(source)),
        Err(error) => Ok(Err(Ineligible::of(error)?)),
    }
}
