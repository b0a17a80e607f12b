//! What a log says in the end: how far it is committed, and the entries that a db lacks.

use prost::Message;

use crate::error::Result;
use crate::finding::FindingKind;
use crate::member::{ClusterId, MemberId};
use crate::proto::{Entry, HardState, WalMetadata, WalSnapshot};
use crate::wal::dir::{Torn, WalDir};
use crate::wal::segment::{Record, RecordKind};

/// Bytes of entries held at most, and of what their requests touch: far above what a server has not yet
/// committed to its db, far below what a machine that restores has.
pub(crate) const MOST_REPLAY_BYTES: u64 = 512 << 20;

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
    /// Index of the newest raft snapshot that is committed.
    pub(crate) snapshot: u64,
    pub(crate) torn: Option<Torn>,
}

impl Log {
    /// Reads a log from the segment on that holds the entry `index`.
    pub(crate) fn scan(wal: &WalDir, index: u64) -> Result<Self> {
        let mut metadata = WalMetadata::default();
        let mut state = HardState::default();
        let mut snapshots = Vec::new();
        let (mut last_index, mut last_term) = (wal.index_before(index), 0);
        let torn = wal.walk(index, &mut |record| {
            match record.kind {
                RecordKind::Metadata => metadata = message(record, last_index)?,
                RecordKind::State => state = message(record, last_index)?,
                RecordKind::Entry => {
                    let entry: Entry = message(record, last_index)?;
                    (last_index, last_term) = (entry.index.unwrap_or(0), entry.term.unwrap_or(0));
                }
                RecordKind::Snapshot => {
                    let WalSnapshot { index, term, .. } = message(record, last_index)?;
                    let index = index.unwrap_or(0);
                    snapshots.push(index);
                    if index > last_index {
                        (last_index, last_term) = (index, term.unwrap_or(0));
                    }
                }
                RecordKind::Crc => {}
            }
            Ok(())
        })?;
        let commit = state.commit.unwrap_or(0);
        Ok(Self {
            member_id: MemberId(metadata.node_id.unwrap_or(0)),
            cluster_id: ClusterId(metadata.cluster_id.unwrap_or(0)),
            term: state.term.unwrap_or(0),
            commit,
            last_index,
            last_term,
            // One above the commit index was being saved when the member crashed, and does not count.
            snapshot: snapshots.into_iter().filter(|index| *index <= commit).max().unwrap_or(0),
            torn,
        })
    }

    /// The entries above `after` up to `up_to`, without gaps. An entry of an index that was read before replaces
    /// it and drops what followed: another leader overruled it.
    pub(crate) fn entries(wal: &WalDir, after: u64, up_to: u64) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = after.saturating_add(1);
        wal.walk(next, &mut |record| {
            if record.kind != RecordKind::Entry {
                return Ok(());
            }
            let entry: Entry = message(record, next)?;
            let index = entry.index.unwrap_or(0);
            if index <= after || index > up_to {
                return Ok(());
            }
            if index > next {
                return Err(FindingKind::WalEntriesMissing { first: next, last: index - 1 }.into());
            }
            while next > index {
                next -= 1;
                bytes -= entries.pop().map_or(0, |replaced| held(&replaced));
            }
            next = index.saturating_add(1);
            bytes += held(&entry);
            entries.push(entry);
            if bytes > MOST_REPLAY_BYTES { Err(FindingKind::ReplayTooLarge.into()) } else { Ok(()) }
        })?;
        if next <= up_to {
            return Err(FindingKind::WalEntriesMissing { first: next, last: up_to }.into());
        }
        Ok(entries)
    }
}

fn held(entry: &Entry) -> u64 {
    let data = entry.data.as_ref().map_or(0, Vec::len);
    (size_of::<Entry>() + data) as u64
}

/// Its crc is right, so what does not decode was written so.
fn message<M: Message + Default>(record: &Record, index: u64) -> Result<M> {
    let defect = "a record of the log does not decode";
    Ok(M::decode(record.data.as_slice()).map_err(|_| FindingKind::WalEntry { index, defect })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
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

    fn terms(entries: &[Entry]) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (entry.index.unwrap(), entry.term.unwrap())).collect()
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
        assert_eq!(terms(&Log::entries(&wal, 2, 5).unwrap()), [(3, 1), (4, 2), (5, 2)]);
        assert_eq!(terms(&Log::entries(&wal, 0, 2).unwrap()), [(1, 1), (2, 1)]);
        assert_eq!(damage(Log::entries(&wal, 2, 6)), "wal.entries-missing");

        // What is behind the entries needed does not matter, what is among them does.
        let path = dir.path().join(segment_name(0, 0));
        let mut bytes = fs_err::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs_err::write(&path, &bytes).unwrap();
        assert!(Log::entries(&wal, 2, 5).is_ok());
        assert_eq!(damage(Log::entries(&wal, 0, 5)), "wal.damaged");
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
