//! The entries that a db lacks, read from the segments as often as they are needed: a log may hold more than memory.

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::proto::{Entry, HardState};
use crate::wal::dir::{Item, WalDir};
use crate::wal::log::message;
use crate::wal::segment::RecordKind;
use crate::wal::terms::Terms;

/// A part of a log, without gaps.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    wal: &'a WalDir,
    after: u64,
    up_to: u64,
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
    /// Finds the entries above `after` up to `up_to`. Bad records do not matter where none of these is lost with them.
    ///
    /// # Errors
    /// [`FindingKind::WalEntriesMissing`] when the log lacks one of them, or when a bad record may have overruled it.
    pub(crate) fn find(wal: &'a WalDir, after: u64, up_to: u64) -> Result<Self> {
        let mut look = Look { after, up_to, ..Look::default() };
        look.next = after.saturating_add(1);
        if after < up_to {
            wal.walk(look.next, &mut |item| look.item(item))?;
        }
        if look.next <= up_to {
            return Err(FindingKind::WalEntriesMissing { first: look.next, last: up_to }.into());
        }
        let mut lowest = u64::MAX;
        for overruling in look.overrulings.iter_mut().rev() {
            lowest = lowest.min(overruling.lowest_index);
            overruling.lowest_index = lowest;
        }
        Ok(Self { wal, after, up_to, overrulings: look.overrulings })
    }

    /// Like [`Entries::find`], and where one is missing, finds those before it; tells the error then.
    ///
    /// # Errors
    /// A failed read.
    pub(crate) fn find_to_gap(
        wal: &'a WalDir,
        after: u64,
        mut up_to: u64,
    ) -> Result<(Self, Option<FindingKind>)> {
        let mut gap = None;
        loop {
            match Self::find(wal, after, up_to) {
                Ok(entries) => return Ok((entries, gap)),
                Err(Error::Damaged(kind @ FindingKind::WalEntriesMissing { first, .. }))
                    if first <= up_to =>
                {
                    up_to = first.saturating_sub(1);
                    gap.get_or_insert(kind);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls `visit` with each, in order. Every call yields the same.
    ///
    /// # Errors
    /// A failed read, or what `visit` returned.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let first = self.after.saturating_add(1);
        let mut place = 0;
        let walked = self.wal.walk(first, &mut |item| {
            let Item::Record(record) = item else { return Ok(()) };
            if record.kind != RecordKind::Entry {
                return Ok(());
            }
            let entry: Entry = message(record, first)?;
            let index = entry.index.unwrap_or(0);
            place += 1;
            let is_within = index > self.after && index <= self.up_to;
            if is_within && !self.is_overruled(place, index) { visit(entry) } else { Ok(()) }
        });
        walked.map(drop)
    }

    fn is_overruled(&self, place: u64, index: u64) -> bool {
        let later = self.overrulings.partition_point(|overruling| overruling.place <= place);
        let lowest = self.overrulings.get(later).map(|overruling| overruling.lowest_index);
        lowest.is_some_and(|lowest| lowest <= index)
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

/// Looks through a log for the entries of a part of it.
#[derive(Debug, Default)]
struct Look {
    after: u64,
    up_to: u64,
    /// Index of the entry that should come next.
    next: u64,
    place: u64,
    /// Of the entries so far that are not overruled, whatever their index.
    terms: Terms,
    /// Index up to which entries were known to be committed when they were written.
    commit: u64,
    /// Whether records are lost since the last entry.
    is_behind_bad: bool,
    overrulings: Vec<Overruling>,
}

impl Look {
    fn item(&mut self, item: Item<'_>) -> Result<()> {
        match item {
            Item::Bad(bad) => self.is_behind_bad |= bad.is_lost,
            Item::Record(record) => match record.kind {
                RecordKind::State => {
                    let HardState { commit, .. } = message(record, self.next)?;
                    self.commit = self.commit.max(commit.unwrap_or(0));
                }
                RecordKind::Entry => return self.entry(&message(record, self.next)?),
                _ => {}
            },
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let (index, term) = (entry.index.unwrap_or(0), entry.term.unwrap_or(0));
        self.place += 1;
        if std::mem::take(&mut self.is_behind_bad) {
            self.ensure_not_overruled(index, term)?;
        }
        self.terms.put(index, term);
        if index <= self.after || index > self.up_to {
            return Ok(());
        }
        if index > self.next {
            return Err(FindingKind::WalEntriesMissing { first: self.next, last: index - 1 }.into());
        }
        if index < self.next {
            self.overrulings.push(Overruling { place: self.place, lowest_index: index });
        }
        self.next = index.saturating_add(1);
        Ok(())
    }

    /// Fails where an entry among the records that are lost may have overruled entries before this one. In one term an
    /// index has one entry, and the entry before it in that leader's log is the same everywhere (raft's log matching):
    /// so where the entry before is of this one's term, it is the one that this one follows on. What is committed is
    /// not overruled.
    fn ensure_not_overruled(&self, index: u64, term: u64) -> Result<()> {
        let Some(last) = self.terms.last() else { return Ok(()) };
        let before = last.min(index.saturating_sub(1));
        let first = self.commit.max(self.after).saturating_add(1);
        let last = before.min(self.up_to);
        if self.terms.of(before) == Some(term) || last < first {
            return Ok(());
        }
        Err(FindingKind::WalEntriesMissing { first, last }.into())
    }
}
