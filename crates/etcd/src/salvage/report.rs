//! The report of a salvage: what was recovered, what is lost, and what may be lost.

use super::finding_list::FindingList;
use super::log::LogReport;
use super::resolve::{Conflicts, Resolution};
use super::source::SavedDb;
use super::store::BucketOrigin;
use super::tree_view::RootKind;
use crate::error::Result;
use crate::finding::{FindingKind, Severity};
use crate::key_list::KeyList;
use crate::key_value::{KeyValue, is_bump_mark};
use crate::mvcc::{GapFinder, KeepSet};
use crate::origin::{Base, Integrity};
use crate::progress::Progress;
use crate::ranges::Ranges;
use crate::schema::Bucket;
use crate::source::Source;
use crate::sources::SourceDir;
use crate::state::State;

/// What a salvage recovered, what is lost, and what may be lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whether nothing is missing for certain: the newest tree is complete, revisions have no gap, and no log entry is left
    /// out. Without a digest, this does not cover the bytes of values, nor the sub numbers of revisions at or below the
    /// compact revision.
    pub is_complete: bool,
    /// The root whose tree the revisions were read from; `None` when none was found.
    pub root: Option<RootKind>,
    /// Result of verifying the digest; `None` on a mismatch.
    pub integrity: Option<Integrity>,
    /// Number of revisions recovered.
    pub revisions: u64,
    /// Number of these found on pages that no tree leads to.
    pub from_pages: u64,
    /// Live keys.
    pub live_keys: u64,
    /// The newest revision.
    pub newest: i64,
    /// Main revisions that are missing in whole or in part, above the compact revision.
    pub lost: Ranges,
    /// Main revisions that may be missing.
    pub possibly_lost: Ranges,
    /// Number of revisions found but left out: at or below the compact revision, on pages that are not in use, so they may
    /// have been compacted.
    pub left_out: u64,
    /// Revisions with differing copies: one is damaged. The copy in the tree is kept.
    pub conflicts: Conflicts,
    /// Live keys whose value may be outdated, or that may have been deleted.
    pub doubtful_keys: KeyList,
    /// Page size of the file in bytes.
    pub page_size: u32,
    /// Number of whole pages in the file.
    pub pages: u64,
    /// Number of broken pages in the tree, not counting those below them.
    pub broken_pages: u64,
    /// Origin of each metadata bucket.
    pub buckets: Vec<BucketReport>,
    /// The log of a data dir.
    pub log: Option<LogReport>,
    /// Keys named by log entries that were not replayed, as far as those can be read.
    pub not_replayed_keys: KeyList,
    /// Damage found.
    pub problems: FindingList,
    /// The base that the log was replayed on, if not the data dir's own db, with the raft index of its last entry and of the
    /// last entry replayed.
    pub base: Option<(Base, u64, u64)>,
    /// Result of the other way to salvage the data dir (its db, or its log on another base), which recovers less.
    pub alternative: Option<Alternative>,
}

/// Result of another way to salvage a data dir, which recovers less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    /// The newest revision.
    pub revision: i64,
    /// Live keys.
    pub live_keys: u64,
}

/// Origin and completeness of a metadata bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketReport {
    /// The bucket.
    pub bucket: Bucket,
    /// Where it was recovered from.
    pub origin: BucketOrigin,
    /// Whether it is complete.
    pub is_whole: bool,
}

impl Report {
    /// Whether it recovers more than another.
    pub(super) fn keeps_more_than(&self, other: &Self) -> bool {
        let kept = |report: &Self| (report.is_complete, report.newest, report.live_keys);
        kept(self) > kept(other)
    }

    /// Adds the result of another way.
    pub(super) fn with_alternative(self, other: &Self) -> Self {
        let alternative = Alternative { revision: other.newest, live_keys: other.live_keys };
        Self { alternative: Some(alternative), ..self }
    }

    /// The report on a log replayed on another base than the data dir's own db.
    pub(super) fn of_log(dir: &SourceDir, progress: &dyn Progress) -> Result<Self> {
        let state = State::read(dir)?;
        let mut gaps = GapFinder::above(state.compact_revision().unwrap_or(1));
        let keep = KeepSet::with_gaps(dir, i64::MAX, &mut gaps, progress)?;
        let newest = state.current_revision(keep.newest);
        let gap = dir.gap();
        let mut problems = FindingList::default();
        gap.into_iter().flat_map(|gap| &gap.problems).for_each(|kind| problems.add(kind.clone()));
        let mut is_valid = gap.is_none() && gaps.missing.is_empty();
        for kind in dir.notes().iter().filter(|kind| kind.severity() > Severity::Note) {
            is_valid &= matches!(
                kind,
                FindingKind::OnOtherBase { .. }
                    | FindingKind::WalReadOn { .. }
                    | FindingKind::WalStartMissing { .. }
            );
            problems.add(kind.clone());
        }
        let raft = dir.raft();
        let log = raft.map(|raft| LogReport {
            replayed: raft.replayed_to.saturating_sub(raft.consistent_index),
            not_replayed: gap.map(|gap| (gap.first, gap.last)),
            uncommitted: if gap.is_some() { 0 } else { raft.uncommitted_entries() },
        });
        let whole = |bucket| BucketReport { bucket, origin: BucketOrigin::Base, is_whole: true };
        let base = dir.origin().base.zip(raft);
        Ok(Self {
            is_complete: is_valid && log.is_some_and(|log| log.uncommitted == 0),
            root: None,
            integrity: Some(Integrity::None),
            revisions: keep.revisions,
            from_pages: 0,
            live_keys: keep.live_keys,
            newest,
            lost: gaps.missing,
            possibly_lost: gap.map_or_else(Ranges::default, |_| Ranges::from(newest.saturating_add(1))),
            left_out: 0,
            conflicts: Conflicts::default(),
            doubtful_keys: KeyList::default(),
            page_size: 0,
            pages: 0,
            broken_pages: 0,
            buckets: Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key).map(whole).collect(),
            log,
            problems,
            not_replayed_keys: gap.map(|gap| gap.keys.clone()).unwrap_or_default(),
            base: base.map(|(base, raft)| (base, raft.consistent_index, raft.replayed_to)),
            alternative: None,
        })
    }

    /// The report on a salvaged db. `is_whole`: the newest tree is complete.
    pub(super) fn of(
        salvaged: &SavedDb,
        resolution: Resolution,
        log: Option<LogReport>,
        not_replayed_keys: KeyList,
        is_whole: bool,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let Resolution { kept: _, possibly_lost, left_out, conflicts } = resolution;
        let (store, base) = (&salvaged.store, salvaged.store.base());
        let state = State::read(salvaged)?;
        let (_, compact_is_known) = store.compact_revision();
        let compact_is_known = compact_is_known || is_whole;
        let mut gaps = GapFinder::above(state.compact_revision().unwrap_or(1));
        let keep = KeepSet::with_gaps(salvaged, i64::MAX, &mut gaps, progress)?;
        // Where it is not known how far the store is compacted, a gap does not mean that anything is lost. What may be is
        // what no tree and no whole page vouches for, and that was found already.
        let lost = if compact_is_known { gaps.missing } else { Ranges::default() };
        let outdated = Outdated::new(&state, compact_is_known, &lost, &possibly_lost);
        let doubtful_keys = doubtful_keys(salvaged, &keep, &outdated)?;
        let buckets = store.bucket_reports();
        // What clients count on may be among the entries that this member did not know to be committed.
        let uncommitted = log.map_or(0, |log| log.uncommitted);
        let nothing_missing =
            lost.is_empty() && possibly_lost.is_empty() && left_out == 0 && uncommitted == 0;
        Ok(Self {
            is_complete: is_whole
                && base.kind != RootKind::Found
                && nothing_missing
                && buckets.iter().all(|bucket| bucket.is_whole),
            root: base.has_root().then_some(base.kind),
            integrity: salvaged.integrity.clone(),
            revisions: keep.revisions,
            from_pages: store.revisions_of_pages(),
            live_keys: keep.live_keys,
            newest: state.current_revision(keep.newest),
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
            not_replayed_keys,
            problems: salvaged.problems.clone(),
            base: None,
            alternative: None,
        })
    }
}

/// Which newest revisions of keys may have been superseded by lost ones.
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

fn doubtful_keys(salvaged: &SavedDb, keep: &KeepSet, outdated: &Outdated) -> Result<KeyList> {
    let mut doubtful = salvaged.store.doubtful().peekable();
    let mut keys = KeyList::default();
    let mut ordinal = 0;
    salvaged.revisions(&mut |key, value| {
        let is_live = keep.contains(ordinal);
        ordinal += 1;
        let is_doubtful = doubtful.next_if_eq(&key.revision).is_some();
        if is_live && (is_doubtful || outdated.may_be(key.revision.main)) && !is_bump_mark(value) {
            keys.add(KeyValue::decode(value).map(|kv| kv.key).unwrap_or_default());
        }
        Ok(())
    })?;
    Ok(keys)
}
