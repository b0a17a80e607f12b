//! A salvaged db and its log, as a source.

use std::path::Path;
use std::sync::Arc;

use super::as_data;
use super::finding_list::FindingList;
use super::index::Index;
use super::log::Replayed;
use super::report::Report;
use super::resolve::{Resolution, resolve};
use super::roots::Roots;
use super::store::Store;
use super::tree_view::RootKind;
use crate::apply::Overlay;
use crate::archive;
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::origin::{Integrity, Origin};
use crate::progress::Progress;
use crate::ranges::Ranges;
use crate::schema::Bucket;
use crate::source::{RaftPosition, Source};
use crate::source::{VisitAll, VisitPair, VisitRevision};
use crate::sources::digest;

/// What was salvaged from a db and its log.
#[derive(Debug)]
pub(super) struct SavedDb {
    origin: Origin,
    pub(super) store: Store,
    overlay: Overlay,
    raft: Option<RaftPosition>,
    /// Result of verifying the digest; `None` on a mismatch.
    pub(super) integrity: Option<Integrity>,
    pub(super) problems: FindingList,
    /// Whether no newer root can have existed.
    end_is_known: bool,
    /// Keeps etcd from starting on the data dir.
    _lock: Option<fs_err::File>,
}

impl SavedDb {
    /// Opens a db and walks its trees.
    pub(super) fn open(path: &Path, progress: &dyn Progress) -> Result<Self> {
        let file = Arc::new(archive::open(path)?);
        let size = file.metadata()?.len();
        let mut problems = FindingList::default();
        let has_digest = digest::is_present(size);
        let db_size = if has_digest { size.saturating_sub(digest::SIZE) } else { size };
        let integrity = if has_digest {
            let verified = as_data(digest::verify(&file, db_size, progress))?;
            verified.map_err(|kind| problems.add(kind)).ok().map(Integrity::Sha256)
        } else {
            Some(Integrity::None)
        };
        progress.start("walk the trees", None);
        let store = Store::new(Roots::of(file, db_size)?);
        store.add_problems(&mut problems);
        let is_verified = matches!(integrity, Some(Integrity::Sha256(_)));
        let is_newest = store.base().kind == RootKind::Newest;
        let end_is_known = is_newest && (store.roots.metas_are_valid || is_verified);
        let kind = if has_digest { "snapshot" } else { "db" };
        Ok(Self {
            origin: Origin { path: path.into(), kind, size, size_in_use: db_size, base: None },
            store,
            overlay: Overlay::default(),
            raft: None,
            integrity,
            problems,
            end_is_known,
            _lock: None,
        })
    }

    /// Raft index of the last entry applied to the db.
    pub(super) fn consistent_index(&self) -> u64 {
        self.store.base().state.consistent_index.unwrap_or(0)
    }

    /// Turns it into the source of the db's data dir.
    pub(super) fn of_data_dir(self, path: &Path, lock: Option<fs_err::File>) -> Self {
        let origin = Origin { path: path.into(), kind: "data-dir", ..self.origin };
        Self { origin, _lock: lock, ..self }
    }

    /// Adds the log's changes and, if the result is incomplete, revisions from stray pages.
    pub(super) fn finish(mut self, log: Option<Replayed>, progress: &dyn Progress) -> Result<(Self, Report)> {
        let is_whole = match &log {
            Some(log) => log.is_whole,
            None => self.end_is_known && self.problems.count == 0,
        };
        let Replayed { report, position, overlay, problems, not_replayed_keys, .. } = log.unwrap_or_default();
        self.overlay = overlay;
        let mut resolution = if is_whole { Resolution::default() } else { self.search(progress)? };
        if is_whole || report.is_some_and(|report| report.replayed > 0) {
            self.store.roots.keep_base_alone();
        }
        self.ensure_something(&resolution)?;
        if !is_whole && (!problems.is_empty() || report.is_some_and(|report| report.not_replayed.is_some())) {
            resolution.possibly_lost.merge(&Ranges::from(self.newest_main()?.saturating_add(1)));
        }
        problems.into_iter().for_each(|kind| self.problems.add(kind));
        self.raft = position;
        let report = Report::of(&self, resolution, report, not_replayed_keys, is_whole, progress)?;
        Ok((self, report))
    }

    fn newest_main(&self) -> Result<i64> {
        let mut newest = 0;
        self.revisions(&mut |key, _| {
            newest = key.revision.main;
            Ok(())
        })?;
        Ok(newest)
    }

    /// Searches the file for revisions that tree and log lack.
    fn search(&mut self, progress: &dyn Progress) -> Result<Resolution> {
        let mut gaps = self.store.base().key.gaps.clone();
        let replayed_to = self.overlay.newest();
        if !self.end_is_known {
            gaps.open_end(self.store.base().key.newest.max(replayed_to));
        }
        let leases = !self.store.has_whole(Bucket::Lease);
        if gaps.is_empty() && !leases {
            return Ok(Resolution::default());
        }
        let base = self.store.base();
        let index = Index::collect(&self.store.roots.pages, base, &gaps, leases, progress)?;
        let (compact, is_known) = self.store.compact_revision();
        let mut resolution = resolve(base, &gaps, index.entries, compact, is_known)?;
        self.store.add(std::mem::take(&mut resolution.kept), index.leases);
        if let Some(replayed_to) = replayed_to {
            // A log is replayed only on a complete tree.
            resolution.possibly_lost = resolution.possibly_lost.above(replayed_to.main);
        }
        Ok(resolution)
    }

    fn ensure_something(&self, resolution: &Resolution) -> Result<()> {
        let base = self.store.base();
        if base.is_clean()
            || base.key.revisions > 0
            || self.store.revisions_of_pages() > 0
            || resolution.left_out > 0
        {
            return Ok(());
        }
        let not_etcd = base.problems.listed.iter().find(|kind| matches!(kind, FindingKind::NotEtcd { .. }));
        Err(not_etcd.cloned().unwrap_or(FindingKind::NothingToSalvage).into())
    }
}

impl Source for SavedDb {
    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn raft(&self) -> Option<RaftPosition> {
        self.raft
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.overlay.each_revision(|below| self.store.revisions(below), visit)
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        self.overlay.metadata_bucket(|below| self.store.metadata_bucket(bucket, below), bucket, visit)
    }

    /// There is no digest of a salvaged store.
    fn verify_integrity(&self, _progress: &dyn Progress) -> Result<Integrity> {
        Ok(Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        Ok(())
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        self.problems.listed.iter().for_each(|kind| found(kind.clone().into()));
        for bucket in Bucket::ALL {
            match bucket {
                Bucket::Key => self.revisions(&mut |key, value| {
                    visit(bucket, &key.to_bytes(), value);
                    Ok(())
                })?,
                small => self.metadata_bucket(small, &mut |key, value| {
                    visit(small, key, value);
                    Ok(())
                })?,
            }
        }
        Ok(())
    }
}
