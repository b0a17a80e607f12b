//! Writes a source as a snapshot file: every revision and bucket unchanged, followed by a SHA-256 as `etcdctl snapshot
//! save` appends it. So a crashed member's data can be copied, checked and restored anywhere.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use fs_err::File;
use lifeboat_bbolt::{Writer, WriterOptions};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::mvcc::{HashKv, hash_kv};
use crate::progress::Progress;
use crate::schema::Bucket;
use crate::source::Source;
use crate::sources::SourceFile;

/// Bytes read at once for the digest.
const CHUNK: usize = 1 << 20;

/// A snapshot file that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Size in bytes, digest included.
    pub size: u64,
    /// The SHA-256, in hexadecimal.
    pub sha256: String,
    /// HashKV read back from the file; equal to the source's.
    pub hash: HashKv,
}

/// Writes a source into an empty file, syncs it and reads it back.
///
/// # Errors
/// Damage in the source, a failed write, or a file that reads back different.
pub fn export(source: &dyn Source, file: File, progress: &dyn Progress) -> Result<Exported> {
    let expected = hash_kv(source, None, None, progress)?;
    progress.start("write", Some(source.origin().size_in_use));
    let mut file = write(source, file, progress)?;
    let (size, sha256) = append_digest(&mut file)?;
    file.sync_all()?;

    let written = SourceFile::open(file.path())?;
    written.verify_integrity(progress)?;
    let hash = hash_kv(&written, None, None, progress)?;
    if hash != expected {
        return Err(Error::ReadBack {
            what: "HashKV",
            expected: format!("{expected:?}"),
            found: format!("{hash:?}"),
        });
    }
    Ok(Exported { size, sha256, hash })
}

fn write(source: &dyn Source, file: File, progress: &dyn Progress) -> Result<File> {
    let buffered = BufWriter::with_capacity(CHUNK, file);
    let mut writer = Writer::new(buffered, WriterOptions::default())?;
    for bucket in Bucket::ALL {
        writer.start_bucket(bucket.name().as_bytes())?;
        match bucket {
            Bucket::Key => source.revisions(&mut |key, value| {
                progress.advance(value.len() as u64);
                Ok(writer.put(&key.to_bytes(), value)?)
            })?,
            small => source.metadata_bucket(small, &mut |key, value| Ok(writer.put(key, value)?))?,
        }
    }
    Ok(writer.finish()?.0.into_inner().map_err(io::IntoInnerError::into_error)?)
}

/// Appends the SHA-256 of a file to it.
fn append_digest(file: &mut File) -> Result<(u64, String)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += bytes.len() as u64;
    }
    let digest = hasher.finalize();
    file.seek(SeekFrom::End(0))?;
    file.write_all(&digest)?;
    Ok((size + digest.len() as u64, digest.iter().map(|byte| format!("{byte:02x}")).collect()))
}
