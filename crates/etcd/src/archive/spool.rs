//! Where what is unpacked goes: a file without a name, of mode 0600, that ends with the process.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::fstatvfs;

use crate::error::{Error, Result};
use crate::finding::FindingKind;

/// The room is looked at once for so many bytes.
const STEP: u64 = 64 << 20;
const CHUNK: usize = 1 << 20;

/// How much is unpacked: an archive of kilobytes may unpack to terabytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest file; etcd's quota is 8 GiB at most, by its documentation.
    pub(super) size: u64,
    /// What must stay free on the disk.
    pub(super) spare: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 64 << 30, spare: 256 << 20 }
    }
}

/// What has been unpacked of a file.
pub(super) struct Spool<'a> {
    path: &'a Path,
    dir: PathBuf,
    limits: Limits,
    written: u64,
    pub(super) file: File,
}

impl<'a> Spool<'a> {
    pub(super) fn new(path: &'a Path, limits: Limits) -> Result<Self> {
        let dir = directory();
        let file = tempfile::tempfile_in(&dir).map_err(|error| Error::unreadable(&dir, error))?;
        Ok(Self { path, dir, limits, written: 0, file })
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Adds all that a decoder gives.
    pub(super) fn copy(&mut self, from: &mut dyn Read) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut until_look = 0;
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(undecodable(self.path, error)),
            };
            if until_look < count as u64 {
                self.ensure_room()?;
                until_look = STEP;
            }
            until_look -= count as u64;
            self.file
                .write_all(chunk.get(..count).unwrap_or_default())
                .map_err(|error| Error::unreadable(&self.dir, error))?;
            self.written += count as u64;
            if self.written > self.limits.size {
                return Err(Error::Refused(format!(
                    "{} unpacks to more than {} GiB, too large for an etcd snapshot; unpack it manually to see what it is",
                    self.path.display(),
                    self.limits.size >> 30
                )));
            }
        }
    }

    fn ensure_room(&self) -> Result<()> {
        let disk = fstatvfs(&self.file).map_err(|error| Error::unreadable(&self.dir, error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= self.limits.spare.saturating_add(STEP) {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "no room to unpack {}: {} has {} MiB free after {} MiB of it; set TMPDIR to a directory on a larger disk",
            self.path.display(),
            self.dir.display(),
            free >> 20,
            self.written >> 20
        )))
    }
}

/// /tmp is memory on many machines; /var/tmp is for what is large.
fn directory() -> PathBuf {
    let large = Path::new("/var/tmp");
    match env::var_os("TMPDIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => dir.into(),
        None if large.is_dir() => large.into(),
        None => env::temp_dir(),
    }
}

/// What a decoder says: damage, unless the operating system failed to read.
pub(super) fn undecodable(path: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::unreadable(path, error),
        None => FindingKind::Archive { defect: error.to_string() }.into(),
    }
}
