//! Facts in a file: recorded on one day or machine, judged on another.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use tempfile::Builder;

use super::{Facts, SCHEMA_VERSION};

/// The facts of a thousand machines are some megabytes.
const LARGEST: u64 = 256 << 20;

/// Why a file of facts cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FactsFileError {
    /// The file system says no. The error names the file.
    #[error("facts")]
    Io(#[from] std::io::Error),
    /// The file is no file of facts.
    #[error("{}: not a facts file; record one with `lifeboat diagnose --save-facts`", path.display())]
    Unfit {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file is larger than any facts.
    #[error("{}: larger than {} MiB, not a facts file", path.display(), LARGEST >> 20)]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// Another version of Lifeboat wrote it.
    #[error(
        "{}: facts version {found}, this Lifeboat reads version {SCHEMA_VERSION}; use the release that wrote it",
        path.display()
    )]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// The version in it.
        found: u32,
    },
}

/// The part that tells how to read the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u32,
}

impl Facts {
    /// Writes the facts to a file, replacing it at once or not at all; 0600, since names and addresses are not for
    /// everybody.
    ///
    /// # Errors
    /// [`FactsFileError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), FactsFileError> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // 0600 from the start.
        let mut file = Builder::new().prefix(".lifeboat-facts-").tempfile_in(dir)?;
        serde_json::to_writer_pretty(file.as_file_mut(), self).map_err(std::io::Error::from)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(fs::File::open(dir)?.sync_all()?)
    }

    /// Reads facts from a file.
    ///
    /// # Errors
    /// [`FactsFileError`] for a file that cannot be read, or was not written by [`save`](Self::save).
    pub fn load(path: &Path) -> Result<Self, FactsFileError> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(FactsFileError::TooLarge { path: path.into() });
        }
        let unfit = |source| FactsFileError::Unfit { path: path.into(), source };
        let head: Head = serde_json::from_slice(&bytes).map_err(unfit)?;
        if head.schema_version != SCHEMA_VERSION {
            return Err(FactsFileError::Version { path: path.into(), found: head.schema_version });
        }
        serde_json::from_slice(&bytes).map_err(unfit)
    }
}

#[cfg(test)]
mod tests;
