//! Who votes in raft, as a member's data dir has it.
//!
//! A server that starts takes the configuration of the newest raft snapshot, and every conf change from there on as it
//! applies it (`raft/raft.go`, `newRaft`, `applyConfChange`). The `members` bucket and the copy of the configuration in `meta`
//! may be another cluster's, as `etcdutl snapshot restore` leaves them, or out of date (etcd issue 19557).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;

use prost::Message;

use crate::conf_state::ConfState;
use crate::error::Result;
use crate::member::MemberId;
use crate::proto::conf_change::{ADD_LEARNER_NODE, ADD_NODE, REMOVE_NODE, UPDATE_NODE};
use crate::proto::{ConfChange, Entry, WalSnapshot};
use crate::raft_snapshot;
use crate::wal::{Record, RecordKind, WalDir, message};

const NORMAL: i32 = 0;
const CONF_CHANGE: i32 = 1;

/// The voters as of the entry `applied`; `None` when the data dir does not say.
///
/// # Errors
/// A read that the operating system refused; a record that does not decode.
pub(crate) fn voters(snap: &Path, wal: &WalDir, applied: u64) -> Result<Option<Vec<MemberId>>> {
    let snapshot = raft_snapshot::newest(snap, applied)?;
    let from = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
    let mut log = ConfLog::default();
    if let Some(snapshot) = snapshot {
        log.bases.insert(snapshot.index, ConfState::of_voters(snapshot.voters));
    }
    wal.walk_records(from.saturating_add(1), &mut |record| log.take(record))?;
    Ok(log.at(applied).map(|conf_state| conf_state.voters.into_iter().map(MemberId).collect()))
}

/// What a log says of raft's configuration.
#[derive(Debug, Default)]
struct ConfLog {
    /// Configurations as of an entry.
    bases: BTreeMap<u64, ConfState>,
    /// By the index of their entry; `None` for one that is not understood.
    changes: BTreeMap<u64, Option<ConfChange>>,
    /// Index of the first entry from which on none is missing.
    first: Option<u64>,
    last: u64,
}

impl ConfLog {
    fn take(&mut self, record: &Record) -> Result<()> {
        match record.kind {
            RecordKind::Snapshot => {
                let snapshot: WalSnapshot = message(record, self.last)?;
                if let Some(conf_state) = snapshot.conf_state {
                    self.bases.insert(snapshot.index.unwrap_or(0), conf_state.into());
                }
            }
            RecordKind::Entry => {
                let entry: Entry = message(record, self.last)?;
                let index = entry.index.unwrap_or(0);
                if self.first.is_none() || index > self.last.saturating_add(1) {
                    self.first = Some(index);
                }
                self.last = index;
                // An entry read again replaces those from its index on.
                self.changes.split_off(&index);
                match entry.kind.unwrap_or(NORMAL) {
                    NORMAL => {}
                    CONF_CHANGE => {
                        let change = ConfChange::decode(entry.data.as_deref().unwrap_or_default());
                        self.changes.insert(index, change.ok());
                    }
                    _ => drop(self.changes.insert(index, None)),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The configuration as of an entry, if a known one and all entries after that are there.
    fn at(mut self, applied: u64) -> Option<ConfState> {
        // A log from its first entry on has the conf changes that made the cluster.
        if self.first == Some(1) {
            self.bases.entry(0).or_default();
        }
        let (base, conf_state) = self.bases.range(..=applied).next_back()?;
        let mut conf_state = conf_state.clone();
        let is_complete = *base == applied
            || (self.first.is_some_and(|first| first <= base.saturating_add(1)) && self.last >= applied);
        if !is_complete {
            return None;
        }
        let mut removed = BTreeSet::new();
        let changes = self.changes.range((Bound::Excluded(*base), Bound::Included(applied)));
        for (_, change) in changes {
            let change = change.as_ref()?;
            let id = change.node_id.unwrap_or(0);
            // Servers pass it over (`membership/cluster.go`, `ValidateConfigurationChange`).
            if removed.contains(&id) {
                continue;
            }
            match change.kind.unwrap_or(ADD_NODE) {
                ADD_NODE => conf_state.add_voter(id),
                ADD_LEARNER_NODE if conf_state.voters.contains(&id) => {}
                ADD_LEARNER_NODE => conf_state.add_learner(id),
                REMOVE_NODE => {
                    conf_state.remove(id);
                    removed.insert(id);
                }
                UPDATE_NODE => {}
                _ => return None,
            }
        }
        Some(conf_state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    fn snapshot(index: u64, voters: &[u64]) -> Record {
        let conf_state = proto::ConfState { voters: voters.to_vec(), ..Default::default() };
        let snapshot = WalSnapshot { index: Some(index), term: Some(1), conf_state: Some(conf_state) };
        Record { kind: RecordKind::Snapshot, data: snapshot.encode_to_vec().into() }
    }

    fn entry(index: u64, change: Option<(i32, u64)>) -> Record {
        let data = change.map(|(kind, node)| {
            ConfChange { id: None, kind: Some(kind), node_id: Some(node), context: None }
                .encode_to_vec()
                .into()
        });
        let kind = i32::from(change.is_some());
        let entry = Entry { kind: Some(kind), term: Some(1), index: Some(index), data };
        Record { kind: RecordKind::Entry, data: entry.encode_to_vec().into() }
    }

    fn voters(records: &[Record], applied: u64) -> Option<Vec<u64>> {
        let mut log = ConfLog::default();
        records.iter().for_each(|record| log.take(record).unwrap());
        log.at(applied).map(|conf_state| conf_state.voters)
    }

    #[test]
    fn conf_changes_count_up_to_where_they_are_applied() {
        let log = [
            entry(1, Some((ADD_NODE, 7))),
            entry(2, None),
            entry(3, Some((ADD_LEARNER_NODE, 8))),
            entry(4, Some((ADD_NODE, 8))),
            entry(5, Some((REMOVE_NODE, 7))),
            entry(6, Some((ADD_NODE, 7))),
        ];
        for (applied, expected) in
            [(1, vec![7]), (2, vec![7]), (3, vec![7]), (4, vec![7, 8]), (5, vec![8]), (6, vec![8])]
        {
            assert_eq!(voters(&log, applied), Some(expected), "{applied}");
        }
        assert_eq!(voters(&log, 7), None, "an entry that is not there");
    }

    #[test]
    fn a_log_that_begins_later_needs_a_snapshot() {
        let log = [entry(11, None), entry(12, Some((ADD_NODE, 9))), entry(13, None)];
        assert_eq!(voters(&log, 13), None);
        let from = |index| [vec![snapshot(index, &[7, 8])], log.to_vec()].concat();
        assert_eq!(voters(&from(10), 13), Some(vec![7, 8, 9]));
        assert_eq!(voters(&from(12), 13), Some(vec![7, 8]));
        assert_eq!(voters(&from(13), 13), Some(vec![7, 8]), "nothing after the snapshot");
        assert_eq!(voters(&from(9), 13), None, "entry 10 is not there");
        assert_eq!(voters(&from(14), 13), None, "a snapshot that is not yet applied");
    }

    #[test]
    fn an_overruled_conf_change_does_not_count() {
        let log =
            [entry(1, Some((ADD_NODE, 7))), entry(2, Some((ADD_NODE, 8))), entry(2, None), entry(3, None)];
        assert_eq!(voters(&log, 3), Some(vec![7]));
    }
}
