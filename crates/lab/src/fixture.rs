//! Real files that tests read. They lie compressed in `fixtures/`, whose MANIFEST says where they are from, and
//! are unpacked into the cache once.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use lzma_rust2::XzReader;
use sha2::{Digest, Sha256};

use crate::cache;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");
const KUBERNETES: &str = "kubernetes-1.34-etcd-3.6.db";
/// As the MANIFEST says.
const KUBERNETES_SHA256: &str = "defdef0c62ecc78ebddb30e0ace9ec4a9a5728e3708162eee619e66020cb56d7";

/// A snapshot of a small Kubernetes cluster (340 keys, 798752 bytes). Shared by all tests: copy it to change it.
///
/// # Panics
///
/// When it cannot be unpacked; it is part of the source tree, so nothing has to be had from elsewhere.
#[must_use]
pub fn kubernetes_snapshot() -> PathBuf {
    let unpacked = cache::install("fixtures", &KUBERNETES_SHA256[..12], |dir| {
        let packed = fs::File::open(Path::new(FIXTURES).join(format!("{KUBERNETES}.xz")))?;
        unpack(packed, &dir.join(KUBERNETES), KUBERNETES_SHA256)
    });
    unpacked.expect("unpack a fixture").join(KUBERNETES)
}

fn unpack(packed: impl Read, to: &Path, expected: &str) -> Result<()> {
    let mut bytes = Vec::new();
    XzReader::new(packed, false).read_to_end(&mut bytes).context("decompress xz")?;
    let found = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    ensure!(found == expected, "sha256 of {} is {found}, its MANIFEST says {expected}", to.display());
    Ok(fs::write(to, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_is_the_one_the_manifest_names() {
        let path = kubernetes_snapshot();
        assert_eq!(fs::metadata(path).unwrap().len(), 798_752);
        let manifest = fs::read_to_string(Path::new(FIXTURES).join("MANIFEST")).unwrap();
        assert!(manifest.contains(&format!("{KUBERNETES_SHA256}  {KUBERNETES}")));
    }
}
