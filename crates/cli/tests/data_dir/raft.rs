//! Entries of raft's log, encoded by hand: the messages of the code under test prove nothing about it.

use std::path::Path;

use lifeboat_etcd::wal::{Record, RecordKind, SEGMENT_SIZE, decode, encode};

/// A protobuf message under way.
#[derive(Clone, Default)]
pub struct Proto(pub Vec<u8>);

impl Proto {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A number, also when it is zero.
    pub fn number(mut self, tag: u32, number: i64) -> Self {
        self.varint(u64::from(tag) << 3);
        self.varint(number as u64);
        self
    }

    /// A number, unless it is zero.
    pub fn nonzero(self, tag: u32, number: i64) -> Self {
        if number == 0 { self } else { self.number(tag, number) }
    }

    /// Bytes or a message, also when there are none.
    pub fn bytes(mut self, tag: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(u64::from(tag) << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Bytes, unless there are none.
    pub fn nonempty(self, tag: u32, bytes: impl AsRef<[u8]>) -> Self {
        if bytes.as_ref().is_empty() { self } else { self.bytes(tag, bytes) }
    }
}

impl AsRef<[u8]> for Proto {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A normal entry's data: an InternalRaftRequest with this field.
pub fn request(tag: u32, message: impl AsRef<[u8]>) -> Vec<u8> {
    request_of("", 0, tag, message)
}

/// The same of a user, let in at an auth revision.
pub fn request_of(user: &str, revision: i64, tag: u32, message: impl AsRef<[u8]>) -> Vec<u8> {
    let header = Proto::default().number(1, 77).nonempty(2, user).nonzero(3, revision);
    if tag < 100 {
        return Proto::default().bytes(tag, message).bytes(100, header).0;
    }
    Proto::default().bytes(100, header).bytes(tag, message).0
}

/// An entry of the log.
pub struct Entry {
    /// 0 normal, 1 conf change.
    pub kind: i64,
    pub data: Vec<u8>,
}

impl Entry {
    pub fn normal(data: Vec<u8>) -> Self {
        Self { kind: 0, data }
    }

    /// `kind`: 0 add, 1 remove, 2 update, 3 add learner.
    pub fn conf_change(kind: i64, node: u64, context: &str) -> Self {
        let change = Proto::default().number(1, 9).number(2, kind).number(3, node as i64);
        Self { kind: 1, data: change.nonempty(4, context).0 }
    }

    pub fn record(&self, term: u64, index: u64) -> Record {
        let entry = Proto::default().number(1, self.kind).number(2, term as i64).number(3, index as i64);
        Record { kind: RecordKind::Entry, data: entry.nonempty(4, &self.data).0.into() }
    }
}

pub fn hard_state(term: u64, vote: u64, commit: u64) -> Record {
    let state = Proto::default().number(1, term as i64).number(2, vote as i64).number(3, commit as i64);
    Record { kind: RecordKind::State, data: state.0.into() }
}

pub fn snapshot(term: u64, index: u64) -> Record {
    let snapshot = Proto::default().number(1, index as i64).number(2, term as i64);
    Record { kind: RecordKind::Snapshot, data: snapshot.0.into() }
}

/// The one segment of a restored member.
pub fn segment(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("member/wal/0000000000000000-0000000000000000.wal")
}

/// Adds records to the log of a restored member.
pub fn append(data_dir: &Path, records: Vec<Record>) {
    let path = segment(data_dir);
    let mut all = decode(&fs_err::read(&path).unwrap()).unwrap();
    all.extend(records);
    let bytes = encode(&all);
    fs_err::write(&path, &bytes).unwrap();
    let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(SEGMENT_SIZE.max(bytes.len() as u64)).unwrap();
}
