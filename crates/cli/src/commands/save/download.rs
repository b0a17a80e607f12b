//! The snapshot stream into a temporary file, verified against the digest at its end.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lifeboat_client::Client;
use lifeboat_etcd::Progress;
use sha2::{Digest, Sha256};

use crate::atomic_file::{self, PendingSnapshot};

const DIGEST_SIZE: usize = 32;
/// Databases are whole pages, so a snapshot's size is 32 above a multiple of this.
const UNIT: u64 = 512;

/// Streams a snapshot into a file beside `path`.
pub async fn download(
    client: &Client,
    db_size: i64,
    path: &Path,
    progress: &dyn Progress,
) -> Result<PendingSnapshot> {
    let mut file = atomic_file::create(path)?;
    progress.start("save", u64::try_from(db_size).ok());
    let mut hash = Sha256::new();
    // The last bytes seen: they are the digest if nothing follows, and part of the db if something does.
    let mut tail = Vec::new();
    let mut size = 0;
    let mut stream = client.snapshot().await?;
    while let Some(chunk) = stream.chunk().await? {
        file.write_all(&chunk.blob).context("write the snapshot")?;
        size += chunk.blob.len() as u64;
        progress.advance(chunk.blob.len() as u64);
        tail.extend_from_slice(&chunk.blob);
        let settled = tail.len().saturating_sub(DIGEST_SIZE);
        hash.update(&tail[..settled]);
        tail.drain(..settled);
    }
    if size % UNIT != DIGEST_SIZE as u64 {
        bail!(
            "the member sent {size} bytes, which is no whole snapshot: the stream was cut short; try again"
        );
    }
    let found = hash.finalize();
    if *found != *tail {
        bail!(
            "the snapshot does not match the sha256 the member sent behind it; try again, or another member"
        );
    }
    file.as_file().sync_all().context("sync the snapshot")?;
    let sha256 = found.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(PendingSnapshot { file, size, sha256 })
}
