//! Reads a written member back, as a source like any other, and compares it with what was meant.

use std::os::unix::fs::FileExt;

use fs_err::File;

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::restore::database::Digest;
use crate::restore::staging::Staging;
use crate::schema::Bucket;
use crate::source::{Source, SourceFile};

/// Bytes compared at once.
const CHUNK: usize = 1 << 20;

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
            db.small_bucket(bucket, &mut |key, value| {
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
    equal("revisions", &digest.revisions, &revisions)?;
    equal("crc32c of the db", &digest.crc, &crc)
}

/// Compares a db with the first one, byte by byte.
pub(super) fn same_bytes(first: &File, other: &File, digest: &Digest, progress: &dyn Progress) -> Result<()> {
    equal("size of the db file", &first.metadata()?.len(), &other.metadata()?.len())?;
    let [mut expected, mut found] = [vec![0; CHUNK], vec![0; CHUNK]];
    let mut offset = 0;
    while offset < digest.bytes {
        let length = usize::try_from(digest.bytes - offset).unwrap_or(CHUNK).min(CHUNK);
        let (expected, found) = (expected.get_mut(..length), found.get_mut(..length));
        let (Some(expected), Some(found)) = (expected, found) else { break };
        first.file().read_exact_at(expected, offset)?;
        other.file().read_exact_at(found, offset)?;
        if expected != found {
            let expected = format!("the same bytes in every db, at offset {offset}");
            return Err(Error::ReadBack { what: "db", expected, found: "others".into() });
        }
        offset += length as u64;
        progress.advance(length as u64);
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &'static str, expected: &T, found: &T) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ReadBack { what, expected: format!("{expected:?}"), found: format!("{found:?}") })
}
