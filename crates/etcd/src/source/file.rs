//! A snapshot file or a db file as a source.

use std::fs::File;
use std::path::{Path, PathBuf};

use lifeboat_bbolt::{CheckVisitor, Damage, Db};

use super::{Integrity, Origin, Source, VisitAll, VisitPair, VisitRevision, digest};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::progress::Progress;
use crate::revision::BucketKey;
use crate::schema::Bucket;

/// A bbolt file of etcd's, with or without the digest a snapshot carries behind it. Opened read-only.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    file: File,
    /// Bytes of the db, without the digest.
    db_size: u64,
    has_digest: bool,
    /// Those that etcd has: a hostile file may name millions of others.
    buckets: Vec<(Bucket, lifeboat_bbolt::Bucket)>,
    /// The last bucket that is none of etcd's.
    unknown: Option<Vec<u8>>,
    /// Damage that keeps the bucket list from being read; reported when reading and by a check.
    damage: Option<Damage>,
}

impl SourceFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no bbolt file at all; a failed read. A damaged bbolt file opens, so
    /// that it can be checked.
    pub fn open(path: &Path) -> Result<Self> {
        let file = fs_err::File::open(path)?.into_parts().0;
        let size = file.metadata()?.len();
        let has_digest = digest::is_present(size);
        let db_size = if has_digest { size.saturating_sub(digest::SIZE) } else { size };
        let db = Db::open_prefix(&file, db_size)?;
        let (mut buckets, mut unknown) = (Vec::new(), None);
        let damage = match db.for_each_bucket(|name, found| match Bucket::named(name) {
            Some(bucket) => buckets.push((bucket, found.clone())),
            None => unknown = Some(name.to_vec()),
        }) {
            Ok(()) => None,
            Err(lifeboat_bbolt::Error::Damaged(damage)) => Some(damage),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.into(), file, db_size, has_digest, buckets, unknown, damage })
    }

    fn db(&self) -> Result<Db<&File>> {
        Ok(Db::open_prefix(&self.file, self.db_size)?)
    }

    fn bucket(&self, bucket: Bucket) -> Option<&lifeboat_bbolt::Bucket> {
        self.buckets.iter().find_map(|(known, found)| (*known == bucket).then_some(found))
    }

    /// What makes reading it pointless: a missing end, an unreadable root, another program's file.
    fn ensure_readable(&self, db: &Db<&File>) -> Result<()> {
        db.ensure_complete()?;
        if let Some(damage) = &self.damage {
            return Err(FindingKind::Bbolt(damage.clone()).into());
        }
        match self.not_etcd() {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn not_etcd(&self) -> Option<FindingKind> {
        let missing =
            [Bucket::Key, Bucket::Meta].into_iter().find(|bucket| self.bucket(*bucket).is_none())?;
        Some(FindingKind::NotEtcd { bucket: missing.name() })
    }

    /// Bytes behind the pages that a db of whole pages could not have.
    fn trailing_bytes(&self, db: &Db<&File>) -> Option<FindingKind> {
        let bytes = db.size() % u64::from(db.meta().page_size);
        (bytes != 0 && db.size() > db.expected_size()).then_some(FindingKind::TrailingBytes { bytes })
    }
}

impl Source for SourceFile {
    fn origin(&self) -> Origin {
        let size_in_use = self.db().map_or(0, |db| db.expected_size());
        let (kind, tail) = if self.has_digest { ("snapshot", digest::SIZE) } else { ("db", 0) };
        Origin { path: self.path.clone(), kind, size: self.db_size.saturating_add(tail), size_in_use }
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        let db = self.db()?;
        self.ensure_readable(&db)?;
        let Some(bucket) = self.bucket(Bucket::Key) else { return Ok(()) };
        db.for_each(bucket, |key, value| {
            let key =
                BucketKey::from_bytes(key).ok_or_else(|| FindingKind::RevisionKey { key: key.to_vec() })?;
            visit(key, value)
        })
    }

    fn small_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        let db = self.db()?;
        self.ensure_readable(&db)?;
        let Some(bucket) = self.bucket(bucket) else { return Ok(()) };
        db.for_each(bucket, visit)
    }

    fn verify_integrity(&self, progress: &dyn Progress) -> Result<Integrity> {
        let db = self.db()?;
        if let Some(trailing) = self.trailing_bytes(&db) {
            return Err(trailing.into());
        }
        if !self.has_digest {
            // With no digest to speak for the bytes, it may be one of etcd's whose name is damaged: going on
            // would lose all of it without a word.
            return match &self.unknown {
                Some(name) => Err(FindingKind::UnknownBucket { name: name.clone() }.into()),
                None => Ok(Integrity::None),
            };
        }
        digest::verify(&self.file, self.db_size, progress).map(Integrity::Sha256)
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        let db = self.db()?;
        if let Some(trailing) = self.trailing_bytes(&db) {
            found(trailing.into());
        }
        if let (None, Some(kind)) = (&self.damage, self.not_etcd()) {
            found(kind.into());
        }
        let mut checking = Checking { found, visit, bucket: None };
        lifeboat_bbolt::check(&db, &mut checking).map_err(Error::from)
    }
}

struct Checking<'a> {
    found: &'a mut dyn FnMut(Finding),
    visit: VisitAll<'a>,
    /// The bucket entered last, if it is one of etcd's.
    bucket: Option<Bucket>,
}

impl CheckVisitor for Checking<'_> {
    fn damage(&mut self, damage: Damage) {
        (self.found)(FindingKind::Bbolt(damage).into());
    }

    fn bucket(&mut self, path: &[Vec<u8>]) {
        match path {
            [name] => {
                self.bucket = Bucket::named(name);
                if self.bucket.is_none() {
                    (self.found)(FindingKind::UnknownBucket { name: name.clone() }.into());
                }
            }
            [.., name] => self.damage(Damage::NestedBucket { name: name.clone() }),
            [] => {}
        }
    }

    fn value(&mut self, path: &[Vec<u8>], key: &[u8], value: &[u8]) {
        if let ([_], Some(bucket)) = (path, self.bucket) {
            (self.visit)(bucket, key, value);
        }
    }
}
