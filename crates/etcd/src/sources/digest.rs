//! The sha256 at the end of a snapshot (`server/etcdserver/api/v3rpc/maintenance.go`, `Snapshot`): 32 bytes, over
//! all bytes before them.

use lifeboat_bbolt::ReadAt;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::progress::Progress;

/// Bytes of the digest.
pub(crate) const SIZE: u64 = TAIL as u64;
const TAIL: usize = 32;
/// A db is whole pages, so its size is a multiple of this; a snapshot's is 32 above one
/// (`etcdutl/snapshot/v3_snapshot.go`, `hasChecksum`).
const UNIT: u64 = 512;
const CHUNK: usize = 1 << 20;

/// Whether a file of `size` bytes carries a digest.
pub(crate) fn is_present(size: u64) -> bool {
    size % UNIT == SIZE
}

/// Verifies the digest that follows the first `size` bytes, and returns it in hexadecimal.
pub(crate) fn verify<R: ReadAt>(file: &R, size: u64, progress: &dyn Progress) -> Result<String> {
    progress.start("verify sha256", Some(size));
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get_mut(..length).unwrap_or_default();
        read(file, part, offset)?;
        hash.update(&*part);
        offset += length as u64;
        progress.advance(length as u64);
    }
    let mut tail = [0; TAIL];
    read(file, &mut tail, size)?;
    let found = hash.finalize();
    if *found == tail {
        return Ok(hex(&tail));
    }
    Err(FindingKind::DigestMismatch { expected: hex(&tail), found: hex(&found) }.into())
}

fn read<R: ReadAt>(file: &R, buf: &mut [u8], offset: u64) -> Result<()> {
    let length = buf.len();
    file.read_exact_at(buf, offset)
        .map_err(|source| Error::Bbolt(lifeboat_bbolt::Error::Read { offset, length, source }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
