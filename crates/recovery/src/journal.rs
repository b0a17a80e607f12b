//! The journal of an operation: each action is recorded before it starts, and its result after.
//!
//! JSON Lines, each line synced before the next action begins, each with a CRC of its entry, so that what a power
//! loss left half-written is told from what was tampered with. `jq .entry` reads it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How the note of a node that was given up begins; its machine follows, and after a colon why.
pub(crate) const GIVEN_UP: &str = "given up: ";

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Time of the event.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A recorded event of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The operation began.
    Started {
        /// `recover` goes on with further rounds after a plan, `apply` ends after its one.
        rounds: bool,
    },
    /// A plan was accepted; its steps follow.
    Plan {
        /// The plan's id.
        plan: String,
    },
    /// A step is about to be done.
    Begin {
        /// Step number, from 1.
        step: u32,
        /// Step title, as in the plan.
        title: String,
    },
    /// Something a later run must know, written before it is done: a machine about to be rebooted.
    Note {
        /// Step number, from 1.
        step: u32,
        /// Text of the note.
        note: String,
    },
    /// A step is done and was found to be.
    Done {
        /// Step number, from 1.
        step: u32,
        /// Whether it was found done without anything to do.
        already: bool,
    },
    /// A step failed.
    Failed {
        /// Step number, from 1.
        step: u32,
        /// Reason, as text for people.
        why: String,
    },
    /// The plan is being rolled back; it cannot be resumed.
    RollingBack {
        /// The plan's id.
        plan: String,
    },
    /// A step is rolled back.
    Undone {
        /// Step number, from 1.
        step: u32,
    },
    /// Every step of the plan is done.
    PlanDone {
        /// The plan's id.
        plan: String,
    },
    /// The operation has ended.
    Ended {
        /// `recovered`, `applied`, `abandoned`, `rolled back`, or what is left for people.
        how: String,
    },
}

/// The line, `crc` first.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    crc: u32,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// Errors of a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line before the last does not match its CRC.
    #[error("{}: line {line} is damaged, so the completed steps are unknown: check the machines, then run `lifeboat \
             recover abandon` and plan again", path.display())]
    Damaged {
        /// Path of the journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: fs::File,
    entries: Vec<Entry>,
}

impl Journal {
    /// Makes a journal; its directory must be there and it must not.
    ///
    /// # Errors
    /// It exists, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        use fs_err::os::unix::fs::OpenOptionsExt;
        let file = fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        file.sync_all()?;
        if let Some(dir) = path.parent() {
            fs::File::open(dir)?.sync_all()?;
        }
        Ok(Self { file, entries: Vec::new() })
    }

    /// Opens a journal to append to it. A last line that a crash cut short is removed.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] when another line does not match its CRC.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let bytes = fs::read(path)?;
        let (entries, good) = parse(&bytes, path)?;
        let file = fs::OpenOptions::new().append(true).open(path)?;
        if good < bytes.len() {
            file.set_len(good as u64)?;
            file.sync_all()?;
        }
        Ok(Self { file, entries })
    }

    /// Reads a journal without touching it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
        parse(&fs::read(path)?, path).map(|(entries, _)| entries)
    }

    /// Writes an entry and waits until it is on the disk.
    ///
    /// # Errors
    /// It could not be written; then what it announces must not be done.
    pub fn record(&mut self, event: Event) -> Result<(), JournalError> {
        tracing::info!(?event, "journal");
        let entry = Entry { at: Timestamp::now(), event };
        let raw = serde_json::value::to_raw_value(&entry).map_err(io::Error::from)?;
        let line = Line { crc: crc32c::crc32c(raw.get().as_bytes()), entry: &raw };
        let mut text = serde_json::to_vec(&line).map_err(io::Error::from)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.entries.push(entry);
        Ok(())
    }

    /// Everything in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// The entries and how many bytes of the file they take.
fn parse(bytes: &[u8], path: &Path) -> Result<(Vec<Entry>, usize), JournalError> {
    let (mut entries, mut good) = (Vec::new(), 0);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match parse_line(line) {
            Some(entry) => entries.push(entry),
            None if good + line.len() == bytes.len() => break,
            None => return Err(JournalError::Damaged { path: path.into(), line: index + 1 }),
        }
        good += line.len();
    }
    Ok((entries, good))
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let line: Line<'_> = serde_json::from_slice(line.strip_suffix(b"\n")?).ok()?;
    let intact = crc32c::crc32c(line.entry.get().as_bytes()) == line.crc;
    intact.then(|| serde_json::from_str(line.entry.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::create(&path).expect("create");
        journal.record(Event::Started { rounds: true }).expect("record");
        journal.record(Event::Begin { step: 1, title: "a \"quoted\" title".into() }).expect("record");
        journal.record(Event::Done { step: 1, already: false }).expect("record");
        (dir, path)
    }

    #[test]
    fn every_cut_leaves_a_readable_journal() {
        let (_dir, path) = written();
        let bytes = fs::read(&path).expect("read");
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).expect("cut");
            let whole = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
            let mut journal = Journal::open(&path).expect("open");
            assert_eq!(journal.entries().len(), whole, "cut to {length}");
            journal.record(Event::Ended { how: "applied".into() }).expect("record");
            assert_eq!(Journal::read(&path).expect("read").len(), whole + 1);
        }
    }

    #[test]
    fn a_changed_line_before_the_last_is_damage() {
        let (_dir, path) = written();
        let text =
            fs::read_to_string(&path).expect("read").replacen("\"rounds\":true", "\"rounds\":false", 1);
        fs::write(&path, text).expect("write");
        assert!(matches!(Journal::open(&path), Err(JournalError::Damaged { line: 1, .. })));
    }

    #[test]
    fn a_journal_is_never_overwritten() {
        let (_dir, path) = written();
        assert!(Journal::create(&path).is_err());
    }
}
