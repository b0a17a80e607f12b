//! Large files to and from machines: compressed, compared by SHA-256, synced, renamed, and continued where an earlier try
//! was cut short.

mod fetch;
mod send;

use std::io::{self, Read};
use std::path::PathBuf;

use fs_err as fs;
use sha2::{Digest, Sha256};

pub use fetch::fetch;
pub(crate) use send::has_digest;
pub use send::send;

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
