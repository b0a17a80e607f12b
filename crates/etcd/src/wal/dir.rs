//! The segments of a log, and the walk through them (`wal.go`, `openAtIndex`, `ReadAll`; `util.go`).

use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::finding::FindingKind;
use crate::wal::read::{Failure, SegmentReader, Step};
use crate::wal::segment::{Record, RecordKind, WalDefect, parse_segment_name};

const BUFFER: usize = 1 << 18;

/// The segments of a WAL directory, by sequence. Opened read-only, one at a time.
#[derive(Debug)]
pub(crate) struct WalDir {
    dir: PathBuf,
    segments: Vec<Segment>,
}

#[derive(Debug)]
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
    /// With damage; what comes behind it cannot be read.
    Damaged(FindingKind),
}

/// Where a crash cut a log short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) segment: String,
    pub(crate) offset: u64,
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
        if segments.is_empty() { Err(missing()) } else { Ok(Self { dir: dir.into(), segments }) }
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
    /// later, with all. Tells where a crash cut it short.
    ///
    /// # Errors
    /// Damage anywhere but in such a torn tail; what `visit` returned, which also ends the walk.
    pub(crate) fn walk(
        &self,
        index: u64,
        visit: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<Option<Torn>> {
        match self.walk_to_damage(index, visit)? {
            End::Whole => Ok(None),
            End::Torn(torn) => Ok(Some(torn)),
            End::Damaged(kind) => Err(kind.into()),
        }
    }

    /// Like [`WalDir::walk`], and takes damage for the end of the log.
    ///
    /// # Errors
    /// A failed read; what `visit` returned.
    pub(crate) fn walk_to_damage(
        &self,
        index: u64,
        visit: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<End> {
        let segments = self.segments_from(index);
        let mut metadata = None;
        let mut crc = 0;
        let mut expected = None;
        for (place, segment) in segments.iter().enumerate() {
            if let Some(sequence) = expected.filter(|sequence| *sequence != segment.sequence) {
                return Ok(End::Damaged(FindingKind::WalSegmentMissing { sequence }));
            }
            expected = segment.sequence.checked_add(1);
            let file = open_regular(&self.dir.join(&segment.name))?;
            let size = file.metadata()?.len();
            let is_last = place + 1 == segments.len();
            let mut reader = SegmentReader::new(BufReader::with_capacity(BUFFER, file), size, crc, is_last);
            loop {
                let offset = reader.offset();
                let step = match reader.step() {
                    Ok(step) => step,
                    Err(Failure::Defect(defect)) => return Ok(segment.damage(defect)),
                    Err(Failure::Io(error)) => return Err(error.into()),
                };
                match step {
                    Step::Record(record) => {
                        if record.kind == RecordKind::Metadata
                            && *metadata.get_or_insert_with(|| record.data.clone()) != record.data
                        {
                            return Ok(segment.damage(WalDefect::Metadata { offset }));
                        }
                        visit(&record)?;
                    }
                    Step::End => break,
                    Step::Torn(offset) => {
                        return Ok(End::Torn(Torn { segment: segment.name.clone(), offset }));
                    }
                }
            }
            crc = reader.crc();
        }
        Ok(End::Whole)
    }
}

impl Segment {
    fn damage(&self, defect: WalDefect) -> End {
        End::Damaged(FindingKind::Wal { segment: self.name.clone(), defect })
    }
}
