//! The results of all rounds, as ratios.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::measure::Measured;
use super::replay;

/// Each ratio, with the most that it may be.
const RATIOS: [(&str, &str, &str); 9] = [
    ("lifeboat restore", "etcdutl restore", "0.5"),
    ("lifeboat restore, 3 members", "lifeboat restore", "1.5"),
    ("first read, lifeboat's dir", "first read, etcdutl's dir", "0.6"),
    ("lifeboat check", "etcdutl status", "1.0"),
    (replay::LOG.ours, replay::THEIRS, "1.0"),
    (replay::DATA_DIR.ours, replay::THEIRS, "0.5"),
    ("lifeboat restore", "cp", ""),
    ("lifeboat check", "sha256sum", ""),
    ("etcdutl restore", "cp", ""),
];

#[derive(Debug, Default)]
pub(super) struct Table {
    names: Vec<&'static str>,
    rounds: Vec<BTreeMap<&'static str, Measured>>,
}

impl Table {
    pub(super) fn add(&mut self, results: Vec<(&'static str, Measured)>) {
        self.names = results.iter().map(|(name, _)| *name).collect();
        self.rounds.push(results.into_iter().collect());
    }

    /// The median time of a command, in seconds.
    pub(super) fn median(&self, name: &str) -> Option<f64> {
        let seconds = self.rounds.iter().filter_map(|round| Some(round.get(name)?.wall.as_secs_f64()));
        Some(min_and_median(seconds.collect()).1).filter(|median| median.is_finite())
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("| command | min s | median s | peak MiB |\n|---|---|---|---|\n");
        for name in &self.names {
            let seconds = self.rounds.iter().filter_map(|round| Some(round.get(name)?.wall.as_secs_f64()));
            let peak =
                self.rounds.iter().filter_map(|round| Some(round.get(name)?.peak_rss)).max().unwrap_or(0);
            let peak = if peak == 0 { String::new() } else { format!("{:.1}", peak as f64 / 1_048_576.0) };
            let (min, median) = min_and_median(seconds.collect());
            let _ = writeln!(text, "| {name} | {min:.2} | {median:.2} | {peak} |");
        }
        text.push_str("\n| ratio, within a round | min | median | at most |\n|---|---|---|---|\n");
        for (ours, theirs, limit) in RATIOS.into_iter().filter(|(ours, ..)| self.names.contains(ours)) {
            let ratios = self.rounds.iter().filter_map(|round| {
                Some(round.get(ours)?.wall.as_secs_f64() / round.get(theirs)?.wall.as_secs_f64())
            });
            let (min, median) = min_and_median(ratios.collect());
            let _ = writeln!(text, "| {ours} / {theirs} | {min:.2} | {median:.2} | {limit} |");
        }
        text
    }
}

fn min_and_median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    (values.first().copied().unwrap_or(f64::NAN), median)
}
