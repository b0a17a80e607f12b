//! A comparison in words.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lifeboat_etcd::{Change, Changes, ClusterId, Divergence, Majority, NoChoice, Relation};

use super::Compared;
use super::choice::Undecided;
use crate::source::combination;
use crate::terminal::printable;

/// Bytes of a key shown at most.
const MOST_SHOWN: usize = 200;

impl Compared {
    /// What a source's history is to the freshest one's, for programs.
    pub(super) fn history(&self, place: usize) -> Option<&'static str> {
        let freshest = self.comparison.ranking.first()?;
        if place == *freshest {
            return Some("freshest");
        }
        self.comparison.relation(*freshest, place).map(named)
    }

    /// Why a source was taken, and what the others are.
    pub fn because(&self, taken: &str) -> Vec<String> {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for (place, name) in self.names.iter().enumerate() {
            let is_taken = name == taken;
            let asked = is_taken && self.history(place) != Some("freshest");
            let asked = if asked { "; taken as asked" } else { "" };
            lines.push((!is_taken, self.sentence(place) + asked));
        }
        lines.sort_by_key(|(is_other, _)| *is_other);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// What the log of a source ends with that no source counts, where no source shows what became of that; of several the
    /// one that goes furthest.
    pub fn left_out(&self) -> Option<String> {
        let position = |place: &usize| {
            let raft = self.comparison.standings[*place].inspection.as_ref()?.raft?;
            Some((raft.last(), Reverse(raft.uncommitted_entries()), *place))
        };
        let open = self.comparison.ranking.iter().filter(|place| !self.comparison.is_end_decided(**place));
        let uncounted = open.filter_map(position).filter(|(_, Reverse(entries), _)| *entries > 0);
        let (_, Reverse(entries), place) = uncounted.max()?;
        let (name, entries) =
            (&self.names[place], if entries == 1 { "1 entry".into() } else { format!("{entries} entries") });
        Some(format!(
            "the log of {name} ends with {entries} not known to be committed and not counted; clients may count on that where \
             no other member had a longer log: --uncommitted takes it in"
        ))
    }

    /// What the logs of a majority of the voters show to be committed, where that is more than each says for itself.
    pub fn committed(&self) -> Vec<String> {
        let words = |majority: &Majority| {
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
        // Of one that cannot be read, it is said that its log runs further.
        let is_fit = |majority: &&Majority| self.comparison.ranking.contains(&majority.place);
        self.majorities.iter().filter(is_fit).map(words).collect()
    }

    /// That the sources are of several clusters, whose members refuse each other.
    pub fn apart(&self) -> Option<String> {
        let clusters = self.clusters();
        let named = clusters.iter().map(|(id, names)| format!("{id} ({})", names.join(", ")));
        (clusters.len() > 1).then(|| {
            format!(
                "these belong to {} clusters and will not join each other: {}; restore all members from one of them, \
                 with one token",
                clusters.len(),
                named.collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// The clusters that data dirs are of, by id, with their names.
    pub(super) fn clusters(&self) -> BTreeMap<String, Vec<String>> {
        let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (place, name) in self.names.iter().enumerate() {
            if let Some(id) = self.cluster_of(place) {
                clusters.entry(id.to_string()).or_default().push(name.clone());
            }
        }
        clusters
    }

    /// The cluster that a data dir is of.
    fn cluster_of(&self, place: usize) -> Option<ClusterId> {
        let inspection = self.comparison.standings[place].inspection.as_ref();
        let raft = inspection.and_then(|inspection| inspection.raft).map(|raft| raft.cluster_id);
        raft.or(self.logs[place].map(|log| log.cluster_id))
    }

    /// Why no source is taken without asking.
    pub(super) fn undecided(&self, why: &Undecided) -> String {
        let why = match why {
            Undecided::NoChoice(why) => why,
            Undecided::LogsLeftOut { taken, of } => return self.left_behind(*taken, of),
        };
        let sentences = |places: &[usize]| {
            places.iter().map(|place| self.sentence(*place)).collect::<Vec<_>>().join("; ")
        };
        match why {
            NoChoice::NoneFit => {
                let all: Vec<usize> = (0..self.names.len()).collect();
                format!("no source is fit to be taken: {}", sentences(&all))
            }
            NoChoice::Diverged { freshest, from } => {
                format!("{}, but {}", self.sentence(*freshest), sentences(from))
            }
            NoChoice::Unknown { freshest, from } => format!(
                "{}, but whether it goes on from every other cannot be told: {}",
                self.sentence(*freshest),
                sentences(from)
            ),
        }
    }

    /// What a source is, beside the freshest.
    pub(super) fn sentence(&self, place: usize) -> String {
        let name = &self.names[place];
        if let Some(unfit) = &self.comparison.standings[place].unfit {
            let further = self.runs_further(place).unwrap_or_default();
            return format!("{name} is not fit to be taken: {unfit}; {}{further}", unfit.remedy());
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
                format!("{name} has nothing in common with {first} that is left to be compared")
            }
            Some(Relation::Diverged(Divergence { shared: 0, .. })) => {
                format!("{name} has no revision in common with {first}: it is of another history")
            }
            Some(Relation::Diverged(divergence)) => diverged([name, first], divergence),
        }
    }

    /// That the log of a source which is not fit goes further than any which is.
    fn runs_further(&self, place: usize) -> Option<String> {
        let log = self.longer_log(place)?;
        Some(format!(
            ". Its log runs to entry {} of term {}, further than any other here: it may hold changes that none of them has; \
             lifeboat salvage takes what it still holds",
            log.last_index, log.last_term
        ))
    }

    fn earlier(&self, place: usize, freshest: usize, whole: bool) -> String {
        let (name, first) = (&self.names[place], &self.names[freshest]);
        let lacks = self.lacks(place).map(counted);
        let missing = lacks.map(|lacks| format!(", and lacks {lacks}")).unwrap_or_default();
        let elsewhere = match self.comparison.is_one_cluster(freshest, place) {
            true => "",
            false => "; they have no member in common, as after a restore in between",
        };
        match (whole, missing.as_str()) {
            (true, "") => match (self.cluster_of(place), self.cluster_of(freshest)) {
                (Some(own), Some(other)) if own != other => {
                    format!("{name} holds the same keys as {first}, and is of another cluster, {own}")
                }
                _ => format!("{name} holds the same as {first}"),
            },
            (true, _) => format!("{name} is an earlier state of {first}{missing}"),
            (false, _) => format!(
                "{name} is an earlier state of {first} as far as can be seen, which is compacted beyond it{missing}{elsewhere}"
            ),
        }
    }

    /// What the freshest has and a source lacks, if anything.
    fn lacks(&self, place: usize) -> Option<&Changes> {
        let difference = self.comparison.differences.iter().find(|difference| difference.source == place)?;
        (difference.lacks.revisions > 0).then_some(&difference.lacks)
    }
}

/// The second of the two is the first that was compared.
pub(super) fn diverged([name, first]: [&String; 2], divergence: &Divergence) -> String {
    let [theirs, own] = divergence.changes.each_ref().map(Option::as_ref);
    let at = match divergence.exact {
        true => format!("at revision {}", divergence.revision),
        false => format!("at a revision that is compacted away (first seen at {})", divergence.revision),
    };
    format!("{name} DIVERGED from {first} {at}: there it {}, and {first} {}", does(own), does(theirs))
}

/// What a source does at a revision.
fn does(change: Option<&Change>) -> String {
    match change {
        None => "has nothing left".into(),
        Some(Change { key, deleted: true }) => format!("deletes {}", shown(key)),
        Some(Change { key, deleted: false }) => format!("puts {}", shown(key)),
    }
}

/// A relation, for programs.
pub(super) fn named(relation: &Relation) -> &'static str {
    match relation {
        Relation::Agree { whole: true } => "agrees",
        Relation::Agree { whole: false } => "agrees-in-part",
        Relation::Diverged(_) => "diverged",
        Relation::Unknown => "unknown",
    }
}

/// `12 changes of 7 keys`.
pub(super) fn counted(changes: &Changes) -> String {
    let keys = changes.keys.len();
    let (change, key) = (plural(changes.revisions, "change"), plural(keys as u64, "key"));
    let further = if changes.further_revisions > 0 { " and further ones" } else { "" };
    format!("{change} of {key}{further}")
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A key that cannot drive a terminal or fill a screen.
pub(super) fn shown(key: &[u8]) -> String {
    let start = printable(key.get(..MOST_SHOWN).unwrap_or(key));
    if key.len() > MOST_SHOWN { format!("{start}... ({} bytes)", key.len()) } else { start }
}
