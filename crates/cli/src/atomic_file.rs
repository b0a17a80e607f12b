//! A snapshot under a temporary name beside the one it will get.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;
use lifeboat_etcd::{Exported, Progress, Source, export};
use tempfile::NamedTempFile;

use crate::exit::Refused;

/// A snapshot that is whole, verified and on disk, under a temporary name; removed unless persisted.
pub struct PendingSnapshot {
    pub file: NamedTempFile,
    /// Bytes, the digest included.
    pub size: u64,
    /// The digest, hexadecimal.
    pub sha256: String,
}

impl PendingSnapshot {
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives the file its name, unless that is taken.
    pub fn persist(self, path: &Path) -> Result<()> {
        self.file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow::Error::new(exists(path)),
            _ => anyhow::Error::new(error.error).context(format!("rename to {}", path.display())),
        })?;
        Ok(fs::File::open(parent(path))?.sync_all()?)
    }
}

/// Refuses a name that is taken, before any work is done for it.
pub fn refuse_existing(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() { Err(exists(path).into()) } else { Ok(()) }
}

fn exists(path: &Path) -> Refused {
    Refused(format!("{} exists; name another file", path.display()))
}

/// A snapshot of a source, beside `path`.
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

/// An empty file, 0600, beside `path`.
pub fn create(path: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".lifeboat-saving-")
        .tempfile_in(parent(path))
        .with_context(|| format!("create a file in {}", parent(path).display()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
