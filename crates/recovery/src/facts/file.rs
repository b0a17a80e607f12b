//! Facts in a file: recorded on one day or machine, judged on another.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use super::{Facts, SCHEMA_VERSION};

/// The facts of a thousand machines are some megabytes.
const LARGEST: u64 = 256 << 20;

/// Why a file of facts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FactsFileError {
    /// There is no such file.
    #[error("no such facts file: {}; `lifeboat diagnose --save-facts FILE` writes one", .0.display())]
    Missing(PathBuf),
    /// The file system says no. The error names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not a file of facts.
    #[error("{}: not a facts file: {why}", path.display())]
    Unfit {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// The file is larger than any facts.
    #[error("{}: not a facts file: larger than {} MiB", path.display(), LARGEST >> 20)]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// Another version of Lifeboat wrote it.
    #[error(
        "{}: facts have version {found}; this lifeboat reads version {SCHEMA_VERSION}: use the release that wrote them",
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
    /// Reads facts from a file that `--save-facts` wrote.
    ///
    /// # Errors
    /// [`FactsFileError`] for any other file.
    pub fn load(path: &Path) -> Result<Self, FactsFileError> {
        let file = fs::File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FactsFileError::Missing(path.into()),
            _ => error.into(),
        })?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(FactsFileError::TooLarge { path: path.into() });
        }
        let unfit = |why| FactsFileError::Unfit { path: path.into(), why };
        let head: Head = serde_json::from_slice(&bytes).map_err(unfit)?;
        if head.schema_version != SCHEMA_VERSION {
            return Err(FactsFileError::Version { path: path.into(), found: head.schema_version });
        }
        serde_json::from_slice(&bytes).map_err(unfit)
    }
}

#[cfg(test)]
mod tests;
