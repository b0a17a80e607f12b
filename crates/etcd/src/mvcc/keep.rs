//! Which revisions survive a compaction (`server/storage/mvcc/key_index.go`, `keep`): of every key the
//! newest at or below the compaction's revision, unless that one deleted the key.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::error::Result;
use crate::finding::FindingKind;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::mvcc::gap::GapFinder;
use crate::progress::Progress;
use crate::revision::{BucketKey, Revision};
use crate::source::Source;

/// Maps are split so that only a part of them is copied when one grows: growing at once would need the
/// old and the new table of all keys together.
const SHARDS: usize = 64;

/// How etcd finds what a compaction at a revision leaves of a key. They differ for a key that this very revision
/// deletes and puts again (etcd issue 22376).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepRule {
    /// Of every key that is alive, the newest revision: releases before 3.4.34 and 3.5.16.
    Alive,
    /// The same of the key's first life that ends at or above the revision, and nothing when it ends there: later
    /// releases, 3.6 and 3.7.
    FirstLife,
}

/// The revisions of a source that survive a compaction at some revision, by their place in the source's
/// order. One bit per revision; while it is built, at most 64 bytes per live key, and for every key that one
/// revision deletes.
#[derive(Debug, Clone)]
pub struct KeepSet {
    bits: Vec<u64>,
    recreated: Recreated,
    /// Revisions of the source.
    pub revisions: u64,
    /// Revisions that survive.
    pub kept: u64,
    /// Keys alive at the revision asked for: what survives, but for the marks of an earlier restore.
    pub live_keys: u64,
    /// Bytes of all keys and values, encoded.
    pub bytes: u64,
    /// The newest revision of the source, beyond the one asked for too.
    pub newest: Option<Revision>,
}

impl KeepSet {
    /// Reads all revisions of `source` once; every value is decoded and verified on the way.
    ///
    /// # Errors
    /// The first damage.
    pub fn at(source: &dyn Source, revision: i64, progress: &dyn Progress) -> Result<Self> {
        Self::read(source, revision, None, progress)
    }

    /// As [`KeepSet::at`], and finds what is missing up to that revision in the same read.
    pub(crate) fn with_gaps(
        source: &dyn Source,
        revision: i64,
        gaps: &mut GapFinder,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::read(source, revision, Some(gaps), progress)
    }

    fn read(
        source: &dyn Source,
        revision: i64,
        mut gaps: Option<&mut GapFinder>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        progress.start("read revisions", Some(source.origin().size_in_use));
        let mut keep = Self {
            bits: Vec::new(),
            recreated: Recreated::default(),
            revisions: 0,
            kept: 0,
            live_keys: 0,
            bytes: 0,
            newest: None,
        };
        let mut newest = NewestByKey::new();
        source.revisions(&mut |key, value| {
            let kv = if is_bump_mark(value) { KeyValue::default() } else { verified(key, value)? };
            let ordinal = keep.revisions;
            keep.revisions += 1;
            keep.bytes += value.len() as u64;
            keep.newest = Some(key.revision);
            progress.advance(value.len() as u64);
            if key.revision.main <= revision {
                if let Some(gaps) = &mut gaps {
                    gaps.meet(key.revision);
                }
                let fingerprint = newest.fingerprint(kv.key);
                keep.recreated.add(key, fingerprint, ordinal);
                let superseded = if key.tombstone {
                    newest.remove(fingerprint)
                } else {
                    keep.set(ordinal, true);
                    newest.insert(fingerprint, ordinal)
                };
                if let Some(superseded) = superseded {
                    keep.set(superseded, false);
                }
            }
            Ok(())
        })?;
        keep.kept = newest.len();
        // Marks are stored under the empty key, which no client can put.
        let marked = newest.remove(newest.fingerprint(b"")).is_some();
        keep.live_keys = keep.kept - u64::from(marked);
        let mut recreated = std::mem::take(&mut keep.recreated);
        recreated.deleted = HashSet::default();
        recreated.ordinals.retain(|ordinal| keep.contains(*ordinal));
        Ok(Self { recreated, ..keep })
    }

    /// Whether etcd keeps the revision at this place in a compaction at `revision`, the one asked for.
    pub(crate) fn keeps(&self, rule: KeepRule, revision: i64, ordinal: u64) -> bool {
        self.contains(ordinal)
            && (rule == KeepRule::Alive || self.recreated.at(revision).binary_search(&ordinal).is_err())
    }

    /// Whether etcd keeps nothing at all in such a compaction.
    pub(crate) fn keeps_nothing(&self, rule: KeepRule, revision: i64) -> bool {
        let overlooked = match rule {
            KeepRule::Alive => 0,
            KeepRule::FirstLife => self.recreated.at(revision).len(),
        };
        self.kept == overlooked as u64
    }

    /// Whether any revision that was counted deletes a key and puts it again.
    pub(crate) fn recreates(&self) -> bool {
        self.recreated.any
    }

    /// Whether the revision at this place (counted from 0) survives.
    pub fn contains(&self, ordinal: u64) -> bool {
        let word = usize::try_from(ordinal / 64).ok().and_then(|word| self.bits.get(word));
        word.is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }

    fn set(&mut self, ordinal: u64, kept: bool) {
        let index = usize::try_from(ordinal / 64).unwrap_or(usize::MAX);
        if index >= self.bits.len() {
            self.bits.resize(index.saturating_add(1), 0);
        }
        if let Some(word) = self.bits.get_mut(index) {
            let bit = 1 << (ordinal % 64);
            *word = if kept { *word | bit } else { *word & !bit };
        }
    }
}

/// Puts of keys that the same main revision has deleted before.
#[derive(Debug, Clone, Default)]
struct Recreated {
    /// The newest main revision with changes, of those counted.
    main: i64,
    /// Keys deleted in it.
    deleted: HashSet<Fingerprint, Identity>,
    /// Places of the puts in it, ascending; in the end, of those that survive.
    ordinals: Vec<u64>,
    /// Whether there was one in any revision.
    any: bool,
}

impl Recreated {
    fn add(&mut self, key: BucketKey, fingerprint: Fingerprint, ordinal: u64) {
        if key.revision.main != self.main {
            *self = Self { main: key.revision.main, any: self.any, ..Self::default() };
        }
        if key.tombstone {
            self.deleted.insert(fingerprint);
        } else if self.deleted.contains(&fingerprint) {
            self.ordinals.push(ordinal);
            self.any = true;
        }
    }

    /// The places, if this is the revision they are of.
    fn at(&self, revision: i64) -> &[u64] {
        if revision == self.main { &self.ordinals } else { &[] }
    }
}

fn verified(key: BucketKey, value: &[u8]) -> Result<KeyValue<'_>, FindingKind> {
    KeyValue::decode(value)
        .and_then(|kv| kv.verify(key.revision.main, key.tombstone).map(|()| kv))
        .map_err(|defect| FindingKind::KeyValue { revision: key.revision, defect })
}

/// The place of the newest revision of every live key. Keys are held as 128 bits of two keyed hashes:
/// among a billion keys, two meet with a chance of one in 10^20.
struct NewestByKey {
    hashes: [RandomState; 2],
    shards: Vec<HashMap<Fingerprint, u64, Identity>>,
}

type Fingerprint = [u64; 2];

impl NewestByKey {
    fn new() -> Self {
        Self {
            hashes: [RandomState::new(), RandomState::new()],
            shards: (0..SHARDS).map(|_| HashMap::default()).collect(),
        }
    }

    /// Sets the newest revision of a key and returns the one before.
    fn insert(&mut self, fingerprint: Fingerprint, ordinal: u64) -> Option<u64> {
        self.shard(fingerprint)?.insert(fingerprint, ordinal)
    }

    /// Takes a deleted key out and returns its newest revision.
    fn remove(&mut self, fingerprint: Fingerprint) -> Option<u64> {
        self.shard(fingerprint)?.remove(&fingerprint)
    }

    fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len() as u64).sum()
    }

    fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        self.hashes.each_ref().map(|state| state.hash_one(key))
    }

    fn shard(&mut self, [_, second]: Fingerprint) -> Option<&mut HashMap<Fingerprint, u64, Identity>> {
        let index = usize::try_from(second % SHARDS as u64).unwrap_or(0);
        self.shards.get_mut(index)
    }
}

/// Fingerprints are hashes already.
#[derive(Default, Clone, Copy)]
struct Identity;

#[derive(Default)]
struct FirstWord(u64);

impl BuildHasher for Identity {
    type Hasher = FirstWord;

    fn build_hasher(&self) -> FirstWord {
        FirstWord::default()
    }
}

impl Hasher for FirstWord {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(word) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*word);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
