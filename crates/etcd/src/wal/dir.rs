//! The segments of a log, and the walk through them (`wal.go`, `openAtIndex`, `ReadAll`; `util.go`).

use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::finding::{FindingKind, WalDefect};
use crate::wal::read::{Failure, Resumed, SegmentReader, Step};
use crate::wal::segment::{Record, RecordKind, parse_segment_name};

const BUFFER: usize = 1 << 18;

/// The segments of a WAL directory, by sequence. Opened read-only, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct WalDir {
    dir: PathBuf,
    segments: Vec<Segment>,
    /// Whether records behind a place that a crash left unwritten count; etcd drops them.
    past_torn: bool,
}

#[derive(Debug, Clone)]
struct Segment {
    name: String,
    sequence: u64,
    first_index: u64,
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With its last record.
    Whole,
    /// Where a crash cut it short.
    Torn(Torn),
    /// With damage; the records after it cannot be read.
    Damaged(FindingKind),
}

/// Where a crash cut a log short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) segment: String,
    pub(crate) offset: u64,
}

/// What a walk through a log meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    /// A record that its crc proves.
    Record(&'a Record),
    /// Damage that is skipped.
    Bad(&'a BadRecord),
}

/// Damage that is followed by proven records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    pub(crate) kind: FindingKind,
    /// Whether records are lost. Else the record is proven, and only its frame or its stored crc is wrong.
    pub(crate) is_lost: bool,
    /// Whether it looks as a crash leaves the end of a log, which etcd cuts off there.
    pub(crate) is_torn: bool,
}

impl WalDir {
    /// Lists a directory. Files of other names, as a crash or a repair leaves them, are passed over.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let missing = || Error::from(FindingKind::WalMissing { dir: dir.into() });
        let entries = match fs_err::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            entries => entries?,
        };
        let mut segments = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some((sequence, first_index)) = parse_segment_name(&name) {
                segments.push(Segment { name, sequence, first_index });
            }
        }
        segments.sort_by_key(|segment| segment.sequence);
        if segments.is_empty() {
            Err(missing())
        } else {
            Ok(Self { dir: dir.into(), segments, past_torn: true })
        }
    }

    /// Calls `visit` with every record that [`WalDir::walk`] meets, past damage.
    ///
    /// # Errors
    /// As [`WalDir::walk`].
    pub(crate) fn walk_records(
        &self,
        index: u64,
        visit: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<End> {
        self.walk(index, &mut |item| match item {
            Item::Record(record) => visit(record),
            Item::Bad(_) => Ok(()),
        })
    }

    /// Like [`WalDir::walk_records`], of a log that must be sound.
    ///
    /// # Errors
    /// As [`WalDir::walk`]; the first damage.
    pub(crate) fn walk_valid(&self, index: u64, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<End> {
        self.walk(index, &mut |item| match item {
            Item::Record(record) => visit(record),
            Item::Bad(bad) => Err(bad.kind.clone().into()),
        })
    }

    /// Whether its first segment is there.
    pub(crate) fn has_start(&self) -> bool {
        self.segments.first().is_some_and(|segment| segment.sequence == 0)
    }

    /// The index in the name of the first segment: it holds the entries from there on.
    pub(crate) fn first_index(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first_index)
    }

    /// Whether records follow a place that a crash left unwritten.
    pub(crate) fn is_torn_within(&self) -> Result<bool> {
        let mut is_torn = false;
        let from = self.segments.last().map_or(0, |last| last.first_index);
        self.walk(from, &mut |item| {
            is_torn |= matches!(item, Item::Bad(bad) if bad.is_torn);
            Ok(())
        })?;
        Ok(is_torn)
    }

    /// The log as etcd reads it, up to the first place that a crash left unwritten.
    pub(crate) fn up_to_torn(&self) -> Self {
        Self { past_torn: false, ..self.clone() }
    }

    /// The segment that holds the entry `index` and those after it; of a log that begins later, all.
    fn segments_from(&self, index: u64) -> &[Segment] {
        let start = self.segments.iter().rposition(|segment| segment.first_index <= index);
        self.segments.get(start.unwrap_or(0)..).unwrap_or_default()
    }

    /// Index of the entry before those that [`WalDir::walk`] meets.
    pub(crate) fn index_before(&self, index: u64) -> u64 {
        self.segments_from(index).first().map_or(0, |segment| segment.first_index.saturating_sub(1))
    }

    /// Calls `visit` with every record from the segment on that holds the entry `index`; of a log that begins
    /// later, with all. Skips damage where the rolling crc proves the records after it; returns how the log ends.
    ///
    /// # Errors
    /// A failed read; what `visit` returned, which also ends the walk.
    pub(crate) fn walk(&self, index: u64, visit: &mut dyn FnMut(Item<'_>) -> Result<()>) -> Result<End> {
        let segments = self.segments_from(index);
        let mut walk = Walk { metadata: None, past_torn: self.past_torn, visit };
        let mut crc = segments.first().filter(|segment| segment.sequence == 0).map(|_| 0);
        let mut expected = None;
        for (place, segment) in segments.iter().enumerate() {
            if let Some(sequence) = expected.filter(|sequence| *sequence != segment.sequence) {
                let kind = FindingKind::WalSegmentMissing { sequence };
                walk.bad(&BadRecord { kind, is_lost: true, is_torn: false })?;
                crc = None;
            }
            expected = segment.sequence.checked_add(1);
            let file = open_regular(&self.dir.join(&segment.name))?;
            let size = file.metadata()?.len();
            let is_last = place + 1 == segments.len();
            let mut reader = SegmentReader::new(BufReader::with_capacity(BUFFER, file), size, crc, is_last);
            match walk.segment(segment, &mut reader)? {
                End::Whole => crc = reader.crc(),
                // The crc that the next segment begins with proves what is in it.
                End::Damaged(kind @ FindingKind::Wal { defect, .. })
                    if !is_last && !matches!(defect, WalDefect::Metadata { .. }) =>
                {
                    walk.bad(&BadRecord { kind, is_lost: true, is_torn: false })?;
                    crc = None;
                }
                end => return Ok(end),
            }
        }
        Ok(End::Whole)
    }
}

/// A walk through the segments of a log.
struct Walk<'a> {
    metadata: Option<Vec<u8>>,
    past_torn: bool,
    visit: &'a mut dyn FnMut(Item<'_>) -> Result<()>,
}

impl Walk<'_> {
    fn segment<R: Read + Seek>(&mut self, segment: &Segment, reader: &mut SegmentReader<R>) -> Result<End> {
        loop {
            let offset = reader.offset();
            let end = match reader.step() {
                Ok(Step::Record(record)) => {
                    if self.record(&record)? {
                        continue;
                    }
                    return Ok(segment.damage(WalDefect::Metadata { offset }));
                }
                Ok(Step::End) => return Ok(End::Whole),
                Ok(Step::Torn(offset)) if !self.past_torn => return Ok(segment.torn(offset)),
                Ok(Step::Torn(offset)) => segment.torn(offset),
                Err(Failure::Defect(defect)) => segment.damage(defect),
                Err(Failure::Io(error)) => return Err(error.into()),
            };
            let Some(resumed) = reader.resume()? else { return Ok(end) };
            let (kind, is_torn) = match end {
                End::Torn(Torn { offset, .. }) => (segment.finding(WalDefect::Unwritten { offset }), true),
                End::Damaged(kind) => (kind, false),
                End::Whole => return Ok(end),
            };
            self.bad(&BadRecord { kind, is_lost: matches!(resumed, Resumed::Lost), is_torn })?;
            if let Resumed::Proven(record) = resumed
                && !self.record(&record)?
            {
                return Ok(segment.damage(WalDefect::Metadata { offset }));
            }
        }
    }

    /// Whether a record is of the same member's log as those before.
    fn record(&mut self, record: &Record) -> Result<bool> {
        if record.kind == RecordKind::Metadata
            && *self.metadata.get_or_insert_with(|| record.data.to_vec()) != record.data
        {
            return Ok(false);
        }
        (self.visit)(Item::Record(record))?;
        Ok(true)
    }

    fn bad(&mut self, bad: &BadRecord) -> Result<()> {
        (self.visit)(Item::Bad(bad))
    }
}

impl Segment {
    fn damage(&self, defect: WalDefect) -> End {
        End::Damaged(self.finding(defect))
    }

    fn finding(&self, defect: WalDefect) -> FindingKind {
        FindingKind::Wal { segment: self.name.clone(), defect }
    }

    fn torn(&self, offset: u64) -> End {
        End::Torn(Torn { segment: self.name.clone(), offset })
    }
}
