//! Several sources on the command line, and what comparing them says.

mod choice;
mod render;
mod text;
mod view;

use std::path::{Path, PathBuf};

use anyhow::Result;
use lifeboat_etcd::{
    Comparison, LogPosition, Majority, Relation, Replay, Source, Standing, Unfit, compare,
    log_position_past_damage, majorities,
};

use crate::commands::Context;
use crate::commands::remote::{local_only, member};
use crate::exit::Usage;
use crate::source::ReplayArgs;
pub use view::ComparisonView;

/// Sources that were compared.
pub struct Compared {
    /// As they were named.
    names: Vec<String>,
    sources: Vec<Result<Box<dyn Source>, Unfit>>,
    comparison: Comparison,
    /// How far the logs go of data dirs that cannot be read otherwise.
    logs: Vec<Option<LogPosition>>,
    /// What the logs together show to be committed.
    majorities: Vec<Majority>,
    /// How they were read.
    replay: ReplayArgs,
}

impl Compared {
    /// Opens and compares sources. One that is damaged is told as such; one that is not there, or that an etcd runs
    /// in, ends it: with it, the answer would be another.
    pub fn new(first: &Path, others: &[PathBuf], replay: &ReplayArgs, context: &Context) -> Result<Self> {
        let paths: Vec<&Path> = std::iter::once(first).chain(others.iter().map(PathBuf::as_path)).collect();
        for (index, path) in paths.iter().enumerate() {
            if let Some(name) = member(path) {
                return Err(local_only("a comparison", name));
            }
            if paths.iter().take(index).any(|other| other == path) {
                return Err(Usage(format!("{} is named twice", path.display())).into());
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
        let is_dir = |source: &Result<Box<dyn Source>, Unfit>| {
            source.as_ref().is_ok_and(|source| source.raft().is_some())
        };
        if replay.uncommitted && !sources.iter().any(is_dir) {
            return Err(Usage("--uncommitted is for a data dir: other sources have no log".into()).into());
        }
        let given: Vec<_> = sources.iter().map(|source| source.as_deref().map_err(Unfit::clone)).collect();
        let comparison = compare(&given, &context.progress)?;
        drop(given);
        context.progress.finish();
        let log = |(path, standing): (&&Path, &Standing)| match &standing.inspection {
            Some(_) => None,
            // Whatever speaks against it is said anyway.
            None => log_position_past_damage(path).ok(),
        };
        let logs = paths.iter().zip(&comparison.standings).map(log).collect();
        let names = paths.iter().map(|path| path.display().to_string()).collect();
        Ok(Self { names, sources, comparison, logs, majorities, replay: replay.clone() })
    }

    /// Whether all sources are fit, no two histories diverge, and a restore knows which one to take.
    pub fn is_clear(&self) -> bool {
        let Comparison { standings, pairs, .. } = &self.comparison;
        standings.iter().all(|standing| standing.unfit.is_none())
            && !pairs.iter().any(|pair| matches!(pair.relation, Relation::Diverged(_)))
            && self.choose().is_ok()
    }
}

fn opened(
    path: &Path,
    bases: &[&Path],
    replay: &ReplayArgs,
    counted: Replay,
) -> Result<Result<Box<dyn Source>, Unfit>> {
    match replay.open_any(path, bases, counted) {
        Ok(source) => Ok(Ok(source)),
        Err(error) => Ok(Err(Unfit::of(error)?)),
    }
}
