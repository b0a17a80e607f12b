//! Streams a snapshot into a temporary file and verifies it with the digest at its end.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lifeboat_client::Client;
use lifeboat_etcd::Progress;
use sha2::{Digest, Sha256};

use crate::atomic_file::{self, PendingSnapshot};

const DIGEST_SIZE: usize = 32;
/// A db consists of whole pages, so the size of a snapshot is a multiple of this plus the digest.
const SMALLEST_PAGE: u64 = 512;

/// Streams a snapshot into a temporary file next to `path`.
pub async fn download(
    client: &Client,
    db_size: i64,
    path: &Path,
    progress: &dyn Progress,
) -> Result<PendingSnapshot> {
    let mut file = atomic_file::create(path)?;
    progress.start("save", u64::try_from(db_size).ok());
    let mut hash = Sha256::new();
    // The last bytes received: the digest if nothing follows, otherwise part of the db.
    let mut tail = Vec::new();
    let mut size = 0;
    let mut stream = client.snapshot().await?;
    while let Some(chunk) = stream.chunk().await? {
        file.write_all(&chunk.blob).context("write the snapshot")?;
        size += chunk.blob.len() as u64;
        progress.advance(chunk.blob.len() as u64);
        tail.extend_from_slice(&chunk.blob);
        let hashed = tail.len().saturating_sub(DIGEST_SIZE);
        hash.update(&tail[..hashed]);
        tail.drain(..hashed);
    }
    if size % SMALLEST_PAGE != DIGEST_SIZE as u64 {
        bail!("incomplete snapshot: the stream was cut short after {size} bytes; try again");
    }
    let found = hash.finalize();
    if *found != *tail {
        bail!(
            "the snapshot does not match the sha256 that the member sent; try again, or use another member"
        );
    }
    file.as_file().sync_all().context("sync the snapshot")?;
    let sha256 = found.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(PendingSnapshot { file, size, sha256 })
}
