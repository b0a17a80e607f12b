//! The newest revisions of a state, one by one, and the keys as they were before each.

use std::collections::{BTreeMap, VecDeque};

use super::index::Index;
use super::lease::Leases;
use super::origin::StoredRevision;
use super::overlap::{Positions, leases, note};
use super::read_set::ReadSet;
use super::request::Request;
use super::store::Store;
use crate::error::Result;
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::limits::{MAX_COMPARED, MAX_REPLAY_BYTES};
use crate::revision::{BucketKey, Revision};
use crate::source::Source;
use crate::state::State;

/// Revisions that are looked at one by one, at most.
const MAX_REVISIONS: i64 = 64;
/// Bytes of these at most.
const MAX_BYTES: usize = 64 << 20;
/// Bytes and compared keys looked at, at most, to find out what requests do: some seconds of work.
const MAX_WORK: u64 = 2 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Answer {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// The keys that some requests look at, as they were at each of the newest revisions.
pub(super) struct Past<'a> {
    state: &'a State,
    /// As of the revision before `tail`.
    index: Index,
    /// The newest revisions, whole from `floor` on.
    tail: VecDeque<(BucketKey, Vec<u8>)>,
    bytes: usize,
    /// As of here, and later, the keys are known; later than here, what each revision did.
    floor: i64,
    is_compacted: bool,
    unsure: UnsureKeys,
    newest: i64,
    work: u64,
}

impl<'a> Past<'a> {
    /// Reads a state, of which requests look at what is in `read_set`.
    ///
    /// # Errors
    /// A failed read; [`FindingKind::ReplayTooLarge`].
    pub(super) fn load(db: &dyn Source, state: &'a State, read_set: &ReadSet) -> Result<Self> {
        let compacted = state.compact_revision();
        let mut past = Self {
            state,
            index: Index::default(),
            tail: VecDeque::new(),
            bytes: 0,
            floor: compacted.unwrap_or(1).max(1),
            is_compacted: compacted.is_some(),
            unsure: UnsureKeys { compacted, until: BTreeMap::new(), bytes: 0 },
            newest: state.current_revision(None),
            work: 0,
        };
        db.revisions(&mut |key, value| {
            past.newest = past.newest.max(key.revision.main);
            if is_bump_mark(value) {
                past.floor = past.floor.max(key.revision.main);
                return Ok(());
            }
            past.unsure.add(key, value, read_set)?;
            past.bytes += value.len();
            past.tail.push_back((key, value.to_vec()));
            past.trim(read_set)
        })?;
        Ok(past)
    }

    /// Takes the oldest revisions of too many into the index.
    fn trim(&mut self, read_set: &ReadSet) -> Result<()> {
        while let Some((key, _)) = self.tail.front()
            && (key.revision.main <= self.newest.saturating_sub(MAX_REVISIONS) || self.bytes > MAX_BYTES)
            && let Some((key, value)) = self.tail.pop_front()
        {
            self.bytes -= value.len();
            if key.revision.main > self.floor {
                (self.floor, self.is_compacted) = (key.revision.main, false);
            }
            take(&mut self.index, key, &value, read_set)?;
            if self.index.bytes() > MAX_REPLAY_BYTES {
                return Err(FindingKind::ReplayTooLarge.into());
            }
        }
        Ok(())
    }

    /// The current revision.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether a revision is what a request gives on top of the one before.
    pub(super) fn is_made_by(&mut self, revision: i64, request: &Request, read_set: &ReadSet) -> Answer {
        if revision <= self.floor {
            return self.may_be_made_by(revision, request);
        }
        let Some(store) = self.store_after(revision - 1, request, read_set) else { return Answer::Unknown };
        let mut made = self.of(revision).peekable();
        if made.peek().is_none() {
            return Answer::Unknown;
        }
        let given = store.overlay.revisions();
        Answer::from(made.eq(given))
    }

    /// Whether a request does nothing on top of a revision.
    pub(super) fn is_unchanged_by(&mut self, revision: i64, request: &Request, read_set: &ReadSet) -> Answer {
        let store = self.store_after(revision, request, read_set);
        store.map_or(Answer::Unknown, |store| store.overlay.revisions().is_empty().into())
    }

    /// Whether a revision may be what a request gave.
    pub(super) fn may_be_made_by(&self, revision: i64, request: &Request) -> Answer {
        // A store begins with revision 1.
        if revision <= 1 {
            return Answer::No;
        }
        let may_come_from = |(key, value): &(BucketKey, Vec<u8>)| {
            let kv = KeyValue::decode(value).ok();
            kv.is_none_or(|kv| StoredRevision { kv, tombstone: key.tombstone }.may_come_from(request))
        };
        if !self.of(revision).all(may_come_from) {
            return Answer::No;
        }
        let is_empty = self.of(revision).next().is_none();
        if revision > self.floor {
            return if is_empty { Answer::Unknown } else { Answer::Yes };
        }
        // A compaction takes deletions out, and nothing else of its own revision.
        if is_empty && self.is_compacted && !request.may_delete() { Answer::No } else { Answer::Unknown }
    }

    /// Where the state may have been before a request of which nothing is known; `None` where that cannot be told.
    pub(super) fn before_any(&self, after: &Positions) -> Option<Positions> {
        let mut before = after.clone();
        for (&revision, &seen) in after {
            if revision <= self.floor {
                return None;
            }
            note(&mut before, revision - 1, seen);
        }
        Some(before)
    }

    fn of(&self, revision: i64) -> impl Iterator<Item = &(BucketKey, Vec<u8>)> {
        self.tail.iter().filter(move |(key, _)| key.revision.main == revision)
    }

    /// The store as of a revision, and with a request applied; `None` where that cannot be told, or is more work than is
    /// done.
    fn store_after(&mut self, revision: i64, request: &Request, read_set: &ReadSet) -> Option<Store> {
        self.work += self.unsure.bytes as u64;
        if self.unsure.any(revision, read_set) {
            return None;
        }
        let mut index = self.index.of(read_set);
        for (key, value) in self.tail.iter().take_while(|(key, _)| key.revision.main <= revision) {
            take(&mut index, *key, value, read_set).ok()?;
        }
        // A revision is looked at for about the cost of as many bytes.
        self.work += index.bytes() + self.tail.len() as u64 * 64;
        // Whether they were there is for others to know.
        let mut granted = Leases::default();
        for id in leases(request) {
            granted.grant(id, 0);
        }
        let mut store = Store::new(index, granted, Some(Revision::main(revision)), self.state);
        store.compared = MAX_COMPARED - MAX_WORK;
        store.change(request);
        self.work += store.compared - (MAX_COMPARED - MAX_WORK);
        (self.work <= MAX_WORK && !store.is_too_large()).then_some(store)
    }
}

/// Keys that were deleted by the revision that the state is compacted to. If the same transaction put such a key again,
/// etcd's compaction keeps the deletion and removes the put (`keyIndex.doCompact` in `server/storage/mvcc/key_index.go`
/// keeps a revision of the first generation that ends there, and looks at no later one).
struct UnsureKeys {
    compacted: Option<i64>,
    /// Each with its next revision, from which on it is known.
    until: BTreeMap<Vec<u8>, i64>,
    bytes: usize,
}

impl UnsureKeys {
    /// Takes the next revision of the state in.
    fn add(&mut self, key: BucketKey, value: &[u8], read_set: &ReadSet) -> Result<()> {
        let is_last_deletion = key.tombstone && Some(key.revision.main) == self.compacted;
        if !is_last_deletion && self.until.is_empty() {
            return Ok(());
        }
        let kv = decode(key, value)?;
        if is_last_deletion && read_set.touched.contains(kv.key) {
            self.bytes += size_of::<Vec<u8>>() + kv.key.len();
            self.until.insert(kv.key.to_vec(), i64::MAX);
            if self.bytes > MAX_BYTES {
                return Err(FindingKind::ReplayTooLarge.into());
            }
        } else if let Some(until) = self.until.get_mut(kv.key) {
            *until = key.revision.main.min(*until);
        }
        Ok(())
    }

    /// Whether one of the keys that are looked at may have been there or not, as of a revision.
    fn any(&self, revision: i64, read_set: &ReadSet) -> bool {
        self.until.iter().any(|(key, until)| revision < *until && read_set.touched.contains(key))
    }
}

fn decode(key: BucketKey, value: &[u8]) -> Result<KeyValue<'_>> {
    KeyValue::decode(value).map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect }.into())
}

/// Takes a revision into an index, if a request looks at its key.
fn take(index: &mut Index, key: BucketKey, value: &[u8], read_set: &ReadSet) -> Result<()> {
    let kv = decode(key, value)?;
    if read_set.touched.contains(kv.key) {
        index.take(key.tombstone, &kv, read_set.values.contains(kv.key));
    }
    Ok(())
}
