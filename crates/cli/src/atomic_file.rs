//! Snapshots are written to a temporary file next to their target, then renamed into place.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use lifeboat_etcd::{Exported, Progress, Source, export};
use tempfile::NamedTempFile;

use crate::exit::Refused;

/// A complete, verified and synced snapshot in a temporary file, which is removed unless persisted.
pub struct PendingSnapshot {
    pub file: NamedTempFile,
    /// Size in bytes, including the digest.
    pub size: u64,
    /// SHA-256 digest in hexadecimal.
    pub sha256: String,
}

impl PendingSnapshot {
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Renames the file to `path`, unless that exists.
    pub fn persist(self, path: &Path) -> Result<()> {
        self.file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::Error::new(exists(path)),
            _ => anyhow::Error::new(error.error).context(format!("rename to {}", path.display())),
        })?;
        Ok(fs::File::open(parent(path))?.sync_all()?)
    }
}

/// Refuses an existing path before any work is done for it.
pub fn refuse_existing(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() { Err(exists(path).into()) } else { Ok(()) }
}

fn exists(path: &Path) -> Refused {
    Refused(format!("{} exists; choose another file name", path.display()))
}

/// Writes a snapshot of a source to a temporary file next to `path`.
pub fn write_snapshot(
    source: &dyn Source,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(PendingSnapshot, Exported)> {
    let file = create(path)?;
    let handle = fs::OpenOptions::new().read(true).write(true).open(file.path())?;
    let exported = export(source, handle, progress)?;
    Ok((PendingSnapshot { file, size: exported.size, sha256: exported.sha256.clone() }, exported))
}

/// Creates an empty temporary file with mode 0600 next to `path`.
pub fn create(path: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".lifeboat-saving-")
        .tempfile_in(parent(path))
        .with_context(|| format!("create a temporary file in {}", parent(path).display()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
