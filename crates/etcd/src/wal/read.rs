//! Streams the records of one segment (`decoder.go`, `decodeRecord`, `isTornEntry`), a record in memory at a
//! time, and finds the next record that is proven behind a bad one (`resume`).

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{decode_varint, encoded_len_varint};

use crate::finding::WalDefect;
use crate::proto::WalRecord;
use crate::wal::segment::{LENGTH_BITS, Record, RecordKind};

/// Longest record read. etcd's largest request is a few MiB; a damaged length must not become an allocation.
const MAX_RECORD_BYTES: u64 = 256 << 20;
const FRAME_SIZE: u64 = 8;
/// Reserved at most before a record is read: its length may be damaged.
const MAX_RESERVED_BYTES: u64 = 1 << 20;
/// Of records, and bytes of a frame.
const ALIGNMENT: usize = 8;
/// Tags of walpb.Record's fields.
const KIND_TAG: u8 = 0x08;
const CRC_TAG: u8 = 0x10;
const DATA_TAG: u8 = 0x1a;
const ZEROS_AT_ONCE: u64 = 1 << 18;
/// Disks write whole sectors: a record cut short by a crash has one that is still zero.
const SECTOR: usize = 512;

/// What comes next in a segment.
pub(super) enum Step {
    /// A valid record.
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

/// How to continue after a bad record.
pub(super) enum Resumed {
    /// The bad record itself is proven: only its frame or its stored crc is wrong.
    Proven(Record),
    /// The bad record is lost, and maybe some behind it; the next one is proven.
    Lost,
}

/// Reads a segment from its start.
pub(super) struct SegmentReader<R> {
    input: Input<R>,
    size: u64,
    offset: u64,
    /// Over the data of all records so far, of earlier segments too; `None` until the first one read tells it.
    crc: Option<u32>,
    is_last: bool,
    /// Bytes whose crcs may still be computed in search of a proven record: hostile bytes could ask for any number.
    budget: Option<u64>,
}

/// A segment as a stream; once a bad record was met, what is left of it in memory.
enum Input<R> {
    Stream(R),
    Memory {
        /// Offset in the segment of the first byte.
        start: u64,
        rest: Cursor<Vec<u8>>,
    },
}

impl<R: Read + Seek> Input<R> {
    /// Takes what is left of the segment into memory, from an offset on at least; tells from where, and the bytes.
    fn load(&mut self, offset: u64) -> io::Result<(u64, &[u8])> {
        if let Self::Stream(stream) = self {
            stream.seek(SeekFrom::Start(offset))?;
            let rest = without_end_of_zeros(&mut stream.take(MAX_RECORD_BYTES))?;
            *self = Self::Memory { start: offset, rest: Cursor::new(rest) };
        }
        match self {
            Self::Memory { start, rest } => Ok((*start, rest.get_ref())),
            Self::Stream(_) => Ok((offset, &[])),
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buf),
            Self::Memory { rest, .. } => rest.read(buf),
        }
    }
}

impl<R: Read + Seek> SegmentReader<R> {
    /// `size` is that of the file; `crc` what the segment before ended with, `None` when that is not known;
    /// `is_last`, whether a crash may have cut it short.
    pub(super) fn new(input: R, size: u64, crc: Option<u32>, is_last: bool) -> Self {
        let input = Input::Stream(input);
        Self { input, size, offset: 0, crc, is_last, budget: None }
    }

    /// Offset of the next record.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The rolling crc behind the last record.
    pub(super) fn crc(&self) -> Option<u32> {
        self.crc
    }

    /// Reads the next record.
    pub(super) fn step(&mut self) -> Result<Step, Failure> {
        let offset = self.offset;
        let frame = WalDefect::Frame { offset };
        let mut length = [0; size_of::<u64>()];
        let is_cut = read_full(&mut self.input, &mut length).map_err(Failure::Io)? < length.len();
        let length = u64::from_le_bytes(length);
        if is_cut {
            return if length == 0 { Ok(Step::End) } else { self.cut_short(frame) };
        }
        if length == 0 {
            return match self.goes_on()? {
                false => Ok(Step::End),
                true => self.cut_short(frame),
            };
        }
        let (size, padding) = split_length(length).ok_or(frame)?;
        let framed = size + padding;
        if framed > self.size.saturating_sub(offset + FRAME_SIZE) {
            return self.cut_short(frame);
        }
        if framed > MAX_RECORD_BYTES || !framed.is_multiple_of(ALIGNMENT as u64) {
            return Err(frame.into());
        }
        let bytes = Bytes::from(self.read(framed)?);
        if (bytes.len() as u64) < framed {
            return self.cut_short(frame);
        }
        match self.record(offset, size, &bytes) {
            Ok(record) => {
                self.offset = offset + FRAME_SIZE + framed;
                Ok(Step::Record(record))
            }
            Err(_) if self.is_last && has_zero_sector(&bytes, offset + FRAME_SIZE) => Ok(Step::Torn(offset)),
            Err(defect) => Err(defect.into()),
        }
    }

    /// Decodes `size` of these bytes; the record's data shares them.
    fn record(&mut self, offset: u64, size: u64, bytes: &Bytes) -> Result<Record, WalDefect> {
        let undecodable = WalDefect::Record { offset };
        let size = usize::try_from(size).map_or(bytes.len(), |size| size.min(bytes.len()));
        let record = WalRecord::decode(bytes.slice(..size)).map_err(|_| undecodable)?;
        let kind = record.kind.and_then(RecordKind::of).ok_or(undecodable)?;
        let data = record.data.unwrap_or_default();
        let found = record.crc.unwrap_or(0);
        // The first segment read may be a later one, whose records run on from what it says itself.
        let crc = self.crc.map_or(found, |crc| crc32c::crc32c_append(crc, &data));
        if (offset == 0) != (kind == RecordKind::Crc) {
            return Err(undecodable);
        }
        if crc != found {
            return Err(WalDefect::Crc { offset });
        }
        self.crc = Some(crc);
        Ok(Record { kind, data })
    }

    /// Goes on behind the bad record that the last step met, if a record behind it is proven; `None` when none is.
    ///
    /// A record stores the rolling crc of all data up to its own. So the stored crc of a bad record proves the next
    /// one when only the bad one's data is wrong; and when only that stored crc is wrong, the next one's proves both.
    /// When the frame is wrong, the record's own lengths lead to the next one. Otherwise the segment is searched for
    /// two records of which the first one's crc proves the second.
    pub(super) fn resume(&mut self) -> io::Result<Option<Resumed>> {
        let at = self.offset;
        let (start, rest) = self.input.load(at)?;
        let bytes = rest.get(usize::try_from(at - start).unwrap_or(usize::MAX)..).unwrap_or_default();
        let mut budget = self.budget.unwrap_or_else(|| (bytes.len() as u64).saturating_mul(4));
        let found = search(bytes, at == 0, self.crc, &mut budget);
        self.budget = Some(budget);
        let resumed = found.map(|Found { next, crc, resumed }| {
            self.offset += next as u64;
            self.crc = Some(crc);
            resumed
        });
        if let Input::Memory { rest, .. } = &mut self.input {
            rest.set_position(self.offset - start);
        }
        Ok(resumed)
    }

    /// Whether anything but zeros lies behind a length of zero: a crash that wrote later sectors only leaves that,
    /// and so does a flipped bit in the length.
    fn goes_on(&mut self) -> Result<bool, Failure> {
        loop {
            let bytes = self.read(ZEROS_AT_ONCE)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
        }
    }

    /// Reads `length` bytes, or fewer at the end of the segment.
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(MAX_RESERVED_BYTES)).unwrap_or(0));
        (&mut self.input).take(length).read_to_end(&mut bytes).map_err(Failure::Io)?;
        Ok(bytes)
    }

    fn cut_short(&self, defect: WalDefect) -> Result<Step, Failure> {
        if self.is_last { Ok(Step::Torn(self.offset)) } else { Err(defect.into()) }
    }
}

/// Fills a buffer, but for what the input does not have; tells how much it had.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads to the end; the zeros that a segment is laid out with are not kept, but for the padding of a last record.
fn without_end_of_zeros(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut bytes, mut zeros, mut chunk) = (Vec::new(), 0, Vec::new());
    loop {
        chunk.clear();
        if input.by_ref().take(ZEROS_AT_ONCE).read_to_end(&mut chunk)? == 0 {
            bytes.resize(bytes.len() + zeros.min(ALIGNMENT), 0);
            return Ok(bytes);
        }
        if chunk.iter().all(|byte| *byte == 0) {
            zeros += chunk.len();
        } else {
            bytes.resize(bytes.len() + std::mem::take(&mut zeros), 0);
            bytes.append(&mut chunk);
        }
    }
}

/// Where reading continues.
struct Found {
    /// Bytes from the bad record to the next one.
    next: usize,
    /// The rolling crc before the next one.
    crc: u32,
    resumed: Resumed,
}

/// Searches the bytes from a bad record on for a record that is proven; `crc` is the rolling one before it.
fn search(bytes: &[u8], is_first: bool, crc: Option<u32>, budget: &mut u64) -> Option<Found> {
    for candidate in [Candidate::framed(bytes, 0), Candidate::of_own_length(bytes)].into_iter().flatten() {
        let Candidate { stored, kind, data, next } = candidate;
        let computed = crc.map(|crc| crc32c::crc32c_append(crc, data));
        let proven = (kind == RecordKind::Crc) == is_first
            && computed
                .is_some_and(|computed| computed == stored || proves_next(bytes, next, computed, budget));
        if let Some(crc) = computed.filter(|_| proven) {
            let resumed = Resumed::Proven(Record { kind, data: Bytes::copy_from_slice(data) });
            return Some(Found { next, crc, resumed });
        }
        if proves_next(bytes, next, stored, budget) {
            return Some(Found { next, crc: stored, resumed: Resumed::Lost });
        }
    }
    // Records are aligned.
    let mut places = (ALIGNMENT..bytes.len()).step_by(ALIGNMENT);
    places.find_map(|place| {
        let Candidate { stored, next, .. } = Candidate::framed(bytes, place)?;
        proves_next(bytes, next, stored, budget).then_some(Found {
            next,
            crc: stored,
            resumed: Resumed::Lost,
        })
    })
}

/// Whether there is a record at an offset that continues a crc.
fn proves_next(bytes: &[u8], place: usize, crc: u32, budget: &mut u64) -> bool {
    let Some(next) = Candidate::framed(bytes, place) else { return false };
    let length = next.data.len() as u64;
    // One without data would prove nothing.
    if next.kind == RecordKind::Crc || length == 0 || *budget < length {
        return false;
    }
    *budget -= length;
    crc32c::crc32c_append(crc, next.data) == next.stored
}

/// What may be a record.
struct Candidate<'a> {
    kind: RecordKind,
    stored: u32,
    data: &'a [u8],
    /// Where the next one begins.
    next: usize,
}

impl<'a> Candidate<'a> {
    /// By the frame at a place.
    fn framed(bytes: &'a [u8], place: usize) -> Option<Self> {
        let rest = bytes.get(place..)?;
        let (size, padding) = split_length(u64::from_le_bytes(*rest.first_chunk()?))?;
        let (size, padding) = (usize::try_from(size).ok()?, usize::try_from(padding).ok()?);
        let end = ALIGNMENT.checked_add(size)?;
        let next = end.checked_add(padding)?;
        let candidate = Self::parse(rest.get(ALIGNMENT..end)?, place.checked_add(next)?)?;
        let is_padded = next.is_multiple_of(ALIGNMENT) && padding < ALIGNMENT;
        (is_padded && next <= rest.len() && candidate.size() == size).then_some(candidate)
    }

    /// At the start, by the lengths within the record, whatever its frame says.
    fn of_own_length(bytes: &'a [u8]) -> Option<Self> {
        let mut candidate = Self::parse(bytes.get(ALIGNMENT..)?, 0)?;
        candidate.next = ALIGNMENT.checked_add(candidate.size())?.checked_next_multiple_of(ALIGNMENT)?;
        (candidate.next <= bytes.len()).then_some(candidate)
    }

    /// Reads the fields in the order that etcd writes them in.
    fn parse(bytes: &'a [u8], next: usize) -> Option<Self> {
        let mut rest = bytes;
        let kind = RecordKind::of(i64::try_from(number(&mut rest, KIND_TAG)?).ok()?)?;
        let stored = u32::try_from(number(&mut rest, CRC_TAG)?).ok()?;
        let data = match kind {
            RecordKind::Crc => &[],
            _ => {
                let length = usize::try_from(number(&mut rest, DATA_TAG)?).ok()?;
                rest.get(..length)?
            }
        };
        Some(Self { kind, stored, data, next })
    }

    /// Bytes of the record.
    fn size(&self) -> usize {
        let data = (self.kind != RecordKind::Crc).then_some(self.data.len());
        let data = data.map_or(0, |length| 1 + encoded_len_varint(length as u64) + length);
        2 + 1 + encoded_len_varint(u64::from(self.stored)) + data
    }
}

/// Takes a field's tag and its number off the front.
fn number(bytes: &mut &[u8], tag: u8) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    if *first == tag { decode_varint(bytes).ok() } else { None }
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
        let mut reader = SegmentReader::new(Cursor::new(bytes), bytes.len() as u64, None, is_last);
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
        let record = |size| Record { kind: RecordKind::Entry, data: vec![7; size].into() };
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

    /// Everything that is read of a segment, with the damage that reading went on behind.
    fn read_on(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<bool>) {
        let mut reader = SegmentReader::new(Cursor::new(bytes), bytes.len() as u64, Some(0), true);
        let (mut records, mut bad) = (Vec::new(), Vec::new());
        loop {
            match reader.step() {
                Ok(Step::Record(record)) => records.push(record.data.to_vec()),
                Ok(Step::End) => return (records, bad),
                Ok(Step::Torn(_)) | Err(_) => match reader.resume().unwrap() {
                    Some(Resumed::Proven(record)) => {
                        records.push(record.data.to_vec());
                        bad.push(false);
                    }
                    Some(Resumed::Lost) => bad.push(true),
                    None => return (records, bad),
                },
            }
        }
    }

    fn sample() -> (Vec<Vec<u8>>, Vec<u8>, Vec<usize>) {
        let data: Vec<Vec<u8>> = (1..8u8).map(|n| vec![n; usize::from(n) * 9]).collect();
        let records: Vec<_> =
            data.iter().map(|data| Record { kind: RecordKind::Entry, data: data.clone().into() }).collect();
        // With the crc record before them.
        let ends = (0..=records.len()).map(|count| encode(&records[..count]).len()).collect();
        let all = std::iter::once(Vec::new()).chain(data).collect();
        (all, encode(&records), ends)
    }

    /// The stored crc of a bad record proves the next one; only the last record has none behind it.
    #[test]
    fn flipped_bits_cost_the_record_that_they_are_in_and_seldom_the_next() {
        let (data, sound, ends) = sample();
        let last = ends[ends.len() - 2];
        let mut proven = 0;
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (read, bad) = read_on(&bytes);
            let place = ends.iter().position(|end| bit / 8 < *end).unwrap();
            let without = |lost: &[usize]| {
                let kept = data.iter().enumerate().filter(|(place, _)| !lost.contains(place));
                kept.map(|(_, data)| data.clone()).collect::<Vec<_>>()
            };
            let expected = [without(&[]), without(&[place]), without(&[place, place + 1])];
            if bit / 8 < last {
                assert!(expected.contains(&read), "bit {bit} of record {place}: {read:?}");
                proven += usize::from(read == data && bad == [false]);
            } else {
                assert!(data.starts_with(&read) && read.len() + 1 >= data.len(), "bit {bit}: {read:?}");
            }
            // What is in a record's data costs that record alone.
            if bit / 8 < last && place > 0 {
                let padding = usize::from(sound[ends[place - 1] + 7] & 7);
                let data_end = ends[place] - padding;
                if (data_end - data[place].len()..data_end).contains(&(bit / 8)) {
                    assert_eq!((read, bad), (without(&[place]), vec![true]), "bit {bit}");
                }
            }
        }
        assert!(proven > 100, "{proven}");
    }

    /// A sector of noise or zeros takes the records in it, and the first behind it, which nothing proves.
    #[test]
    fn reading_goes_on_behind_a_bad_sector() {
        let (data, sound, ends) = sample();
        let mut seed = 3u32;
        for round in 0..40 {
            let mut bytes = sound.clone();
            let (first, last) = (ends[1] + 4, ends[3] - 4);
            bytes[first..last].iter_mut().for_each(|byte| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = if round == 0 { 0 } else { seed.to_be_bytes()[0] };
            });
            let (read, bad) = read_on(&bytes);
            let expected: Vec<_> = data.iter().take(2).chain(&data[5..]).cloned().collect();
            assert_eq!((read, bad), (expected, vec![true]), "round {round}");
        }
    }

    /// What a value holds is not taken for records of the log where the record that holds it is sound but for its frame.
    #[test]
    fn a_log_within_a_value_is_not_read() {
        let inner = encode(
            &[b"one", b"two", b"six"]
                .map(|data| Record { kind: RecordKind::Entry, data: data.to_vec().into() }),
        );
        let outer = [b"before".to_vec(), inner, b"behind".to_vec()];
        let records = outer.clone().map(|data| Record { kind: RecordKind::Entry, data: data.into() });
        let mut bytes = encode(&records);
        let frame = encode(&records[..1]).len();
        bytes[frame + 1] ^= 0x40;
        let (read, bad) = read_on(&bytes);
        assert_eq!((&read[1..], bad), (outer.as_slice(), vec![false]));
    }
}
