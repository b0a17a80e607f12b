//! The requests of a log, and what they do to a db.

use std::cell::RefCell;
use std::path::Path;

use lifeboat_etcd::wal::{Record, RecordKind, encode, segment_name};
use lifeboat_etcd::{
    Error, NoProgress, Query, Replay, Severity, Source, State, check, get, hash_kv, inspect, open_with,
};
use prost::Message;
use tempfile::TempDir;

use crate::log::take;
use crate::scratch;

/// Dbs that requests are applied to: two with users, one without.
const BASES: [&[u8]; 3] =
    [include_bytes!("../bases/3.4.db"), include_bytes!("../bases/3.6.db"), include_bytes!("../bases/3.7.db")];

/// `raftpb.Entry`.
#[derive(Message)]
struct Entry {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(uint64, optional, tag = "2")]
    term: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    index: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    data: Option<Vec<u8>>,
}

/// A member per base, whose log is rewritten each time.
struct Member {
    dir: TempDir,
    /// Index of the last entry that the db has.
    index: u64,
}

/// Applies the data of entries: the first byte chooses the db, then each entry has its kind, its length, its data.
pub fn requests(bytes: &[u8]) {
    thread_local!(static MEMBERS: RefCell<[Member; 3]> = RefCell::new(BASES.map(Member::new)));
    let Some((base, mut rest)) = bytes.split_first() else { return };
    let entries: Vec<_> = std::iter::from_fn(|| entry(&mut rest)).collect();
    MEMBERS.with_borrow(|members| members[usize::from(*base) % members.len()].apply(entries));
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let [kind, more @ ..] = rest else { return None };
    let data = take(more, rest)?;
    // Now and then a kind that there is not.
    Some(Entry { kind: Some(i32::from(kind % 4)), term: Some(9), index: None, data: Some(data) })
}

impl Member {
    fn new(db: &[u8]) -> Self {
        let dir = scratch::dir();
        let path = dir.path().join("member/snap/db");
        scratch::write(&path, db);
        let source = lifeboat_etcd::open(&path).expect("open the base");
        let index = State::read(source.as_ref()).expect("read the base").consistent_index.unwrap_or(0);
        Self { dir, index }
    }

    fn apply(&self, entries: Vec<Entry>) {
        let records = (self.index + 1..).zip(entries).map(|(index, entry)| {
            let entry = Entry { index: Some(index), ..entry };
            Record { kind: RecordKind::Entry, data: entry.encode_to_vec().into() }
        });
        let segment = encode(&records.collect::<Vec<_>>());
        scratch::write(&self.dir.path().join("member/wal").join(segment_name(0, self.index)), &segment);
        read(self.dir.path());
    }
}

/// Reads everything. What is replayed can be read whole; what is not, is refused by every reader.
fn read(data_dir: &Path) {
    let source = open_with(data_dir, Replay::WholeLog, None).expect("the db is sound");
    let source: &dyn Source = source.as_ref();
    let hash = hash_kv(source, None, None, &NoProgress);
    let found = get(source, &Query { prefix: true, ..Query::default() }, &NoProgress);
    let inspected = inspect(source, &NoProgress);
    let report = check(source, &NoProgress).expect("damage is data");
    if source.raft().is_none() {
        assert!(hash.is_err() && found.is_err() && inspected.is_err(), "what cannot be replayed is refused");
        return;
    }
    let (revision, found) = found.expect("what was replayed can be read");
    let inspected = inspected.expect("what was replayed can be inspected");
    let hash = hash.expect("what was replayed can be hashed");
    assert_eq!((hash.hash_revision, inspected.live_keys), (revision, found.len() as u64));
    assert_ne!(report.worst(), Some(Severity::Error), "what was replayed is sound: {:?}", report.findings);
    let mut last = None;
    source
        .revisions(&mut |key, _| {
            assert!(last.replace(key.revision).is_none_or(|last| last < key.revision), "revisions ascend");
            Ok::<_, Error>(())
        })
        .expect("what was replayed can be walked");
}
