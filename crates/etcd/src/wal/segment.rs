//! Records to bytes and back.

use std::io::Cursor;

use prost::Message;
use prost::bytes::Bytes;

use crate::finding::WalDefect;
use crate::proto::WalRecord;
use crate::wal::read::{SegmentReader, Step};

/// Bytes a segment is laid out with (`wal.go`, `SegmentSizeBytes`): 64 MB, decimal.
pub const SEGMENT_SIZE: u64 = 64_000_000;

pub(super) const LENGTH_BITS: u32 = 56;

/// What a record holds (`wal.go`, `MetadataType` and on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Whose log it is: member and cluster id.
    Metadata,
    /// A raft entry.
    Entry,
    /// A raft hard state: term, vote, commit index.
    State,
    /// The crc that the records after it run on from.
    Crc,
    /// Mark of a raft snapshot: index, term, conf state.
    Snapshot,
}

impl RecordKind {
    fn number(self) -> i64 {
        match self {
            Self::Metadata => 1,
            Self::Entry => 2,
            Self::State => 3,
            Self::Crc => 4,
            Self::Snapshot => 5,
        }
    }

    pub(super) fn of(number: i64) -> Option<Self> {
        [Self::Metadata, Self::Entry, Self::State, Self::Crc, Self::Snapshot]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it holds.
    pub kind: RecordKind,
    /// The encoded message.
    pub data: Bytes,
}

/// The inverse of [`segment_name`]; `None` for other files, such as those that end in `.tmp` and `.broken`.
pub(super) fn parse_segment_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
    let number = |digits: &str| {
        let is_hex = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    Some((number(sequence)?, number(first_index)?))
}

/// File name of a segment: `sequence` counts segments from 0, `first_index` is that of its first entry.
pub fn segment_name(sequence: u64, first_index: u64) -> String {
    format!("{sequence:016x}-{first_index:016x}.wal")
}

/// The bytes of a first segment with these records, the crc record before them included.
pub fn encode(records: &[Record]) -> Vec<u8> {
    encode_after(0, records).0
}

/// Like [`encode`], for a segment that goes on from the crc another ended with; tells the crc it ends with.
pub(super) fn encode_after(mut crc: u32, records: &[Record]) -> (Vec<u8>, u32) {
    let mut bytes = Vec::new();
    frame(&mut bytes, &WalRecord { kind: Some(RecordKind::Crc.number()), crc: Some(crc), data: None });
    for Record { kind, data } in records {
        crc = crc32c::crc32c_append(crc, data);
        frame(&mut bytes, &WalRecord { kind: Some(kind.number()), crc: Some(crc), data: Some(data.clone()) });
    }
    (bytes, crc)
}

fn frame(bytes: &mut Vec<u8>, record: &WalRecord) {
    let record = record.encode_to_vec();
    let padding = record.len().next_multiple_of(8) - record.len();
    let flags = if padding == 0 { 0 } else { 0x80 | padding as u64 };
    bytes.extend_from_slice(&(record.len() as u64 | flags << LENGTH_BITS).to_le_bytes());
    bytes.extend_from_slice(&record);
    bytes.resize(bytes.len() + padding, 0);
}

/// Reads the records of a first segment up to its zeros, and verifies their crcs.
///
/// # Errors
/// The first defect.
pub fn decode(segment: &[u8]) -> Result<Vec<Record>, WalDefect> {
    let mut reader = SegmentReader::new(Cursor::new(segment), segment.len() as u64, None, false);
    let mut records = Vec::new();
    // Bytes in memory fail to be read only where they end.
    while let Step::Record(record) =
        reader.step().map_err(|failure| failure.defect().unwrap_or(WalDefect::Frame { offset: 0 }))?
    {
        if record.kind != RecordKind::Crc {
            records.push(record);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let kinds = vec![RecordKind::Metadata, RecordKind::Entry, RecordKind::State, RecordKind::Snapshot];
        (prop::sample::select(kinds), prop::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(kind, data)| Record { kind, data: data.into() })
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(records in prop::collection::vec(record(), 0..8), zeros in 0usize..40) {
            let mut bytes = encode(&records);
            prop_assert_eq!(bytes.len() % 8, 0);
            bytes.resize(bytes.len() + zeros, 0);
            prop_assert_eq!(decode(&bytes).unwrap(), records);
        }

        #[test]
        fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_never_silent(records in prop::collection::vec(record(), 1..5), bit: prop::sample::Index) {
            let good = encode(&records);
            let mut bad = good.clone();
            let bit = bit.index(bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            // Padding carries nothing, the crc does not cover a record's type, and a frame length of one
            // bit can become zero, the log's end: what is read may then be less, but no data differs.
            if let Ok(read) = decode(&bad) {
                prop_assert!(read.len() <= records.len());
                for (found, written) in read.iter().zip(&records) {
                    prop_assert_eq!(&found.data, &written.data);
                }
            }
        }
    }

    /// The start of a segment that `etcdutl snapshot restore` 3.6.16 wrote.
    #[test]
    fn bytes_as_etcd_writes_them() {
        let etcd = b"\x04\0\0\0\0\0\0\x84\x08\x04\x10\0\0\0\0\0\
            \x1e\0\0\0\0\0\0\x82\x08\x01\x10\xc4\x94\x8e\xde\x03\x1a\x14\
            \x08\xce\xab\x8b\x9f\xbd\xb0\x95\xa0\x71\x10\xb7\xa5\xc3\x80\xb7\xe2\x9d\xd5\x24\0\0\
            \x0e\0\0\0\0\0\0\x82\x08\x05\x10\xd1\xb5\x8b\xa1\x03\x1a\x04\x08\0\x10\0\0\0";
        let records = decode(etcd).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(encode(&records), etcd);
        assert_eq!(segment_name(0, 0), "0000000000000000-0000000000000000.wal");
    }
}
