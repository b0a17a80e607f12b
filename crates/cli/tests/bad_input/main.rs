//! Whatever the bytes, they end in a clear error or in findings, in bounded memory and time: an outage is when
//! the only copy left may be a bad one, and a tool that crashes on it, or makes a half-restored member of it,
//! makes things worse.

mod binary;
mod craft;
mod crafted;
mod files;
mod flipped;
mod limits;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod truncated;

use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lifeboat_etcd::{
    Error, FindingKind, InitialCluster, NoProgress, RestoreOptions, RestoreReport, Severity, Target, check,
    open, restore,
};

const CLUSTER: &str = "m1=http://127.0.0.1:2380";

/// The worst severity of a check; a source that does not open is the worst case.
fn worst(path: &Path) -> Option<Severity> {
    match open(path) {
        Ok(source) => check(source.as_ref(), &NoProgress).expect("damage is data").worst(),
        Err(Error::Damaged(_) | Error::NotASource { .. }) => Some(Severity::Error),
        Err(error) => panic!("{error:?}"),
    }
}

fn findings(path: &Path) -> Vec<FindingKind> {
    let source = match open(path) {
        Ok(source) => source,
        Err(Error::Damaged(kind)) => return vec![kind],
        Err(error) => panic!("{error:?}"),
    };
    let report = check(source.as_ref(), &NoProgress).expect("damage is data");
    report.findings.into_iter().map(|finding| finding.kind).collect()
}

fn restore_into(path: &Path, data_dir: &Path) -> Result<RestoreReport, Error> {
    let options = RestoreOptions {
        cluster: InitialCluster::parse(CLUSTER, "token")?,
        targets: vec![Target { name: "m1".into(), data_dir: data_dir.into(), wal_dir: None }],
        bump_revision: RestoreOptions::AUTO_BUMP,
        keep_history: false,
        revision: None,
        version: None,
        skip_hash_check: false,
        allow_empty: true,
    };
    restore(open(path)?.as_ref(), &options, &NoProgress)
}

/// Expects a restore to end in damage and to leave nothing: a data dir that exists may be started.
fn refuses_to_restore(path: &Path, case: &dyn std::fmt::Debug) {
    let data_dir = path.with_extension("restored");
    match restore_into(path, &data_dir) {
        Err(Error::Damaged(_) | Error::NotASource { .. }) => {}
        other => panic!("{case:?}: {other:?}"),
    }
    assert!(!data_dir.exists(), "{case:?}");
}

/// A file whose bytes are changed in place and put back: rewriting all of it for each of ten thousands of
/// cases would be most of the time.
struct Patched {
    file: std::fs::File,
    bytes: Vec<u8>,
}

impl Patched {
    fn new(path: &Path, bytes: Vec<u8>) -> Self {
        fs_err::write(path, &bytes).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        Self { file, bytes }
    }

    fn with_flipped<T>(&self, bit: usize, look: impl FnOnce() -> T) -> T {
        let (at, byte) = (bit / 8, self.bytes[bit / 8]);
        self.file.write_all_at(&[byte ^ 1 << (bit % 8)], at as u64).unwrap();
        let seen = look();
        self.file.write_all_at(&[byte], at as u64).unwrap();
        seen
    }
}

/// Repeatable numbers (splitmix64): a failure names its case, and the next run meets it again.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % limit as u64) as usize
    }
}

/// A bbolt file with one bucket, as another program would write it.
fn other_program() -> Vec<u8> {
    let mut writer =
        lifeboat_bbolt::Writer::new(Cursor::new(Vec::new()), lifeboat_bbolt::WriterOptions::default())
            .unwrap();
    writer.start_bucket(b"boltdb").unwrap();
    writer.put(b"key", b"value").unwrap();
    writer.finish().unwrap().0.into_inner()
}
