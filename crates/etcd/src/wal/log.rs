//! The status of a log: last entry, commit index, newest raft snapshot.

use prost::Message;

use crate::error::Result;
use crate::finding::FindingKind;
use crate::member::{ClusterId, MemberId};
use crate::proto::{ConfChange, Entry, HardState, WalMetadata, WalSnapshot};
use crate::wal::dir::{BadRecord, End, Item, Torn, WalDir};
use crate::wal::segment::{Record, RecordKind};
use crate::wal::terms::Terms;

/// Kind of an entry that changes raft's configuration.
const CONF_CHANGE: i32 = 1;

/// Limit of bad records listed.
const MAX_BAD: usize = 1000;
/// Limit of members listed that conf changes name.
const MAX_ADDED: usize = 1000;

/// Which member a log belongs to, its last hard state (`raftpb.HardState`) and its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStatus {
    /// The member's cluster.
    pub cluster_id: ClusterId,
    /// The member.
    pub member_id: MemberId,
    /// Raft term of the hard state.
    pub term: u64,
    /// Commit index of the hard state: what the member knew to be committed. It lags.
    pub commit: u64,
    /// Raft index of the last entry, or of a received snapshot after it.
    pub last_index: u64,
    /// Raft term of that entry or snapshot.
    pub last_term: u64,
}

/// The content of a log, without its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) status: LogStatus,
    /// Index and term of the newest raft snapshot that is committed.
    pub(crate) snapshot: u64,
    pub(crate) snapshot_term: u64,
    /// Term of the entry that the log was scanned for, as far as the log has it.
    pub(crate) term_at: Option<u64>,
    /// Members that conf changes name, and the index of these.
    pub(crate) named: Vec<(u64, MemberId)>,
    /// Whether it holds all entries since the cluster began with an empty store.
    pub(crate) is_from_start: bool,
    pub(crate) torn: Option<Torn>,
    /// Damage that the records after it cannot be read past.
    pub(crate) damage: Option<FindingKind>,
    /// Damage that was skipped, up to a limit.
    pub(crate) bad: Vec<BadRecord>,
}

impl Log {
    /// Reads a log without damage, from the segment that holds the entry `index`.
    ///
    /// # Errors
    /// Damage; a failed read.
    pub(crate) fn scan_valid(wal: &WalDir, index: u64) -> Result<Self> {
        let mut log = Self::scan(wal, index)?;
        match log.damage.take().or_else(|| Some(log.bad.first()?.kind.clone())) {
            Some(kind) => Err(kind.into()),
            None => Ok(log),
        }
    }

    /// Reads a log from the segment that holds the entry `index`. Damage is returned in [`Log::damage`] and [`Log::bad`].
    ///
    /// # Errors
    /// A failed read; a record that does not decode.
    pub(crate) fn scan(wal: &WalDir, index: u64) -> Result<Self> {
        let mut scan = Scan { last_index: wal.index_before(index), ..Scan::default() };
        let end = wal.walk(index, &mut |item| scan.item(item))?;
        // A crash can leave the newest segment without its head; every segment has the same metadata.
        let metadata = match scan.metadata.take() {
            Some(metadata) => metadata,
            None => metadata(wal)?,
        };
        Ok(scan.finish(&metadata, index, end))
    }
}

#[derive(Default)]
struct Scan {
    metadata: Option<WalMetadata>,
    state: HardState,
    snapshots: Vec<(u64, u64)>,
    last_index: u64,
    last_term: u64,
    terms: Terms,
    named: Vec<(u64, MemberId)>,
    start: Start,
    bad: Vec<BadRecord>,
}

/// How a log starts. A new cluster's log begins with the conf changes of its members, entry 1 on; a restored one's
/// does too, but a snapshot that stands for the restored store is noted right behind them.
#[derive(Default)]
enum Start {
    /// Nothing but conf changes so far, up to this entry.
    #[default]
    Unknown,
    Members(u64),
    /// With an empty store.
    Empty,
    /// Otherwise, or it cannot be told.
    Other,
}

impl Scan {
    fn item(&mut self, item: Item<'_>) -> Result<()> {
        let record = match item {
            Item::Record(record) => record,
            Item::Bad(bad) => {
                if bad.is_lost && !matches!(self.start, Start::Empty) {
                    self.start = Start::Other;
                }
                if self.bad.len() < MAX_BAD {
                    self.bad.push(bad.clone());
                }
                return Ok(());
            }
        };
        match record.kind {
            RecordKind::Metadata => self.metadata = Some(message(record, self.last_index)?),
            RecordKind::State => self.state = message(record, self.last_index)?,
            RecordKind::Entry => self.entry(&message(record, self.last_index)?),
            RecordKind::Snapshot => {
                let WalSnapshot { index, term, .. } = message(record, self.last_index)?;
                let (index, term) = (index.unwrap_or(0), term.unwrap_or(0));
                self.snapshots.push((index, term));
                if index > 0 && !matches!(self.start, Start::Empty) {
                    self.start = Start::Other;
                }
                if index > self.last_index {
                    (self.last_index, self.last_term) = (index, term);
                }
            }
            RecordKind::Crc => {}
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) {
        let (index, term) = (entry.index.unwrap_or(0), entry.term.unwrap_or(0));
        (self.last_index, self.last_term) = (index, term);
        self.terms.put(index, term);
        let is_conf_change = entry.kind == Some(CONF_CHANGE);
        self.start = match std::mem::take(&mut self.start) {
            Start::Unknown if index == 1 && is_conf_change => Start::Members(1),
            Start::Members(last) if index == last + 1 && is_conf_change && term == 1 => Start::Members(index),
            Start::Members(last) if index == last + 1 => Start::Empty,
            Start::Empty => Start::Empty,
            _ => Start::Other,
        };
        if is_conf_change && self.named.len() < MAX_ADDED {
            let change = ConfChange::decode(entry.data.as_deref().unwrap_or_default());
            let member = change.ok().and_then(|change| change.node_id);
            self.named.extend(member.map(|member| (index, MemberId(member))));
        }
    }

    fn finish(self, metadata: &WalMetadata, index: u64, end: End) -> Log {
        let Self { metadata: _, state, snapshots, last_index, last_term, terms, named, start, bad } = self;
        let commit = state.commit.unwrap_or(0);
        let noted = |(noted, term): &(u64, u64)| (*noted == index).then_some(*term);
        let term_at = terms.of(index).or_else(|| snapshots.iter().find_map(noted));
        // One above the commit index was being saved when the member crashed, and does not count.
        let snapshot = snapshots.into_iter().filter(|(index, _)| *index <= commit).max();
        let (snapshot, snapshot_term) = snapshot.unwrap_or_default();
        let (torn, damage) = match end {
            End::Whole => (None, None),
            End::Torn(torn) => (Some(torn), None),
            End::Damaged(kind) => (None, Some(kind)),
        };
        let status = LogStatus {
            member_id: MemberId(metadata.node_id.unwrap_or(0)),
            cluster_id: ClusterId(metadata.cluster_id.unwrap_or(0)),
            term: state.term.unwrap_or(0),
            commit,
            last_index,
            last_term,
        };
        Log {
            status,
            snapshot,
            snapshot_term,
            term_at,
            named,
            is_from_start: matches!(start, Start::Empty),
            torn,
            damage,
            bad,
        }
    }
}

/// Whose log it is, by the first segment that says so.
fn metadata(wal: &WalDir) -> Result<WalMetadata> {
    let mut found = None;
    wal.walk_records(0, &mut |record| {
        if record.kind == RecordKind::Metadata && found.is_none() {
            found = Some(message(record, 0)?);
        }
        Ok(())
    })?;
    let defect = "no record of the log says which member's it is";
    found.ok_or_else(|| FindingKind::WalEntry { index: 0, defect }.into())
}

/// Its crc is right, so what does not decode was written so.
pub(crate) fn message<M: Message + Default>(record: &Record, index: u64) -> Result<M> {
    let defect = "a record of the log does not decode";
    Ok(M::decode(record.data.clone()).map_err(|_| FindingKind::WalEntry { index, defect })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::wal::Entries;
    use crate::wal::segment::{encode_after, segment_name};

    fn record(kind: RecordKind, message: &impl Message) -> Record {
        Record { kind, data: message.encode_to_vec().into() }
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
        let scanned = Log::scan_valid(&wal, 0).unwrap();
        assert_eq!((scanned.status.commit, scanned.status.last_index, scanned.status.last_term), (5, 5, 2));
        assert_eq!(Log::scan_valid(&wal, 6).unwrap().status.last_index, 5);
        let data_dir = tempfile::tempdir().unwrap();
        let position = crate::log_position(data_dir.path(), Some(dir.path())).unwrap();
        assert_eq!((position.log.last_index, position.log.last_term), (5, 2));
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
        assert_eq!(damage(terms(&wal, 0, 5)), "wal.entries-missing");
    }

    #[test]
    fn segments_that_do_not_belong_together_are_found() {
        let first = vec![metadata(1), entry(1, 1), state(1)];
        let (_dir, wal) = log(&[(0, first.clone()), (2, vec![metadata(2), state(1)])]);
        assert_eq!(damage(Log::scan_valid(&wal, 0)), "wal.damaged");
        let (dir, _) = log(&[(0, first), (2, vec![metadata(1), state(1)])]);
        let (bytes, _) = encode_after(99, &[metadata(1), state(1)]);
        fs_err::write(dir.path().join(segment_name(1, 2)), bytes).unwrap();
        assert_eq!(damage(Log::scan_valid(&WalDir::open(dir.path()).unwrap(), 0)), "wal.damaged");
        fs_err::rename(dir.path().join(segment_name(1, 2)), dir.path().join(segment_name(2, 2))).unwrap();
        assert_eq!(damage(Log::scan_valid(&WalDir::open(dir.path()).unwrap(), 0)), "wal.segment-missing");
    }

    /// Makes the data of a record bad; records are counted from the segment's crc record on.
    fn flip(dir: &std::path::Path, segment: (u64, u64), records: &[Record], place: usize) {
        let path = dir.join(segment_name(segment.0, segment.1));
        let mut bytes = fs_err::read(&path).unwrap();
        let [begin, end] = [place - 1, place].map(|count| encode_after(0, &records[..count]).0.len());
        let padding = usize::from(bytes[begin + 7] & 7);
        bytes[end - padding - 1] ^= 0x40;
        fs_err::write(&path, &bytes).unwrap();
    }

    fn missing<T: std::fmt::Debug>(result: Result<T>) -> (u64, u64) {
        match result {
            Err(Error::Damaged(FindingKind::WalEntriesMissing { first, last })) => (first, last),
            other => panic!("{other:?}"),
        }
    }

    /// A bad record costs the entries in it, and those alone, where the next entry is of the same term: then nothing in
    /// it can have overruled what was before.
    #[test]
    fn a_bad_record_costs_what_is_in_it() {
        let records = vec![
            metadata(1),
            entry(2, 1),
            state(1),
            entry(2, 2),
            entry(2, 3),
            state(2),
            entry(2, 4),
            state(4),
        ];
        let read = |place: usize| {
            let (dir, _) = log(&[(0, records.clone())]);
            flip(dir.path(), (0, 0), &records, place);
            let wal = WalDir::open(dir.path()).unwrap();
            let scanned = Log::scan(&wal, 0).unwrap();
            assert_eq!((scanned.status.last_index, scanned.bad.len(), &scanned.damage), (4, 1, &None));
            assert_eq!(damage(Log::scan_valid(&wal, 0)), "wal.damaged");
            (dir, wal)
        };
        // Entry 3.
        let (_dir, wal) = read(5);
        assert_eq!(missing(terms(&wal, 0, 4)), (3, 3));
        assert_eq!(missing(terms(&wal, 2, 4)), (3, 3));
        assert_eq!(terms(&wal, 3, 4).unwrap(), [(4, 2)]);
        assert_eq!(terms(&wal, 0, 2).unwrap(), [(1, 2), (2, 2)]);
        let (to_gap, gap) = Entries::find_to_gap(&wal, 0, 4).unwrap();
        assert_eq!((to_gap.up_to(), gap), (2, Some(FindingKind::WalEntriesMissing { first: 3, last: 3 })));
        // A hard state: no entry is lost.
        let (_dir, wal) = read(6);
        assert_eq!(terms(&wal, 0, 4).unwrap(), [(1, 2), (2, 2), (3, 2), (4, 2)]);
    }

    /// Where the term rises behind a bad record, an entry in it may have overruled those before, but for those that were
    /// committed.
    #[test]
    fn what_a_bad_record_may_have_overruled_does_not_count() {
        let records = vec![
            metadata(1),
            entry(1, 1),
            entry(1, 2),
            entry(1, 3),
            state(1),
            entry(2, 2),
            entry(2, 3),
            state(3),
        ];
        let (dir, wal) = log(&[(0, records.clone())]);
        assert_eq!(terms(&wal, 0, 3).unwrap(), [(1, 1), (2, 2), (3, 2)]);
        flip(dir.path(), (0, 0), &records, 6);
        assert_eq!(missing(terms(&wal, 0, 3)), (2, 2));
        let (to_gap, _) = Entries::find_to_gap(&wal, 0, 3).unwrap();
        assert_eq!(to_gap.up_to(), 1);
        assert_eq!(terms(&wal, 2, 3).unwrap(), [(3, 2)]);
    }

    /// A segment that is missing or broken to its end costs the entries in it; the next one begins with its own crc.
    #[test]
    fn reading_goes_on_with_the_next_segment() {
        let segments = [
            (0, vec![metadata(1), entry(2, 1), entry(2, 2), state(1)]),
            (3, vec![metadata(1), state(2), entry(2, 3), entry(2, 4)]),
            (5, vec![metadata(1), state(4), entry(2, 5), state(5)]),
        ];
        let (dir, _) = log(&segments);
        let middle = dir.path().join(segment_name(1, 3));
        let bytes = fs_err::read(&middle).unwrap();
        for change in ["missing", "noise"] {
            match change {
                "missing" => fs_err::remove_file(&middle).unwrap(),
                _ => fs_err::write(&middle, vec![0x5a; bytes.len()]).unwrap(),
            }
            let wal = WalDir::open(dir.path()).unwrap();
            assert_eq!(missing(terms(&wal, 1, 5)), (3, 4), "{change}");
            assert_eq!(terms(&wal, 4, 5).unwrap(), [(5, 2)], "{change}");
            assert_eq!(terms(&wal, 0, 2).unwrap(), [(1, 2), (2, 2)], "{change}");
            assert_eq!(Log::scan(&wal, 0).unwrap().bad.len(), 1, "{change}");
        }
    }

    /// Entries 1 and on are all there is of a cluster that began with an empty store, and not of one that was restored.
    #[test]
    fn a_log_that_begins_with_its_cluster_is_told_from_a_restored_one() {
        let member = |index| {
            let entry = Entry { kind: Some(1), term: Some(1), index: Some(index), data: None };
            record(RecordKind::Entry, &entry)
        };
        let noted = |index| {
            record(RecordKind::Snapshot, &WalSnapshot { index: Some(index), ..WalSnapshot::default() })
        };
        let is_from_start = |records: Vec<Record>| {
            let (_dir, wal) = log(&[(0, records)]);
            Log::scan(&wal, 0).unwrap().is_from_start
        };
        assert!(is_from_start(vec![metadata(1), noted(0), member(1), member(2), state(2), entry(2, 3)]));
        assert!(!is_from_start(vec![
            metadata(1),
            noted(0),
            member(1),
            member(2),
            state(2),
            noted(2),
            entry(2, 3)
        ]));
        assert!(!is_from_start(vec![metadata(1), noted(9), entry(2, 10)]));
        assert!(!is_from_start(vec![metadata(1), entry(2, 1), entry(2, 2)]));
    }
}
