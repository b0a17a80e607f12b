//! The account of a salvage: what was saved, what is lost, what may be.

use super::judge::{Conflicts, Verdict};
use super::log::LogAccount;
use super::problems::Problems;
use super::source::Salvaged;
use super::store::Taken;
use super::view::Which;
use crate::error::Result;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::mvcc::{Gaps, KeepSet};
use crate::progress::Progress;
use crate::ranges::Ranges;
use crate::schema::Bucket;
use crate::source::{Integrity, Source};
use crate::state::State;

/// Keys listed at most.
const MOST_LISTED: usize = 1000;

/// What was saved, what is lost, what may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Whether it is proved that nothing is missing: the newest state was reached whole, revisions follow each other
    /// without a gap, and no entry of a log is left out. Of a db without a digest this says nothing of the bytes of
    /// values, nor of the sub numbers of revisions at or below the compact revision.
    pub is_complete: bool,
    /// The state of the file that the revisions rest on; `None` when no root was found.
    pub state: Option<Which>,
    /// What the digest says; `None` when the bytes differ from those that were saved.
    pub integrity: Option<Integrity>,
    /// Revisions kept.
    pub revisions: u64,
    /// Of these, found on pages that no tree leads to.
    pub from_pages: u64,
    /// Keys alive.
    pub live_keys: u64,
    /// Main revisions that are missing, wholly or in part: above the compact revision they have no gaps.
    pub lost: Ranges,
    /// Main revisions that may be missing.
    pub possibly_lost: Ranges,
    /// Revisions that were found and are left out: at or below the compact revision, on pages that are not in use,
    /// where they may have been compacted away since.
    pub left_out: u64,
    /// Revisions whose copies differ: one of them is damaged. The tree's copy is kept.
    pub conflicts: Conflicts,
    /// Live keys whose newest value may be older than true, or that may have been deleted.
    pub doubtful_keys: Keys,
    /// Bytes per page.
    pub page_size: u32,
    /// Whole pages of the file.
    pub pages: u64,
    /// Pages that the state refers to and that are broken; what was below them is not counted.
    pub broken_pages: u64,
    /// Where each small bucket comes from.
    pub buckets: Vec<BucketAccount>,
    /// Of a data dir's log.
    pub log: Option<LogAccount>,
    /// What was found to be wrong.
    pub problems: Problems,
}

/// Keys, listed as far as memory is for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The first of them, by their newest revision.
    pub listed: Vec<Vec<u8>>,
    /// How many there are.
    pub count: u64,
}

/// Where a small bucket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketAccount {
    /// The bucket.
    pub bucket: Bucket,
    /// Where it was taken from.
    pub taken: Taken,
    /// Whether nothing of it is missing.
    pub is_whole: bool,
}

impl Account {
    /// Reads all that was saved. `is_whole` says whether the newest state was reached with all that it has.
    pub(super) fn of(
        salvaged: &Salvaged,
        verdict: Verdict,
        log: Option<LogAccount>,
        is_whole: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let Verdict { kept: _, mut possibly_lost, left_out, conflicts } = verdict;
        let (store, base) = (&salvaged.store, salvaged.store.base());
        let state = State::read(salvaged)?;
        let (_, compact_is_known) = store.compact_revision();
        let compact_is_known = compact_is_known || is_whole;
        let mut gaps = Gaps::above(state.compact_revision().unwrap_or(1));
        salvaged.revisions(&mut |key, _| {
            gaps.meet(key.revision);
            Ok(())
        })?;
        let mut lost = gaps.missing;
        if !compact_is_known {
            possibly_lost.join(&std::mem::take(&mut lost));
        }
        let keep = KeepSet::at(salvaged, i64::MAX, progress)?;
        let outdated = Outdated::new(&state, compact_is_known, &lost, &possibly_lost);
        let doubtful_keys = doubtful_keys(salvaged, &keep, &outdated)?;
        let buckets = store.bucket_accounts();
        // What clients count on may be among the entries that this member did not know to be committed.
        let uncommitted = log.map_or(0, |log| log.uncommitted);
        let nothing_missing =
            lost.is_empty() && possibly_lost.is_empty() && left_out == 0 && uncommitted == 0;
        Ok(Self {
            is_complete: is_whole
                && base.which != Which::Found
                && nothing_missing
                && buckets.iter().all(|bucket| bucket.is_whole),
            state: base.has_root().then_some(base.which),
            integrity: salvaged.integrity.clone(),
            revisions: keep.revisions,
            from_pages: store.revisions_of_pages(),
            live_keys: keep.live_keys,
            lost,
            possibly_lost,
            left_out,
            conflicts,
            doubtful_keys,
            page_size: base.db.meta().page_size,
            pages: base.db.pages_in_file(),
            broken_pages: base.broken_pages,
            buckets,
            log,
            problems: salvaged.problems.clone(),
        })
    }
}

/// Which newest revisions of keys something lost may have replaced.
struct Outdated {
    compact: i64,
    /// The highest lost above the compact revision.
    above: i64,
    /// The highest lost at or below it, where more than one revision of a key may be.
    below: i64,
}

impl Outdated {
    fn new(state: &State, compact_is_known: bool, lost: &Ranges, possibly_lost: &Ranges) -> Self {
        let compact = state.compact_revision().unwrap_or(1);
        let highest = lost.highest.max(possibly_lost.highest).unwrap_or(0);
        // A compaction that is finished leaves one revision of a key: where it was reached, no other is lost.
        let one_each = compact_is_known && state.pending_compaction().is_none();
        let possibly = possibly_lost.highest.unwrap_or(0);
        Self {
            compact,
            above: if highest > compact || !compact_is_known { highest } else { 0 },
            below: if one_each { 0 } else { possibly },
        }
    }

    fn may_be(&self, newest: i64) -> bool {
        newest < self.above || newest <= self.compact && newest < self.below
    }
}

fn doubtful_keys(salvaged: &Salvaged, keep: &KeepSet, outdated: &Outdated) -> Result<Keys> {
    let mut doubtful = salvaged.store.doubtful().peekable();
    let mut keys = Keys::default();
    let mut ordinal = 0;
    salvaged.revisions(&mut |key, value| {
        let is_live = keep.contains(ordinal);
        ordinal += 1;
        let is_doubtful = doubtful.next_if_eq(&key.revision).is_some();
        if is_live && (is_doubtful || outdated.may_be(key.revision.main)) && !is_bump_mark(value) {
            keys.count += 1;
            if keys.listed.len() < MOST_LISTED
                && let Ok(kv) = KeyValue::decode(value)
            {
                keys.listed.push(kv.key.to_vec());
            }
        }
        Ok(())
    })?;
    Ok(keys)
}
