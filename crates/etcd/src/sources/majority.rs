//! Committed entries, as determined from the logs of several members.
//!
//! Every committed entry is in the logs of a majority of the voters. So among the logs of any majority, one has it; and the
//! most up-to-date of them, the one with the greatest last entry, has all committed entries and no other in the place of one
//! (Raft, 5.4; `raft/log.go`, `isUpToDate`): had another been committed there, a later term's leader would have had it too.
//! Raft would continue from that log, so all of it is included. The other logs are included as far as they are the same:
//! entries that raft's election would discard were never committed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use super::log_position::applied;
use super::voters::voters;
use super::{Replay, is_data_dir, member_dir};
use crate::error::{Error, Result};
use crate::member::{ClusterId, MemberId};
use crate::proto::{Entry, HardState, WalMetadata, WalSnapshot};
use crate::source::EntryId;
use crate::wal::{End, Record, RecordKind, WalDir, message};

/// Committed entries of a cluster, as determined from the logs of a majority of its voters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Majority {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Number of voters.
    pub voters: usize,
    /// Number of voters whose logs were read.
    pub read: usize,
    /// Position of the most up-to-date log in the list of paths.
    pub place: usize,
    /// Raft index of the last entry that a majority of the voters has.
    pub held: u64,
    /// Raft index of the last entry of the most up-to-date log.
    pub last: u64,
}

/// Reads the logs of all paths that are data dirs of stopped members, and returns how far to replay each, and the
/// majorities found.
///
/// # Errors
/// A read that the operating system refused. A log that is damaged says nothing.
pub fn majorities(paths: &[&Path]) -> Result<(Vec<Replay>, Vec<Majority>)> {
    let mut clusters: BTreeMap<u64, Vec<MemberLog>> = BTreeMap::new();
    for (place, path) in paths.iter().enumerate() {
        if let Some(log) = MemberLog::read(place, path)? {
            clusters.entry(log.cluster_id.0).or_default().push(log);
        }
    }
    let mut replays = vec![Replay::Committed; paths.len()];
    let mut found = Vec::new();
    for logs in clusters.values() {
        let Some(majority) = of_cluster(logs, paths)? else { continue };
        let Some(elected) = logs.iter().find(|log| log.place == majority.place) else { continue };
        for log in logs {
            if let Some(replay) = replays.get_mut(log.place) {
                *replay = Replay::UpTo(log.shared_with(elected));
            }
        }
        found.push(majority);
    }
    Ok((replays, found))
}

/// The majority that the logs of one cluster are, if they are one of several voters.
fn of_cluster(logs: &[MemberLog], paths: &[&Path]) -> Result<Option<Majority>> {
    // Of several copies of a member, the newest is used.
    let mut members: BTreeMap<MemberId, &MemberLog> = BTreeMap::new();
    for log in logs {
        let known = members.entry(log.member_id).or_insert(log);
        if log.last > known.last {
            *known = log;
        }
    }
    let mut by_last: Vec<&MemberLog> = members.values().copied().collect();
    by_last.sort_by_key(|log| (Reverse(log.last), log.place));
    for elected in &by_last {
        let Some(path) = paths.get(elected.place) else { continue };
        let member = member_dir(path)?;
        let Ok(wal) = WalDir::open(&member.join("wal")) else { continue };
        let Some(voters) = voters(&member.join("snap"), &wal, elected.commit)? else { continue };
        // A learner is not elected.
        if !voters.contains(&elected.member_id) {
            continue;
        }
        let voting = || by_last.iter().filter(|log| voters.contains(&log.member_id));
        let quorum = voters.len() / 2 + 1;
        if voters.len() < 2 || voting().count() < quorum {
            return Ok(None);
        }
        let mut shared: Vec<u64> = voting().map(|log| log.shared_with(elected)).collect();
        shared.sort_unstable_by_key(|index| Reverse(*index));
        let held = shared.get(quorum - 1).copied().unwrap_or(0);
        return Ok(Some(Majority {
            cluster_id: elected.cluster_id,
            voters: voters.len(),
            read: voting().count(),
            place: elected.place,
            held: held.max(elected.commit),
            last: elected.last.index,
        }));
    }
    Ok(None)
}

/// The end of one member's log.
#[derive(Debug, Default)]
struct MemberLog {
    place: usize,
    cluster_id: ClusterId,
    member_id: MemberId,
    commit: u64,
    last: EntryId,
    /// The terms of the last entries between which none is missing: where each begins.
    terms: BTreeMap<u64, u64>,
}

impl MemberLog {
    /// `None` if it is not a data dir, if the log cannot be read to its end, or if it ends before the db.
    fn read(place: usize, path: &Path) -> Result<Option<Self>> {
        if !matches!(is_data_dir(path), Ok(true)) {
            return Ok(None);
        }
        let member = member_dir(path)?;
        let Ok(wal) = WalDir::open(&member.join("wal")) else { return Ok(None) };
        let db = applied(&member.join("snap/db")).unwrap_or_default();
        let is_cut = |log: &Self| db.index > log.last.index;
        let mut log = Self { place, ..Self::default() };
        match wal.walk_valid(0, &mut |record| log.take(record)) {
            Ok(End::Whole | End::Torn(_)) => Ok(Some(log).filter(|log| !is_cut(log))),
            Ok(End::Damaged(_)) | Err(Error::Damaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, record: &Record) -> Result<()> {
        let last = self.last.index;
        match record.kind {
            RecordKind::Metadata => {
                let metadata: WalMetadata = message(record, last)?;
                self.member_id = MemberId(metadata.node_id.unwrap_or(0));
                self.cluster_id = ClusterId(metadata.cluster_id.unwrap_or(0));
            }
            RecordKind::State => {
                let state: HardState = message(record, last)?;
                self.commit = state.commit.unwrap_or(0);
            }
            RecordKind::Entry => {
                let entry: Entry = message(record, last)?;
                self.entry(EntryId { term: entry.term.unwrap_or(0), index: entry.index.unwrap_or(0) });
            }
            RecordKind::Snapshot => {
                let snapshot: WalSnapshot = message(record, last)?;
                let (term, index) = (snapshot.term.unwrap_or(0), snapshot.index.unwrap_or(0));
                // One that was received, in the place of the entries up to it.
                if index > last {
                    self.entry(EntryId { term, index });
                }
            }
            RecordKind::Crc => {}
        }
        Ok(())
    }

    fn entry(&mut self, entry: EntryId) {
        if entry.index > self.last.index.saturating_add(1) {
            self.terms.clear();
        }
        // Read again, an index replaces what was there and drops what followed.
        self.terms.split_off(&entry.index);
        if self.terms.values().next_back() != Some(&entry.term) {
            self.terms.insert(entry.index, entry.term);
        }
        self.last = entry;
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        let known = self.terms.range(..=index).next_back().filter(|_| index <= self.last.index);
        known.map(|(_, term)| *term)
    }

    /// Index of the last entry that it has in common with another; 0 when that is not known. Where two logs have an entry
    /// of one index and term, they are the same up to it.
    fn shared_with(&self, other: &Self) -> u64 {
        let end = self.last.index.min(other.last.index);
        let begins = self.terms.keys().chain(other.terms.keys()).copied();
        // Terms change at the begin of a run only, so the last common entry is at an end of one.
        let mut ends: Vec<u64> = begins.map(|begin| begin.saturating_sub(1)).filter(|at| *at < end).collect();
        ends.push(end);
        ends.sort_unstable_by_key(|index| Reverse(*index));
        let is_shared =
            |index: &u64| self.term_at(*index).is_some_and(|term| other.term_at(*index) == Some(term));
        ends.into_iter().find(is_shared).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64)]) -> MemberLog {
        let mut log = MemberLog::default();
        entries.iter().for_each(|(term, index)| log.entry(EntryId { term: *term, index: *index }));
        log
    }

    #[test]
    fn logs_are_the_same_up_to_the_last_entry_of_one_index_and_term() {
        let one = log(&[(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]);
        for (other, shared) in [
            (log(&[(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]), 5),
            (log(&[(1, 1), (1, 2)]), 2),
            // A leader that was cut off, and wrote on alone.
            (log(&[(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6)]), 3),
            (log(&[(1, 1), (1, 2), (1, 3), (1, 4), (2, 4), (2, 5), (2, 6)]), 5),
            (log(&[(1, 1), (1, 2), (3, 3)]), 2),
            (log(&[(4, 9)]), 0),
        ] {
            assert_eq!((one.shared_with(&other), other.shared_with(&one)), (shared, shared), "{other:?}");
        }
    }

    #[test]
    fn entries_in_the_place_of_others_count_and_gaps_are_not_bridged() {
        let replaced = log(&[(1, 1), (1, 2), (1, 3), (2, 2)]);
        assert_eq!((replaced.last.index, replaced.term_at(2), replaced.term_at(3)), (2, Some(2), None));
        let received = log(&[(1, 1), (2, 50), (2, 51)]);
        assert_eq!([1, 30, 50, 51].map(|index| received.term_at(index)), [None, None, Some(2), Some(2)]);
    }
}
