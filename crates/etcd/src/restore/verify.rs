//! Reads a written member back, as a source like any other, and compares it with what was meant.

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::restore::database::Digest;
use crate::restore::staging::Staging;
use crate::schema::Bucket;
use crate::source::Source;
use crate::sources::SourceFile;

/// crc32c over everything in a db, bucket by bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DbCrc(u32);

impl DbCrc {
    pub(super) fn add(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) {
        for bytes in [bucket.name().as_bytes(), key, value] {
            self.0 = crc32c::crc32c_append(self.0, bytes);
        }
    }
}

/// Reads a db back from its temporary place.
pub(super) fn db(stage: &Staging, digest: &Digest, progress: &dyn Progress) -> Result<()> {
    let db = SourceFile::open(&stage.db_path())?;
    let mut crc = DbCrc::default();
    let mut revisions = 0;
    for bucket in Bucket::ALL {
        if bucket != Bucket::Key {
            db.metadata_bucket(bucket, &mut |key, value| {
                crc.add(bucket, key, value);
                Ok(())
            })?;
            continue;
        }
        db.revisions(&mut |key, value| {
            crc.add(bucket, &key.to_bytes(), value);
            revisions += 1;
            progress.advance(value.len() as u64);
            Ok(())
        })?;
    }
    equal("size of the db", &digest.bytes, &db.origin().size_in_use)?;
    equal("revisions", &(digest.revisions + digest.marks), &revisions)?;
    equal("crc32c of the db", &digest.crc, &crc)
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &'static str, expected: &T, found: &T) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ReadBack { what, expected: format!("{expected:?}"), found: format!("{found:?}") })
}
