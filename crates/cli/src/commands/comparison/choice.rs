//! Which of several sources a restore uses, and when it has to be selected.

use std::path::Path;

use anyhow::Result;
use lifeboat_etcd::compare::NoChoice;
use lifeboat_etcd::wal::LogStatus;
use lifeboat_etcd::{EntryId, RaftPosition, Source, State, keys_in_log};

use super::Compared;
use super::text::printable_key;
use crate::exit::{Refused, Unusable, Usage, WouldLoseData};
use crate::source::{Alternative, describe};

/// Keys listed for a log that would be left out.
const MAX_NAMED: usize = 5;

/// Why no source is chosen.
pub(super) enum Undecided {
    NoChoice(NoChoice),
    /// The logs of these damaged sources go further than the source that would be chosen.
    LogsLeftOut {
        taken: usize,
        of: Vec<usize>,
    },
}

impl Compared {
    /// The source selected with `--take`, or the freshest one if the choice is clear.
    pub fn taken(&self, asked: Option<&Path>) -> Result<(&str, &dyn Source)> {
        let place = match asked {
            Some(path) => {
                let name = path.display().to_string();
                let known = self.names.iter().position(|known| *known == name);
                known.ok_or_else(|| Usage(format!("--take {name}: not one of the sources")))?
            }
            None => self.choose().map_err(|why| self.unchosen(&why))?,
        };
        match self.sources[place].as_deref() {
            Ok(source) => Ok((&self.names[place], source)),
            Err(unfit) => Err(Unusable(format!("{}: {unfit}; {}", self.names[place], unfit.remedy())).into()),
        }
    }

    /// The source that a restore uses by default.
    pub(super) fn choose(&self) -> Result<usize, Undecided> {
        let taken = self.comparison.choose().map_err(Undecided::NoChoice)?;
        let of: Vec<usize> = match self.has_all_committed(taken) {
            true => Vec::new(),
            false => (0..self.names.len()).filter(|place| self.longer_log(*place).is_some()).collect(),
        };
        if of.is_empty() { Ok(taken) } else { Err(Undecided::LogsLeftOut { taken, of }) }
    }

    /// Whether the logs of a majority of the voters prove that a source has every committed entry.
    fn has_all_committed(&self, place: usize) -> bool {
        let Some(RaftPosition { log, replayed_to, .. }) = self.raft(place) else { return false };
        let majority = self.majorities.iter().find(|majority| majority.cluster_id == log.cluster_id);
        majority.is_some_and(|majority| {
            let is_held = majority.read == majority.voters && replayed_to >= majority.held;
            is_held || replayed_to >= majority.last
        })
    }

    /// The log of an unreadable source, if it goes further than all readable sources of its cluster.
    pub(super) fn longer_log(&self, place: usize) -> Option<LogStatus> {
        let log = self.logs[place]?.log;
        let last = log.last();
        let is_beyond = |end: EntryId| match end.term {
            // Snapshots of etcd 3.4 have no term.
            0 => last.index > end.index,
            _ => last > end,
        };
        let mut ends = self.comparison.ranking.iter().filter_map(|other| self.end(*other, &log));
        ends.all(is_beyond).then_some(log)
    }

    /// The last entry that a source has, if it belongs to the cluster of `log`.
    fn end(&self, place: usize, log: &LogStatus) -> Option<EntryId> {
        let State { members, members_removed, term, consistent_index, .. } =
            &self.comparison.sources[place].inspection.as_ref()?.state;
        let knows_member =
            members.iter().map(|member| &member.id).chain(members_removed).any(|id| *id == log.member_id);
        let raft = self.raft(place);
        let is_of_cluster = raft.map_or(knows_member, |raft| raft.log.cluster_id == log.cluster_id);
        let held = EntryId { term: term.unwrap_or(0), index: consistent_index.unwrap_or(0) };
        is_of_cluster.then(|| raft.map_or(held, |raft| raft.log.last().max(held)))
    }

    fn raft(&self, place: usize) -> Option<RaftPosition> {
        self.comparison.sources[place].inspection.as_ref()?.raft
    }

    fn unchosen(&self, why: &Undecided) -> anyhow::Error {
        let text = self.undecided(why);
        match why {
            Undecided::NoChoice(NoChoice::NoneEligible) => Unusable(text).into(),
            Undecided::NoChoice(_) => Refused(format!(
                "{text}. Decide which one is right: `lifeboat inspect` of the same sources shows what each has that another \
                 lacks. Then select it with --take SOURCE"
            ))
            .into(),
            Undecided::LogsLeftOut { taken, of } => {
                let others: Vec<&Path> = self.names.iter().map(Path::new).collect();
                let mut found = Vec::new();
                for place in of {
                    let name = Path::new(&self.names[*place]);
                    let bases: Vec<&Path> = others.iter().copied().filter(|other| *other != name).collect();
                    found.extend(self.replay.alternatives(name, None, &bases));
                }
                let taken_alone = format!("lifeboat restore with --take {}", self.names[*taken]);
                let held = self.comparison.sources[*taken].inspection.as_ref();
                found.extend(held.map(|held| Alternative::new(taken_alone, held)));
                WouldLoseData { why: text, alternatives: describe(found) }.into()
            }
        }
    }

    /// What the logs of damaged sources have and the source that would be chosen lacks.
    pub(super) fn left_behind(&self, taken: usize, of: &[usize]) -> String {
        let lost = |place: &usize| {
            let name = &self.names[*place];
            let log = self.longer_log(*place)?;
            let held = self.end(taken, &log).map_or(0, |end| end.index.min(log.last_index));
            let keys = keys_in_log(Path::new(name), held).unwrap_or_default();
            let named: Vec<_> = keys.listed.iter().take(MAX_NAMED).map(|key| printable_key(key)).collect();
            let more = if keys.count > named.len() as u64 { ", ..." } else { "" };
            let which = match keys.count {
                0 => String::new(),
                count => format!(", which change {count} keys ({}{more})", named.join(", ")),
            };
            let entries = match log.last_index - held {
                0 | 1 => format!("entry {}", log.last_index),
                _ => format!("entries {} to {}", held + 1, log.last_index),
            };
            let unfit = self.comparison.sources[*place].ineligible.as_ref();
            let unfit =
                unfit.map(|unfit| format!("; {name} itself cannot be used: {unfit}")).unwrap_or_default();
            Some(format!("{entries} of the log of {name}{which}{unfit}"))
        };
        let lost: Vec<_> = of.iter().filter_map(lost).collect();
        format!("{} lacks {}", self.names[taken], lost.join("; and "))
    }
}
