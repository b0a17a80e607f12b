//! Real files that tests read. They are compressed in `fixtures/`, whose MANIFEST describes their origin, and are
//! unpacked into the cache once.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use lzma_rust2::XzReader;
use sha2::{Digest, Sha256};

use crate::cache;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// A file to unpack, with its digest in the MANIFEST.
#[derive(Debug, Clone, Copy)]
struct Fixture {
    name: &'static str,
    sha256: &'static str,
}

const KUBERNETES: Fixture = Fixture {
    name: "kubernetes-1.34-etcd-3.6.db",
    sha256: "defdef0c62ecc78ebddb30e0ace9ec4a9a5728e3708162eee619e66020cb56d7",
};
const LOST_QUORUM: Fixture = Fixture {
    name: "lost-quorum-etcd-3.6.tar",
    sha256: "f4f92044bb88c3c6378e94e56fc8033dbcf54acde677953113f7373ef689ba1a",
};
const SNAPSHOT_AND_LOG: Fixture = Fixture {
    name: "snapshot-and-log-etcd-3.6.tar",
    sha256: "9eeccbadabcb2345b7c75dd3ba61b3b4618e7d539ed098007c46114963a94283",
};
const BAD_RECORD: Fixture = Fixture {
    name: "bad-record-in-log-etcd-3.5.tar",
    sha256: "305d2ae27f694e908e8492aa650410708fe8b8e92eaf7717fdd4fd39781db64d",
};

/// Data dirs in a state that was reported from the field, rebuilt with real etcd; the MANIFEST describes each.
#[derive(Debug, Clone, Copy)]
pub struct FieldInput(Fixture);

impl FieldInput {
    /// The Kubernetes snapshot as backup tools pack it, and a database of another program.
    pub const FOREIGN_BACKUPS: Self = Self(Fixture {
        name: "foreign-backups.tar",
        sha256: "018bfe22539e3bf18472f50614dccabdf45c4e28af0e37ceb08aa7bed3352b15",
    });
    /// `f2`: a member whose db has 38 keys; with its log, 40.
    pub const DB_WITH_LOG_BESIDE: Self = Self(Fixture {
        name: "db-with-log-beside.tar",
        sha256: "64b7b96ed730602ab649c0168e320a00d324f712d0f743bdea13dd018f03d55c",
    });
    /// `h-3.4`: an etcd 3.4 member, killed after requests to `/health`; 8 keys.
    pub const HEALTH_PROBE: Self = Self(Fixture {
        name: "health-probe-etcd-3.4.tar",
        sha256: "b800e5a7c264d2e93e163b891ce1c4205cd9a9de0da3c6273fdeef82f4564ec1",
    });
    /// `y-3.6-4`: the only member of a cluster, whose last acknowledged write is above the commit index; 6 keys.
    pub const LAST_WRITE: Self = Self(Fixture {
        name: "single-member-last-write-etcd-3.6.tar",
        sha256: "65e3247c807e11fa53979b4150d321ddf135c3e413f7506e1e639acfdad97691",
    });
    /// `j-old` and `j-wal`: keys of the v2 API in the raft snapshot; of `j-wal`, in the log too.
    pub const V2_CONTENT: Self = Self(Fixture {
        name: "v2-content-etcd-3.5.tar",
        sha256: "fc7eb2e3c8b70af877febf16d77001cd058648aa67f5ab65c769680032503f1b",
    });
    /// `t-1` and a snapshot of it, `t-s.db`: two of three voters are still learners in the db.
    pub const LEARNER_FLAG: Self = Self(Fixture {
        name: "learner-flag-etcd-3.5.tar",
        sha256: "3d3e58fb47e276982272464a70684bb25fc2d090a6eaf81ec16efc48fdc870c1",
    });
    /// `c-1`, `c-2` and `c-3`: one snapshot, restored three times with three tokens.
    pub const THREE_CLUSTERS: Self = Self(Fixture {
        name: "three-cluster-ids-etcd-3.6.tar",
        sha256: "04ee20899a4b86cd41c251495ef991159f24c6d8aaae5dfcd945d62345c09af9",
    });
    #[cfg(test)]
    const ALL: &[Self] = &[
        Self::FOREIGN_BACKUPS,
        Self::DB_WITH_LOG_BESIDE,
        Self::HEALTH_PROBE,
        Self::LAST_WRITE,
        Self::V2_CONTENT,
        Self::LEARNER_FLAG,
        Self::THREE_CLUSTERS,
    ];

    /// Unpacks the fixture into a directory.
    ///
    /// # Panics
    ///
    /// If it cannot be unpacked, for example without `tar`.
    pub fn unpack(self, to: &Path) {
        extract(&self.0, to);
    }
}

/// A snapshot of a small Kubernetes cluster (340 keys, 798752 bytes). Shared by all tests: copy it to change it.
///
/// # Panics
///
/// If it cannot be unpacked. It is part of the source tree: nothing is downloaded.
#[must_use]
pub fn kubernetes_snapshot() -> PathBuf {
    unpacked(&KUBERNETES).expect("unpack a fixture")
}

/// Unpacks the data dirs `m1`, `m2` and `m3` of a cluster into a directory: m1 was killed at revision 91, the others
/// at 152.
///
/// # Panics
///
/// If they cannot be unpacked, for example without `tar`.
pub fn members_of_a_lost_quorum(to: &Path) {
    extract(&LOST_QUORUM, to);
}

/// Unpacks into a directory the data dir `s-3.6` of a one-member cluster, whose db is random bytes and whose log has
/// the entries 1 to 66, and its snapshot `s-3.6-nightly.db` at entry 25.
///
/// # Panics
///
/// If they cannot be unpacked, for example without `tar`.
pub fn snapshot_and_log(to: &Path) {
    extract(&SNAPSHOT_AND_LOG, to);
}

/// Unpacks into a directory the data dirs `e-3.5-a` and `e-3.5-b` of a one-member cluster, whose log has one bad
/// record: in a among the entries that the db has applied, in b after them.
///
/// # Panics
///
/// If they cannot be unpacked, for example without `tar`.
pub fn bad_record_in_log(to: &Path) {
    extract(&BAD_RECORD, to);
}

fn extract(fixture: &Fixture, to: &Path) {
    let tar = unpacked(fixture).expect("unpack a fixture");
    let status = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(to).status().expect("run tar");
    assert!(status.success(), "tar: {status}");
}

fn unpacked(fixture: &Fixture) -> Result<PathBuf> {
    let Fixture { name, sha256 } = fixture;
    let dir = cache::install("fixtures", &sha256[..12], |dir| {
        let packed = fs::File::open(Path::new(FIXTURES).join(format!("{name}.xz")))?;
        unpack(packed, &dir.join(name), sha256)
    });
    Ok(dir?.join(name))
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
    fn the_fixtures_are_those_the_manifest_names() {
        let manifest = fs::read_to_string(Path::new(FIXTURES).join("MANIFEST")).unwrap();
        let inputs = FieldInput::ALL.iter().map(|input| input.0);
        for fixture in [KUBERNETES, LOST_QUORUM, SNAPSHOT_AND_LOG, BAD_RECORD].into_iter().chain(inputs) {
            unpacked(&fixture).unwrap();
            assert!(manifest.contains(&format!("{}  {}", fixture.sha256, fixture.name)), "{}", fixture.name);
        }
    }
}
