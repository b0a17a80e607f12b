//! The sentences of a comparison.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lifeboat_etcd::compare::{Change, Changes, Divergence, NoChoice, Relation};
use lifeboat_etcd::{ClusterId, Majority};

use super::Compared;
use super::choice::Undecided;
use crate::source::combination;
use crate::terminal::printable;

/// Bytes of a key that are shown.
const MAX_KEY_BYTES: usize = 200;

impl Compared {
    /// How the history of a source relates to that of the freshest, as in JSON.
    pub(super) fn history(&self, place: usize) -> Option<&'static str> {
        let freshest = self.comparison.ranking.first()?;
        if place == *freshest {
            return Some("freshest");
        }
        self.comparison.relation(*freshest, place).map(relation_name)
    }

    /// Why a source was chosen, and how the others relate to it.
    pub fn reasons(&self, taken: &str) -> Vec<String> {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for (place, name) in self.names.iter().enumerate() {
            let is_taken = name == taken;
            let is_selected = is_taken && self.history(place) != Some("freshest");
            let selected = if is_selected { "; selected with --take" } else { "" };
            lines.push((!is_taken, self.sentence(place) + selected));
        }
        lines.sort_by_key(|(is_other, _)| *is_other);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Uncommitted entries at the end of a log that no source applies, if no source shows what became of them. Of
    /// several logs the one that goes furthest.
    pub fn left_out(&self) -> Option<String> {
        let position = |place: &usize| {
            let raft = self.comparison.sources[*place].inspection.as_ref()?.raft?;
            Some((raft.log.last(), Reverse(raft.uncommitted_entries()), *place))
        };
        let open = self.comparison.ranking.iter().filter(|place| !self.comparison.is_end_decided(**place));
        let uncounted = open.filter_map(position).filter(|(_, Reverse(entries), _)| *entries > 0);
        let (_, Reverse(entries), place) = uncounted.max()?;
        let (name, entries) =
            (&self.names[place], if entries == 1 { "1 entry".into() } else { format!("{entries} entries") });
        Some(format!(
            "the log of {name} ends with {entries} not known to be committed and ignored; if no other member had a longer log, \
             clients may rely on that: --uncommitted applies it"
        ))
    }

    /// What the logs of a majority of the voters prove to be committed, if that is more than each shows by itself.
    pub fn committed(&self) -> Vec<String> {
        let sentence = |majority: &Majority| {
            let Majority { voters, read, place, held, last, .. } = majority;
            let name = &self.names[*place];
            let beyond = match last.saturating_sub(*held) {
                0 => String::new(),
                1 => format!(
                    "; entry {last}, on fewer of them, counts too, since raft could elect this member and keep it"
                ),
                _ => format!(
                    "; entries {} to {last}, on fewer of them, count too, since raft could elect this member and keep them",
                    held + 1
                ),
            };
            format!(
                "the logs of {read} of {voters} voters hold every committed entry, and {name} has the most up-to-date one{beyond}"
            )
        };
        // For an unreadable source, its longer log is reported instead.
        let is_fit = |majority: &&Majority| self.comparison.ranking.contains(&majority.place);
        self.majorities.iter().filter(is_fit).map(sentence).collect()
    }

    /// Says that the sources belong to several clusters, whose members refuse each other.
    pub fn mixed_clusters(&self) -> Option<String> {
        let clusters = self.clusters();
        let named = clusters.iter().map(|(id, names)| format!("{id} ({})", names.join(", ")));
        (clusters.len() > 1).then(|| {
            format!(
                "these belong to {} clusters and cannot join each other: {}; restore all members from one of them, with \
                 one token",
                clusters.len(),
                named.collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// The data dirs of each cluster, by cluster id.
    pub(super) fn clusters(&self) -> BTreeMap<String, Vec<String>> {
        let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (place, name) in self.names.iter().enumerate() {
            if let Some(id) = self.cluster_of(place) {
                clusters.entry(id.to_string()).or_default().push(name.clone());
            }
        }
        clusters
    }

    /// The cluster that a data dir belongs to.
    fn cluster_of(&self, place: usize) -> Option<ClusterId> {
        let inspection = self.comparison.sources[place].inspection.as_ref();
        let raft = inspection.and_then(|inspection| inspection.raft).map(|raft| raft.log.cluster_id);
        raft.or(self.logs[place].map(|log| log.log.cluster_id))
    }

    /// Why no source is chosen.
    pub(super) fn undecided(&self, why: &Undecided) -> String {
        let why = match why {
            Undecided::NoChoice(why) => why,
            Undecided::LogsLeftOut { taken, of } => return self.left_behind(*taken, of),
        };
        let sentences = |places: &[usize]| {
            places.iter().map(|place| self.sentence(*place)).collect::<Vec<_>>().join("; ")
        };
        match why {
            NoChoice::NoneEligible => {
                let all: Vec<usize> = (0..self.names.len()).collect();
                format!("no source is usable: {}", sentences(&all))
            }
            NoChoice::Diverged { freshest, from } => {
                format!("{}, but {}", self.sentence(*freshest), sentences(from))
            }
            NoChoice::Unknown { freshest, from } => format!(
                "{}, but it cannot be determined whether it continues every other source: {}",
                self.sentence(*freshest),
                sentences(from)
            ),
        }
    }

    /// How a source relates to the freshest.
    pub(super) fn sentence(&self, place: usize) -> String {
        let name = &self.names[place];
        if let Some(unfit) = &self.comparison.sources[place].ineligible {
            let further = self.longer_log_text(place).unwrap_or_default();
            return format!("{name} is not usable: {unfit}; {}{further}", unfit.remedy());
        }
        let freshest = self.comparison.ranking.first().copied().unwrap_or(place);
        let first = &self.names[freshest];
        let combined = self.sources[place].as_ref().ok().and_then(|source| combination(source.as_ref()));
        match self.comparison.relation(freshest, place) {
            None => match combined {
                Some(combined) => format!("{name} is the freshest, read as {combined}"),
                None => format!("{name} is the freshest"),
            },
            Some(Relation::Agree { whole }) => self.earlier(place, freshest, *whole),
            Some(Relation::Unknown) => {
                format!("{name} has no revisions left in common with {first} to compare")
            }
            Some(Relation::Diverged(Divergence { shared: 0, .. })) => {
                format!("{name} has no revision in common with {first}: it has a different history")
            }
            Some(Relation::Diverged(divergence)) => diverged([name, first], divergence),
        }
    }

    /// Says that the log of an unusable source goes further than all usable ones.
    fn longer_log_text(&self, place: usize) -> Option<String> {
        let log = self.longer_log(place)?;
        Some(format!(
            ". Its log goes to entry {} of term {}, further than any other source: it may hold changes that no other has; \
             `lifeboat salvage` saves what it still holds",
            log.last_index, log.last_term
        ))
    }

    fn earlier(&self, place: usize, freshest: usize, whole: bool) -> String {
        let (name, first) = (&self.names[place], &self.names[freshest]);
        let lacks = self.lacks(place).map(counted);
        let missing = lacks.map(|lacks| format!(", and lacks {lacks}")).unwrap_or_default();
        let restored = match self.comparison.is_one_cluster(freshest, place) {
            true => "",
            false => "; they have no member in common, as after a restore",
        };
        match (whole, missing.as_str()) {
            (true, "") => match (self.cluster_of(place), self.cluster_of(freshest)) {
                (Some(own), Some(other)) if own != other => {
                    format!("{name} holds the same keys as {first}, but belongs to another cluster, {own}")
                }
                _ => format!("{name} holds the same data as {first}"),
            },
            (true, _) => format!("{name} is an earlier state of {first}{missing}"),
            (false, _) => format!(
                "{name} appears to be an earlier state of {first}, which is compacted beyond it{missing}{restored}"
            ),
        }
    }

    /// What the freshest has and a source lacks, if anything.
    fn lacks(&self, place: usize) -> Option<&Changes> {
        let difference = self.comparison.differences.iter().find(|difference| difference.source == place)?;
        (difference.lacks.revisions > 0).then_some(&difference.lacks)
    }
}

/// Where two histories diverge; the second of the two is the first that was compared.
pub(super) fn diverged([name, first]: [&String; 2], divergence: &Divergence) -> String {
    let [theirs, own] = divergence.changes.each_ref().map(Option::as_ref);
    let at = match divergence.exact {
        true => format!("at revision {}", divergence.revision),
        false => format!("at a compacted revision (first seen at {})", divergence.revision),
    };
    format!("{name} DIVERGED from {first} {at}: {name} {}, {first} {}", does(own), does(theirs))
}

/// The change that a source has at a revision.
fn does(change: Option<&Change>) -> String {
    match change {
        None => "has nothing left".into(),
        Some(Change { key, deleted: true }) => format!("deletes {}", printable_key(key)),
        Some(Change { key, deleted: false }) => format!("puts {}", printable_key(key)),
    }
}

/// The name of a relation in JSON.
pub(super) fn relation_name(relation: &Relation) -> &'static str {
    match relation {
        Relation::Agree { whole: true } => "agrees",
        Relation::Agree { whole: false } => "agrees-in-part",
        Relation::Diverged(_) => "diverged",
        Relation::Unknown => "unknown",
    }
}

/// `12 changes to 7 keys`.
pub(super) fn counted(changes: &Changes) -> String {
    let keys = changes.keys.len();
    let (change, key) = (plural(changes.revisions, "change"), plural(keys as u64, "key"));
    let further = if changes.further_revisions > 0 { " and more" } else { "" };
    format!("{change} to {key}{further}")
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A key, escaped and shortened.
pub(super) fn printable_key(key: &[u8]) -> String {
    let start = printable(key.get(..MAX_KEY_BYTES).unwrap_or(key));
    if key.len() > MAX_KEY_BYTES { format!("{start}... ({} bytes)", key.len()) } else { start }
}
