//! The entries that a db lacks, read from the segments as often as they are needed: a log may hold more than memory.

use crate::error::Result;
use crate::finding::FindingKind;
use crate::proto::Entry;
use crate::wal::dir::WalDir;
use crate::wal::log::message;
use crate::wal::segment::{Record, RecordKind};

/// A part of a log, without gaps.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    wal: &'a WalDir,
    after: u64,
    up_to: u64,
    /// Whether damage is taken for the end of the log.
    to_damage: bool,
    overrulings: Vec<Overruling>,
}

/// An entry of an index that was read before: it replaces that one and drops what followed, since another leader
/// overruled them.
#[derive(Debug, Clone, Copy)]
struct Overruling {
    /// Place among the entries.
    place: u64,
    /// The lowest index that it or a later one takes.
    lowest_index: u64,
}

impl<'a> Entries<'a> {
    /// Finds the entries above `after` up to `up_to`.
    ///
    /// # Errors
    /// Damage in the log; [`FindingKind::WalEntriesMissing`] when it lacks one of them.
    pub(crate) fn find(wal: &'a WalDir, after: u64, up_to: u64) -> Result<Self> {
        Self { wal, after, up_to, to_damage: false, overrulings: Vec::new() }.look_through()
    }

    /// Like [`Entries::find`], of a log that is damaged behind `up_to`.
    ///
    /// # Errors
    /// [`FindingKind::WalEntriesMissing`] when it lacks one of them.
    pub(crate) fn find_before_damage(wal: &'a WalDir, after: u64, up_to: u64) -> Result<Self> {
        Self { wal, after, up_to, to_damage: true, overrulings: Vec::new() }.look_through()
    }

    fn look_through(mut self) -> Result<Self> {
        let up_to = self.up_to;
        let mut overrulings = Vec::new();
        let mut next = self.after.saturating_add(1);
        self.walk(&mut |place, entry| {
            let index = entry.index.unwrap_or(0);
            if index > next {
                return Err(FindingKind::WalEntriesMissing { first: next, last: index - 1 }.into());
            }
            if index < next {
                overrulings.push(Overruling { place, lowest_index: index });
            }
            next = index.saturating_add(1);
            Ok(())
        })?;
        if next <= up_to {
            return Err(FindingKind::WalEntriesMissing { first: next, last: up_to }.into());
        }
        let mut lowest = u64::MAX;
        for overruling in overrulings.iter_mut().rev() {
            lowest = lowest.min(overruling.lowest_index);
            overruling.lowest_index = lowest;
        }
        self.overrulings = overrulings;
        Ok(self)
    }

    /// Calls `visit` with each, in order. Every call yields the same.
    ///
    /// # Errors
    /// A failed read, or what `visit` returned.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.walk(&mut |place, entry| if self.is_overruled(place, &entry) { Ok(()) } else { visit(entry) })
    }

    fn is_overruled(&self, place: u64, entry: &Entry) -> bool {
        let later = self.overrulings.partition_point(|overruling| overruling.place <= place);
        let lowest = self.overrulings.get(later).map(|overruling| overruling.lowest_index);
        lowest.is_some_and(|lowest| lowest <= entry.index.unwrap_or(0))
    }

    fn walk(&self, visit: &mut dyn FnMut(u64, Entry) -> Result<()>) -> Result<()> {
        if self.after >= self.up_to {
            return Ok(());
        }
        let first = self.after.saturating_add(1);
        let mut place = 0;
        let mut visit_record = |record: &Record| {
            if record.kind != RecordKind::Entry {
                return Ok(());
            }
            let entry: Entry = message(record, first)?;
            let index = entry.index.unwrap_or(0);
            place += 1;
            if index <= self.after || index > self.up_to { Ok(()) } else { visit(place, entry) }
        };
        if self.to_damage {
            self.wal.walk_to_damage(first, &mut visit_record).map(drop)
        } else {
            self.wal.walk(first, &mut visit_record).map(drop)
        }
    }

    /// Index of the last, when there are any.
    pub(crate) fn up_to(&self) -> u64 {
        self.up_to
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.after >= self.up_to
    }
}
