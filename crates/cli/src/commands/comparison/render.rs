//! The text output of a comparison.

use std::io::{self, Write};

use lifeboat_etcd::compare::{Changes, Divergence, Relation};

use super::Compared;
use super::text::{counted, diverged, printable_key};
use crate::terminal::printable;

/// Keys listed that one source has and another lacks; `-o json` lists more.
const MAX_KEYS: usize = 10;
const HEADINGS: [&str; 9] = ["", "source", "kind", "revision", "compacted", "keys", "raft", "log to", "hash"];

impl Compared {
    /// Writes a row for each source, how each relates to the freshest, and which one a restore would use.
    pub fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        self.rows(out)?;
        writeln!(out)?;
        for place in self.comparison.ranking.iter().copied().chain(self.unranked()) {
            writeln!(out, "{}.", printable(self.sentence(place).as_bytes()))?;
            self.lists(out, place)?;
        }
        self.diverged_pairs(out)?;
        self.verdict(out)
    }

    /// The sources that are not usable.
    fn unranked(&self) -> impl Iterator<Item = usize> {
        (0..self.names.len()).filter(|place| !self.comparison.ranking.contains(place))
    }

    fn rows(&self, out: &mut dyn Write) -> io::Result<()> {
        let common = self.comparison.hashes.iter().flatten().next();
        let mut headings = HEADINGS.map(str::to_owned);
        if let (Some(hash), Some(heading)) = (common, headings.last_mut()) {
            *heading = format!("hash at {}", hash.hash_revision);
        }
        let ranked = self.comparison.ranking.iter().enumerate();
        let mut rows = vec![headings];
        rows.extend(ranked.map(|(rank, place)| self.row((rank + 1).to_string(), *place)));
        rows.extend(self.unranked().map(|place| self.row("-".into(), place)));
        let widths: [usize; 9] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
        for row in rows {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                3..=5 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    fn row(&self, rank: String, place: usize) -> [String; 9] {
        let none = || "-".to_owned();
        let name = printable(self.names[place].as_bytes());
        let position = |term: Option<u64>, index: Option<u64>| {
            let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
            format!("{}, {}", number(term), number(index))
        };
        let Some(inspection) = &self.comparison.sources[place].inspection else {
            let log = self.logs[place].map(|log| position(Some(log.log.last_term), Some(log.log.last_index)));
            return [rank, name, none(), none(), none(), none(), none(), log.unwrap_or_else(none), none()];
        };
        let state = &inspection.state;
        let log = inspection.raft.map(|raft| position(Some(raft.log.last_term), Some(raft.log.last_index)));
        let hash = self.comparison.hashes[place].map(|hash| hash.hash.to_string());
        [
            rank,
            name,
            inspection.origin.kind.into(),
            inspection.revision.to_string(),
            state.compact_revision().map_or_else(|| "never".into(), |revision| revision.to_string()),
            inspection.live_keys.to_string(),
            position(state.term, state.consistent_index),
            log.unwrap_or_else(none),
            hash.unwrap_or_else(none),
        ]
    }

    /// Lists what the freshest has and a source lacks, and vice versa, unless they have nothing in common.
    fn lists(&self, out: &mut dyn Write, place: usize) -> io::Result<()> {
        let differences = &self.comparison.differences;
        let Some(difference) = differences.iter().find(|difference| difference.source == place) else {
            return Ok(());
        };
        let Some(freshest) = self.comparison.ranking.first().copied() else { return Ok(()) };
        match self.comparison.relation(freshest, place) {
            Some(Relation::Diverged(Divergence { shared: 0, .. })) => Ok(()),
            Some(Relation::Diverged(_)) => {
                writeln!(out, "  It lacks {}:", counted(&difference.lacks))?;
                list(out, &difference.lacks)?;
                writeln!(out, "  Only it has {}:", counted(&difference.alone))?;
                list(out, &difference.alone)
            }
            _ => list(out, &difference.lacks),
        }
    }

    /// How the sources that diverge from the freshest relate to each other.
    fn diverged_pairs(&self, out: &mut dyn Write) -> io::Result<()> {
        let freshest = self.comparison.ranking.first();
        for pair in &self.comparison.pairs {
            let [one, other] = pair.sources.map(|place| &self.names[place]);
            let both_diverged = pair.sources.iter().all(|place| self.history(*place) == Some("diverged"));
            match &pair.relation {
                _ if pair.sources.iter().any(|place| Some(place) == freshest) => {}
                Relation::Diverged(divergence) => writeln!(out, "{}.", diverged([other, one], divergence))?,
                Relation::Agree { .. } if both_diverged => writeln!(out, "{other} agrees with {one}.")?,
                _ => {}
            }
        }
        Ok(())
    }

    fn verdict(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out)?;
        for sentence in self.committed().into_iter().chain(self.left_out()).chain(self.mixed_clusters()) {
            writeln!(out, "{}.", printable(capitalized(&sentence).as_bytes()))?;
        }
        match self.choose() {
            Ok(place) => writeln!(out, "A restore would use {}.", self.names[place]),
            Err(why) => writeln!(out, "A restore cannot choose between these: {}.", self.undecided(&why)),
        }
    }
}

/// Capitalizes a sentence, unless it starts with a path.
fn capitalized(sentence: &str) -> String {
    ["the ", "these "]
        .into_iter()
        .find(|start| sentence.starts_with(start))
        .map_or_else(|| sentence.to_owned(), |_| sentence[..1].to_uppercase() + &sentence[1..])
}

fn list(out: &mut dyn Write, changes: &Changes) -> io::Result<()> {
    for (key, change) in changes.keys.iter().take(MAX_KEYS) {
        let how = if change.deleted { "deleted" } else { "put" };
        writeln!(out, "  {:>12}  {how:7}  {}", change.revision, printable_key(key))?;
    }
    if changes.keys.len() > MAX_KEYS {
        writeln!(out, "  and {} more keys: -o json lists them", changes.keys.len() - MAX_KEYS)?;
    }
    if !changes.complete {
        let and = if changes.keys.is_empty() { "" } else { "and " };
        writeln!(
            out,
            "  {and}changes removed by compaction: deletions, and values that were overwritten since"
        )?;
    }
    Ok(())
}
