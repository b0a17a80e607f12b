//! Streams the records of one segment (`decoder.go`, `decodeRecord`, `isTornEntry`), a record in memory at a
//! time.

use std::io::{self, Read};

use prost::Message;

use crate::proto::WalRecord;
use crate::wal::segment::{LENGTH_BITS, Record, RecordKind, WalDefect};

/// Longest record read. etcd's largest request is a few MiB; a damaged length must not become an allocation.
const MOST_RECORD_BYTES: u64 = 256 << 20;
const FRAME_SIZE: u64 = 8;
const ZEROS_AT_ONCE: u64 = 1 << 18;
/// Disks write whole sectors: a record cut short by a crash has one that is still zero.
const SECTOR: usize = 512;

/// What comes next in a segment.
pub(super) enum Step {
    /// A sound record.
    Record(Record),
    /// The zeros behind the last record, or the end of the file.
    End,
    /// A record that a crash cut short, at this offset: the end of a last segment.
    Torn(u64),
}

/// Why a segment cannot be read on.
#[derive(Debug)]
pub(super) enum Failure {
    Defect(WalDefect),
    Io(io::Error),
}

impl Failure {
    pub(super) fn defect(self) -> Option<WalDefect> {
        match self {
            Self::Defect(defect) => Some(defect),
            Self::Io(_) => None,
        }
    }
}

impl From<WalDefect> for Failure {
    fn from(defect: WalDefect) -> Self {
        Self::Defect(defect)
    }
}

/// Reads a segment from its start.
pub(super) struct SegmentReader<R> {
    input: R,
    size: u64,
    offset: u64,
    /// Over the data of all records so far, of earlier segments too.
    crc: u32,
    is_last: bool,
    bytes: Vec<u8>,
}

impl<R: Read> SegmentReader<R> {
    /// `size` is that of the file; `crc` what the segment before ended with, 0 when this is the first one read;
    /// `is_last`, whether a crash may have cut it short.
    pub(super) fn new(input: R, size: u64, crc: u32, is_last: bool) -> Self {
        Self { input, size, offset: 0, crc, is_last, bytes: Vec::new() }
    }

    /// Offset of the next record.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The rolling crc behind the last record.
    pub(super) fn crc(&self) -> u32 {
        self.crc
    }

    /// Reads the next record.
    pub(super) fn step(&mut self) -> Result<Step, Failure> {
        let offset = self.offset;
        let frame = WalDefect::Frame { offset };
        if self.fill(FRAME_SIZE)? < FRAME_SIZE {
            let is_end = self.bytes.iter().all(|byte| *byte == 0);
            return if is_end { Ok(Step::End) } else { self.cut_short(frame) };
        }
        let length = self.bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if length == 0 {
            let torn = self.is_last && self.goes_on()?;
            return Ok(if torn { Step::Torn(offset) } else { Step::End });
        }
        let (size, padding) = split_length(length).ok_or(frame)?;
        let framed = size + padding;
        if framed > self.size.saturating_sub(offset + FRAME_SIZE) {
            return self.cut_short(frame);
        }
        if framed > MOST_RECORD_BYTES {
            return Err(frame.into());
        }
        if self.fill(framed)? < framed {
            return self.cut_short(frame);
        }
        match self.record(offset, size) {
            Ok(record) => {
                self.offset = offset + FRAME_SIZE + framed;
                Ok(Step::Record(record))
            }
            Err(_) if self.is_last && has_zero_sector(&self.bytes, offset + FRAME_SIZE) => {
                Ok(Step::Torn(offset))
            }
            Err(defect) => Err(defect.into()),
        }
    }

    fn record(&mut self, offset: u64, size: u64) -> Result<Record, WalDefect> {
        let undecodable = WalDefect::Record { offset };
        let bytes = usize::try_from(size).ok().and_then(|size| self.bytes.get(..size));
        let record = WalRecord::decode(bytes.unwrap_or_default()).map_err(|_| undecodable)?;
        let kind = record.kind.and_then(RecordKind::of).ok_or(undecodable)?;
        let data = record.data.unwrap_or_default();
        let found = record.crc.unwrap_or(0);
        let crc = match kind {
            // The first segment read may be a later one, whose records run on from what it says itself.
            RecordKind::Crc if self.crc == 0 => found,
            RecordKind::Crc => self.crc,
            _ => crc32c::crc32c_append(self.crc, &data),
        };
        if (offset == 0) != (kind == RecordKind::Crc) {
            return Err(undecodable);
        }
        if crc != found {
            return Err(WalDefect::Crc { offset });
        }
        self.crc = crc;
        Ok(Record { kind, data })
    }

    /// Whether anything but zeros lies behind a length of zero: a crash that wrote later sectors only leaves that,
    /// and so does a flipped bit in the length.
    fn goes_on(&mut self) -> Result<bool, Failure> {
        while self.fill(ZEROS_AT_ONCE)? > 0 {
            if self.bytes.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads up to `length` bytes, and tells how many there were.
    fn fill(&mut self, length: u64) -> Result<u64, Failure> {
        self.bytes.clear();
        (&mut self.input).take(length).read_to_end(&mut self.bytes).map_err(Failure::Io)?;
        Ok(self.bytes.len() as u64)
    }

    fn cut_short(&self, defect: WalDefect) -> Result<Step, Failure> {
        if self.is_last { Ok(Step::Torn(self.offset)) } else { Err(defect.into()) }
    }
}

/// Bytes of a record and of its padding.
fn split_length(length: u64) -> Option<(u64, u64)> {
    let padding = match length >> LENGTH_BITS {
        0 => 0,
        flags if flags & !0x87 == 0 && flags & 0x80 != 0 => flags & 0x7,
        _ => return None,
    };
    Some((length & ((1 << LENGTH_BITS) - 1), padding))
}

/// Whether one of the pieces of a record that lie in sectors of their own is all zeros.
fn has_zero_sector(record: &[u8], offset: u64) -> bool {
    let into_sector = usize::try_from(offset % SECTOR as u64).unwrap_or(0);
    let (first, rest) = record.split_at(record.len().min(SECTOR - into_sector));
    let is_zero = |piece: &[u8]| !piece.is_empty() && piece.iter().all(|byte| *byte == 0);
    is_zero(first) || rest.chunks(SECTOR).any(is_zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::encode;

    fn read(bytes: &[u8], is_last: bool) -> Result<(usize, Option<u64>), WalDefect> {
        let mut reader = SegmentReader::new(bytes, bytes.len() as u64, 0, is_last);
        let mut records = 0;
        loop {
            match reader.step().map_err(|failure| failure.defect().unwrap())? {
                Step::Record(_) => records += 1,
                Step::End => return Ok((records, None)),
                Step::Torn(offset) => return Ok((records, Some(offset))),
            }
        }
    }

    /// What a crash leaves of the last record: its end missing, or a sector of it not written.
    #[test]
    fn a_torn_tail_ends_the_last_segment_only() {
        let record = |size| Record { kind: RecordKind::Entry, data: vec![7; size] };
        let sound = encode(&[record(100)]);
        let whole = encode(&[record(100), record(2000)]);
        let end = sound.len() as u64;
        for cut in [1, 7, 8, 100, 1999] {
            let bytes = &whole[..sound.len() + cut];
            assert_eq!(read(bytes, true), Ok((2, Some(end))), "{cut}");
            assert!(read(bytes, false).is_err(), "{cut}");
        }
        let mut unwritten = whole.clone();
        unwritten[1024..1536].fill(0);
        assert_eq!(read(&unwritten, true), Ok((2, Some(end))));
        assert!(read(&unwritten, false).is_err());
        let mut skipped = whole.clone();
        skipped[sound.len()..sound.len() + 8].fill(0);
        assert_eq!(read(&skipped, true), Ok((2, Some(end))));
        // A flipped bit leaves no zero sector: that is damage, not a crash.
        let mut flipped = whole;
        flipped[1024] ^= 1;
        assert!(read(&flipped, true).is_err());
    }
}
