//! The cache directory for what is costly to build, outside of the source tree. An entry is built beside its final
//! name, under a lock, and renamed into place.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use sha2::{Digest, Sha256};

/// The directory `<kind>/<name>` of the cache. If it does not exist, `build` fills it, given an empty directory.
///
/// A directory with its final name is complete, and needs no lock. Test processes that need the same peer at the same
/// time wait for the lock; all but the first find the work done.
pub(crate) fn install(kind: &str, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let kept = root()?.join(kind);
    let ready = kept.join(name);
    if ready.is_dir() {
        return Ok(ready);
    }
    fs::create_dir_all(&kept)?;
    let lock = fs::File::create(kept.join(format!("{name}.lock")))?;
    lock.lock()?;
    if ready.is_dir() {
        return Ok(ready);
    }
    let building = kept.join(format!("{name}.building"));
    // Left by a build that was killed: no other process uses it, since we hold the lock.
    if building.exists() {
        fs::remove_dir_all(&building)?;
    }
    fs::create_dir(&building)?;
    if let Err(error) = build(&building) {
        let _ = fs::remove_dir_all(&building);
        return Err(error);
    }
    fs::rename(&building, &ready)?;
    Ok(ready)
}

/// A short digest of a build's inputs, and of where each one ends.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The cache directory. Relative paths in the environment are ignored: tests of different crates run in different
/// directories, and each would fill its own cache.
pub(crate) fn root() -> Result<PathBuf> {
    let from = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    from("LIFEBOAT_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("lifeboat")))
        .or_else(|| from("HOME").map(|dir| dir.join(".cache/lifeboat")))
        .context("no cache directory: set LIFEBOAT_CACHE to an absolute path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_keeps_its_parts_apart() {
        assert_eq!(digest(&["ab", "c"]).len(), 12);
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
