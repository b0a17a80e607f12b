//! What a log says in the end, and how far it is committed.

use prost::Message;

use crate::error::Result;
use crate::finding::FindingKind;
use crate::member::{ClusterId, MemberId};
use crate::proto::{Entry, HardState, WalMetadata, WalSnapshot};
use crate::wal::dir::{End, Torn, WalDir};
use crate::wal::segment::{Record, RecordKind};

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) member_id: MemberId,
    pub(crate) cluster_id: ClusterId,
    /// Raft term the member was in.
    pub(crate) term: u64,
    /// Index up to which the member knew entries to be on a quorum.
    pub(crate) commit: u64,
    /// Index and term of the last entry, or of a received snapshot behind it.
    pub(crate) last_index: u64,
    pub(crate) last_term: u64,
    /// Index and term of the newest raft snapshot that is committed.
    pub(crate) snapshot: u64,
    pub(crate) snapshot_term: u64,
    pub(crate) torn: Option<Torn>,
    /// What ends it before its end.
    pub(crate) damage: Option<FindingKind>,
}

impl Log {
    /// Reads a log from the segment on that holds the entry `index`.
    ///
    /// # Errors
    /// Damage; a failed read.
    pub(crate) fn scan(wal: &WalDir, index: u64) -> Result<Self> {
        let mut log = Self::scan_to_damage(wal, index)?;
        match log.damage.take() {
            Some(kind) => Err(kind.into()),
            None => Ok(log),
        }
    }

    /// Like [`Log::scan`], and takes damage for the end of the log.
    ///
    /// # Errors
    /// A failed read; a record that does not decode.
    pub(crate) fn scan_to_damage(wal: &WalDir, index: u64) -> Result<Self> {
        let mut metadata = WalMetadata::default();
        let mut state = HardState::default();
        let mut snapshots = Vec::new();
        let (mut last_index, mut last_term) = (wal.index_before(index), 0);
        let end = wal.walk_to_damage(index, &mut |record| {
            match record.kind {
                RecordKind::Metadata => metadata = message(record, last_index)?,
                RecordKind::State => state = message(record, last_index)?,
                RecordKind::Entry => {
                    let entry: Entry = message(record, last_index)?;
                    (last_index, last_term) = (entry.index.unwrap_or(0), entry.term.unwrap_or(0));
                }
                RecordKind::Snapshot => {
                    let WalSnapshot { index, term, .. } = message(record, last_index)?;
                    let (index, term) = (index.unwrap_or(0), term.unwrap_or(0));
                    snapshots.push((index, term));
                    if index > last_index {
                        (last_index, last_term) = (index, term);
                    }
                }
                RecordKind::Crc => {}
            }
            Ok(())
        })?;
        let commit = state.commit.unwrap_or(0);
        // One above the commit index was being saved when the member crashed, and does not count.
        let snapshot = snapshots.into_iter().filter(|(index, _)| *index <= commit).max();
        let (snapshot, snapshot_term) = snapshot.unwrap_or_default();
        let (torn, damage) = match end {
            End::Whole => (None, None),
            End::Torn(torn) => (Some(torn), None),
            End::Damaged(kind) => (None, Some(kind)),
        };
        Ok(Self {
            member_id: MemberId(metadata.node_id.unwrap_or(0)),
            cluster_id: ClusterId(metadata.cluster_id.unwrap_or(0)),
            term: state.term.unwrap_or(0),
            commit,
            last_index,
            last_term,
            snapshot,
            snapshot_term,
            torn,
            damage,
        })
    }
}

/// Its crc is right, so what does not decode was written so.
pub(crate) fn message<M: Message + Default>(record: &Record, index: u64) -> Result<M> {
    let defect = "a record of the log does not decode";
    Ok(M::decode(record.data.as_slice()).map_err(|_| FindingKind::WalEntry { index, defect })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::wal::Entries;
    use crate::wal::segment::{encode_after, segment_name};

    fn record(kind: RecordKind, message: &impl Message) -> Record {
        Record { kind, data: message.encode_to_vec() }
    }

    fn entry(term: u64, index: u64) -> Record {
        let entry = Entry { kind: Some(0), term: Some(term), index: Some(index), data: None };
        record(RecordKind::Entry, &entry)
    }

    fn metadata(member: u64) -> Record {
        record(RecordKind::Metadata, &WalMetadata { node_id: Some(member), cluster_id: Some(7) })
    }

    fn state(commit: u64) -> Record {
        record(RecordKind::State, &HardState { term: Some(2), vote: Some(1), commit: Some(commit) })
    }

    /// Writes segments that follow each other: first index and records.
    fn log(segments: &[(u64, Vec<Record>)]) -> (tempfile::TempDir, WalDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut crc = 0;
        for (sequence, (first, records)) in (0..).zip(segments) {
            let (bytes, end) = encode_after(crc, records);
            crc = end;
            fs_err::write(dir.path().join(segment_name(sequence, *first)), bytes).unwrap();
        }
        let wal = WalDir::open(dir.path()).unwrap();
        (dir, wal)
    }

    fn damage<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
        match result {
            Err(Error::Damaged(kind)) => kind.id(),
            other => panic!("{other:?}"),
        }
    }

    fn terms(wal: &WalDir, after: u64, up_to: u64) -> Result<Vec<(u64, u64)>> {
        let mut terms = Vec::new();
        Entries::find(wal, after, up_to)?.each(&mut |entry| {
            terms.push((entry.index.unwrap(), entry.term.unwrap()));
            Ok(())
        })?;
        Ok(terms)
    }

    /// Overruled entries are told from those that took their place wherever they lie, and what only a part of a log
    /// overrules does not count.
    #[test]
    fn the_last_entry_of_an_index_counts_and_drops_those_behind() {
        let records = |entries: &[(u64, u64)]| {
            entries.iter().map(|(term, index)| entry(*term, *index)).collect::<Vec<_>>()
        };
        let first = records(&[(1, 1), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (2, 5), (3, 4)]);
        let second = records(&[(3, 5), (4, 5), (4, 6)]);
        let (_dir, wal) =
            log(&[(0, [vec![metadata(1)], first].concat()), (5, [vec![metadata(1)], second].concat())]);
        assert_eq!(terms(&wal, 0, 6).unwrap(), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4)]);
        assert_eq!(terms(&wal, 2, 4).unwrap(), [(3, 2), (4, 3)]);
        assert_eq!(terms(&wal, 5, 6).unwrap(), [(6, 4)]);
        assert_eq!(terms(&wal, 6, 6).unwrap(), []);
    }

    #[test]
    fn segments_are_read_as_one_log_from_the_one_that_matters() {
        let first = vec![metadata(1), entry(1, 1), entry(1, 2), state(1)];
        let second =
            vec![metadata(1), state(1), entry(1, 3), entry(1, 4), entry(2, 4), entry(2, 5), state(5)];
        // Just begun: it has no entry yet.
        let third = vec![metadata(1), state(5)];
        let (dir, wal) = log(&[(0, first), (3, second), (6, third)]);
        let scanned = Log::scan(&wal, 0).unwrap();
        assert_eq!((scanned.commit, scanned.last_index, scanned.last_term), (5, 5, 2));
        assert_eq!(Log::scan(&wal, 6).unwrap().last_index, 5);
        let data_dir = tempfile::tempdir().unwrap();
        let position = crate::log_position(data_dir.path(), Some(dir.path())).unwrap();
        assert_eq!((position.last_index, position.last_term), (5, 2));
        assert_eq!(terms(&wal, 2, 5).unwrap(), [(3, 1), (4, 2), (5, 2)]);
        assert_eq!(terms(&wal, 0, 2).unwrap(), [(1, 1), (2, 1)]);
        assert_eq!(damage(terms(&wal, 2, 6)), "wal.entries-missing");

        // What is behind the entries needed does not matter, what is among them does.
        let path = dir.path().join(segment_name(0, 0));
        let mut bytes = fs_err::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        assert!(terms(&wal, 2, 5).is_ok());
        assert_eq!(damage(terms(&wal, 0, 5)), "wal.damaged");
    }

    #[test]
    fn segments_that_do_not_belong_together_are_found() {
        let first = vec![metadata(1), entry(1, 1), state(1)];
        let (_dir, wal) = log(&[(0, first.clone()), (2, vec![metadata(2), state(1)])]);
        assert_eq!(damage(Log::scan(&wal, 0)), "wal.damaged");
        let (dir, _) = log(&[(0, first), (2, vec![metadata(1), state(1)])]);
        let (bytes, _) = encode_after(99, &[metadata(1), state(1)]);
        fs_err::write(dir.path().join(segment_name(1, 2)), bytes).unwrap();
        assert_eq!(damage(Log::scan(&WalDir::open(dir.path()).unwrap(), 0)), "wal.damaged");
        fs_err::rename(dir.path().join(segment_name(1, 2)), dir.path().join(segment_name(2, 2))).unwrap();
        assert_eq!(damage(Log::scan(&WalDir::open(dir.path()).unwrap(), 0)), "wal.segment-missing");
    }
}
