//! The result of a salvage, as a source.

use super::source::SavedDb;
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::origin::{Integrity, Origin};
use crate::progress::Progress;
use crate::schema::Bucket;
use crate::source::{RaftPosition, Source};
use crate::source::{VisitAll, VisitPair, VisitRevision};
use crate::sources::SourceDir;

/// The result of a salvage, as a source.
#[derive(Debug)]
pub struct Salvaged(pub(super) Saved);

#[derive(Debug)]
pub(super) enum Saved {
    /// A db, with its log.
    Db(Box<SavedDb>),
    /// A log on another base than the data dir's own db.
    Log(Box<SourceDir>),
}

impl Salvaged {
    fn source(&self) -> &dyn Source {
        match &self.0 {
            Saved::Db(db) => db.as_ref(),
            Saved::Log(dir) => dir.as_ref(),
        }
    }
}

impl Source for Salvaged {
    fn origin(&self) -> Origin {
        self.source().origin()
    }

    fn raft(&self) -> Option<RaftPosition> {
        self.source().raft()
    }

    fn notes(&self) -> &[FindingKind] {
        self.source().notes()
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.source().revisions(visit)
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        self.source().metadata_bucket(bucket, visit)
    }

    fn verify_integrity(&self, progress: &dyn Progress) -> Result<Integrity> {
        self.source().verify_integrity(progress)
    }

    fn ensure_plausible(&self) -> Result<()> {
        self.source().ensure_plausible()
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        self.source().check_container(found, visit)
    }
}
