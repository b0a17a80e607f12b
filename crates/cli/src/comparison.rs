//! Several sources on the command line, and what comparing them says.

mod body;
mod table;
mod words;

use std::path::{Path, PathBuf};

use anyhow::Result;
use lifeboat_etcd::{
    Comparison, LogPosition, Majority, NoChoice, Relation, Replay, Source, Standing, Unfit, compare,
    log_position, majorities,
};

use crate::commands::Context;
use crate::commands::remote::{member, only_here};
use crate::exit::{Refused, Unsound, Usage};
use crate::source::ReplayArgs;
pub use body::ComparisonBody;

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
}

impl Compared {
    /// Opens and compares sources. One that is damaged is told as such; one that is not there, or that an etcd runs
    /// in, ends it: with it, the answer would be another.
    pub fn new(first: &Path, others: &[PathBuf], replay: &ReplayArgs, context: &Context) -> Result<Self> {
        let paths: Vec<&Path> = std::iter::once(first).chain(others.iter().map(PathBuf::as_path)).collect();
        for (index, path) in paths.iter().enumerate() {
            if let Some(name) = member(path) {
                return Err(only_here("a comparison", name));
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
            None => log_position(path, None).ok(),
        };
        let logs = paths.iter().zip(&comparison.standings).map(log).collect();
        let names = paths.iter().map(|path| path.display().to_string()).collect();
        Ok(Self { names, sources, comparison, logs, majorities })
    }

    /// Whether all sources are fit, no two histories diverge, and a restore knows which one to take.
    pub fn is_clear(&self) -> bool {
        let Comparison { standings, pairs, .. } = &self.comparison;
        standings.iter().all(|standing| standing.unfit.is_none())
            && !pairs.iter().any(|pair| matches!(pair.relation, Relation::Diverged(_)))
            && self.comparison.choose().is_ok()
    }

    /// The source that was asked for, or else the freshest one, where nothing speaks against it.
    pub fn taken(&self, asked: Option<&Path>) -> Result<(&str, &dyn Source)> {
        let place = match asked {
            Some(path) => {
                let name = path.display().to_string();
                let known = self.names.iter().position(|known| *known == name);
                known.ok_or_else(|| Usage(format!("--take {name}: it is none of the sources")))?
            }
            None => self.comparison.choose().map_err(|why| self.unchosen(&why))?,
        };
        match self.sources[place].as_deref() {
            Ok(source) => Ok((&self.names[place], source)),
            Err(unfit) => Err(Unsound(format!("{}: {unfit}; {}", self.names[place], unfit.remedy())).into()),
        }
    }

    fn unchosen(&self, why: &NoChoice) -> anyhow::Error {
        let words = self.undecided(why);
        match why {
            NoChoice::NoneFit => Unsound(words).into(),
            _ => Refused(format!(
                "{words}. Which one is right is for a person to say: `lifeboat inspect` of the same sources shows what \
                 each has that another lacks, and --take SOURCE takes one"
            ))
            .into(),
        }
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
