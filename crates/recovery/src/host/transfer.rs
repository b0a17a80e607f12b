//! Large files to and from machines: compressed, compared by SHA-256, synced, renamed, and continued where an earlier try
//! was cut short.

mod fetch;
mod send;

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use fs_err as fs;
use sha2::{Digest, Sha256};

pub use fetch::fetch;
pub(crate) use send::has_digest;
pub use send::send;

/// Longest a transfer may take: a minute, and 1 MiB a second.
fn limit(size: u64) -> Duration {
    Duration::from_secs(60 + size / (1 << 20))
}

/// The least that a transfer is given time for, in seconds, when a file of this size is sent to so many machines at once.
pub(crate) fn seconds(size: u64, machines: usize) -> u64 {
    let machines = u64::try_from(machines).unwrap_or(u64::MAX).max(1);
    limit(size).as_secs().saturating_mul(machines)
}

/// Size and SHA-256 of a local file.
pub(crate) async fn digest(path: PathBuf) -> io::Result<(u64, String)> {
    tokio::task::spawn_blocking(move || hash(fs::File::open(path)?)).await?
}

/// SHA-256 of the first bytes of a local file; nothing when it has fewer.
async fn prefix_digest(path: PathBuf, length: u64) -> io::Result<Option<String>> {
    let hash = move || {
        let (read, digest) = hash(fs::File::open(&path)?.take(length))?;
        Ok((read == length).then_some(digest))
    };
    tokio::task::spawn_blocking(hash).await?
}

/// Size and SHA-256 of what is read.
fn hash(mut file: impl Read) -> io::Result<(u64, String)> {
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            let digest = hash.finalize();
            return Ok((size, digest.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hash.update(chunk.get(..read).unwrap_or_default());
        size += read as u64;
    }
}
