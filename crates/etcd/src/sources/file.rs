//! A snapshot file or a db file as a source.

use std::fs::File;
use std::path::{Path, PathBuf};

use lifeboat_bbolt::{CheckVisitor, Damage, Db};

use super::digest;
use crate::archive;
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::origin::{Integrity, Origin};
use crate::progress::Progress;
use crate::revision::BucketKey;
use crate::schema::Bucket;
use crate::source::{Source, VisitAll, VisitPair, VisitRevision};

/// A db or snapshot file (a db followed by its SHA-256), opened read-only.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    db: Db<File>,
    has_digest: bool,
    /// Only etcd's buckets: a hostile file may have millions of others.
    buckets: Vec<(Bucket, lifeboat_bbolt::Bucket)>,
    /// The last bucket that does not belong to etcd.
    unknown: Option<Vec<u8>>,
    /// Damage that keeps the bucket list from being read; reported when reading and by a check.
    damage: Option<Damage>,
}

impl SourceFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) when it is not a bbolt file; a failed read. A damaged bbolt file can be
    /// opened, so that it can be checked.
    pub fn open(path: &Path) -> Result<Self> {
        let file = archive::open(path)?;
        let size = file.metadata()?.len();
        let has_digest = digest::is_present(size);
        let db_size = if has_digest { size.saturating_sub(digest::SIZE) } else { size };
        let db = Db::open_prefix(file, db_size)?;
        let (mut buckets, mut unknown) = (Vec::new(), None);
        let damage = match db.for_each_bucket(|name, found| match Bucket::named(name) {
            Some(bucket) => buckets.push((bucket, found.clone())),
            None => unknown = Some(name.to_vec()),
        }) {
            Ok(()) => None,
            Err(lifeboat_bbolt::Error::Damaged(damage)) => Some(damage),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.into(), db, has_digest, buckets, unknown, damage })
    }

    /// The `hash` of `etcdutl snapshot status`: a CRC-32C over the name, and every key and value, of every bucket
    /// (`etcdutl/snapshot/v3_snapshot.go`, `Status`). It is of this file and no other: members of one cluster differ.
    ///
    /// # Errors
    /// Damage on the way, or a failed read.
    pub fn status_hash(&self) -> Result<u32> {
        self.ensure_readable()?;
        let (mut crc, mut failed) = (0, None);
        self.db.for_each_bucket(|name, bucket| {
            if failed.is_some() {
                return;
            }
            crc = crc32c::crc32c_append(crc, name);
            let read = self.db.for_each(bucket, |key, value| {
                crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value);
                Ok::<_, crate::Error>(())
            });
            failed = read.err();
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(self.db.ensure_unchanged().map(|()| crc)?),
        }
    }

    fn bucket(&self, bucket: Bucket) -> Option<&lifeboat_bbolt::Bucket> {
        self.buckets.iter().find_map(|(known, found)| (*known == bucket).then_some(found))
    }

    /// What makes reading it pointless: a missing end, an unreadable root, another program's file.
    fn ensure_readable(&self) -> Result<()> {
        self.db.ensure_complete()?;
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

    /// Bytes after the last page, which a db of whole pages cannot have.
    fn trailing_bytes(&self) -> Option<FindingKind> {
        let bytes = self.db.size() % u64::from(self.db.meta().page_size);
        (bytes != 0 && self.db.size() > self.db.expected_size())
            .then_some(FindingKind::TrailingBytes { bytes })
    }
}

impl Source for SourceFile {
    fn origin(&self) -> Origin {
        let (kind, tail) = if self.has_digest { ("snapshot", digest::SIZE) } else { ("db", 0) };
        let size = self.db.size().saturating_add(tail);
        Origin { path: self.path.clone(), kind, size, size_in_use: self.db.expected_size(), base: None }
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.ensure_readable()?;
        let Some(bucket) = self.bucket(Bucket::Key) else { return Ok(()) };
        self.db.for_each(bucket, |key, value| {
            let key =
                BucketKey::from_bytes(key).ok_or_else(|| FindingKind::RevisionKey { key: key.to_vec() })?;
            visit(key, value)
        })?;
        Ok(self.db.ensure_unchanged()?)
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        self.ensure_readable()?;
        let Some(bucket) = self.bucket(bucket) else { return Ok(()) };
        self.db.for_each(bucket, visit)?;
        Ok(self.db.ensure_unchanged()?)
    }

    fn ensure_plausible(&self) -> Result<()> {
        if let Some(trailing) = self.trailing_bytes() {
            return Err(trailing.into());
        }
        // It may be one of etcd's whose name is damaged: continuing would silently lose all of it.
        match &self.unknown {
            Some(name) => Err(FindingKind::UnknownBucket { name: name.clone() }.into()),
            None => Ok(()),
        }
    }

    fn verify_integrity(&self, progress: &dyn Progress) -> Result<Integrity> {
        if !self.has_digest {
            return self.ensure_plausible().map(|()| Integrity::None);
        }
        digest::verify(self.db.file(), self.db.size(), progress).map(Integrity::Sha256)
    }

    fn check_container(&self, found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        if let Some(trailing) = self.trailing_bytes() {
            found(trailing.into());
        }
        if let (None, Some(kind)) = (&self.damage, self.not_etcd()) {
            found(kind.into());
        }
        let mut checking = Checking { found, visit, bucket: None };
        lifeboat_bbolt::check(&self.db, &mut checking)?;
        Ok(self.db.ensure_unchanged()?)
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
