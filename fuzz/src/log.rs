//! The write-ahead log.

use std::cell::RefCell;

use lifeboat_etcd::log_position;
use lifeboat_etcd::wal::{Record, RecordKind, decode, encode, segment_name};
use tempfile::TempDir;

use crate::scratch;

/// Reads a segment, and one of sound frames and crcs that holds the same bytes as records: nearly no change gets past
/// a crc.
pub fn wal(bytes: &[u8]) {
    if let Ok(records) = decode(bytes) {
        assert_eq!(decode(&encode(&records)).as_ref(), Ok(&records), "what was read can be written");
    }
    position(bytes);

    let mut rest = bytes;
    let records: Vec<_> = std::iter::from_fn(|| record(&mut rest)).collect();
    let segment = encode(&records);
    assert_eq!(decode(&segment).as_ref(), Ok(&records), "what was written can be read");
    position(&segment);
}

/// Takes a record off: its kind, its length, its data.
fn record(rest: &mut &[u8]) -> Option<Record> {
    let [kind, more @ ..] = rest else { return None };
    let kinds = [RecordKind::Entry, RecordKind::State, RecordKind::Metadata, RecordKind::Snapshot];
    let data = take(more, rest)?;
    Some(Record { kind: kinds[usize::from(*kind) % kinds.len()], data: data.into() })
}

/// Takes bytes off `from` that their length, two bytes, stands before; `rest` is what stays.
pub fn take<'a>(from: &'a [u8], rest: &mut &'a [u8]) -> Option<Vec<u8>> {
    let (length, data) = from.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length)).min(data.len());
    let (data, after) = data.split_at(length);
    *rest = after;
    Some(data.to_vec())
}

/// Reads it as the log of a member.
fn position(segment: &[u8]) {
    thread_local!(static DIR: RefCell<TempDir> = RefCell::new(scratch::dir()));
    DIR.with_borrow(|dir| {
        scratch::write(&dir.path().join("member/wal").join(segment_name(0, 0)), segment);
        let _ = log_position(dir.path(), None);
    });
}
