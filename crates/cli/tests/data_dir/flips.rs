//! Single bits flipped at random: in a snapshot each is found; in a log each that makes a difference; in a db, which
//! has no digest, each that takes a key or a revision away.
//!
//! `LIFEBOAT_FLIPS` is the number of flips in each, `LIFEBOAT_FLIPS_SEED` selects them.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{
    BucketKey, CheckReport, Error, Finding, NoProgress, Replay, Revision, Severity, Source, State, check,
    open, salvage,
};

use crate::damage::{killed, used, whole_log};
use crate::raft::segment;
use crate::support::{MetadataBuckets, Revisions, metadata_buckets, revisions};

const FOUND: &str = "found";
const HARMLESS: &str = "where nothing is read";

/// Flips one bit after another of the first `size` bytes, each alone, and counts the values of `outcome`.
fn flip(
    what: &str,
    path: &Path,
    size: usize,
    few: u64,
    outcome: impl Fn(&str) -> &'static str,
) -> BTreeMap<&'static str, u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("LIFEBOAT_FLIPS").unwrap_or(few);
    let mut rng = Rng::with_seed(number("LIFEBOAT_FLIPS_SEED").unwrap_or(1));
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut outcomes = BTreeMap::new();
    for _ in 0..count {
        let (at, bit) = (rng.u64(0..size as u64), rng.u8(0..8));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
        *outcomes.entry(outcome(&format!("{what}, byte {at}, bit {bit}"))).or_default() += 1;
        file.write_all_at(&byte, at).unwrap();
    }
    println!("{count} bits flipped in a {what}: {outcomes:?}");
    outcomes
}

/// The report of `check` on a source that may not even open.
fn report(path: &Path) -> CheckReport {
    match open(path) {
        Ok(source) => check(source.as_ref(), &NoProgress).unwrap(),
        Err(Error::Damaged(kind)) => CheckReport::of_damage(kind),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn every_bit_flipped_in_a_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (path, size) = snapshot(dir.path(), true);
    flip("snapshot", &path, size, 100, |what| {
        assert_eq!(report(&path).worst(), Some(Severity::Error), "{what}");
        FOUND
    });
}

/// Keys and values of every bucket.
#[derive(Debug, PartialEq)]
struct Contents {
    revisions: Revisions,
    small: MetadataBuckets,
}

impl Contents {
    fn of(source: &dyn Source) -> Self {
        Self { revisions: revisions(source), small: metadata_buckets(source) }
    }

    /// Values are not vouched for without a digest, nor sub numbers up to the compact revision, and nobody says they
    /// are.
    fn has_keys_of(&self, other: &Self, compact: i64) -> bool {
        let seen = |BucketKey { revision: Revision { main, sub }, tombstone }| {
            (main, (main > compact).then_some(sub), tombstone)
        };
        let revisions = |contents: &Self| contents.revisions.keys().map(|key| seen(*key)).collect::<Vec<_>>();
        let keys = |bucket: &BTreeMap<Vec<u8>, _>| bucket.keys().cloned().collect::<Vec<_>>();
        let small = |contents: &Self| contents.small.values().map(keys).collect::<Vec<_>>();
        revisions(self) == revisions(other) && small(self) == small(other)
    }
}

#[test]
fn no_bit_flipped_in_a_db_loses_data_silently() {
    let dir = tempfile::tempdir().unwrap();
    let (path, size) = snapshot(dir.path(), false);
    let source = open(&path).unwrap();
    let sound = Contents::of(source.as_ref());
    let compact = State::read(source.as_ref()).unwrap().compact_revision().unwrap_or(0);
    let outcomes = flip("db", &path, size, 100, |what| {
        if let Ok((salvaged, account)) = salvage(&path, Replay::Committed, None, &NoProgress)
            && account.is_complete
        {
            assert!(Contents::of(&salvaged).has_keys_of(&sound, compact), "{what}: salvaged");
        }
        if report(&path).worst() >= Some(Severity::Warning) {
            return FOUND;
        }
        let contents = Contents::of(open(&path).unwrap().as_ref());
        assert!(contents.has_keys_of(&sound, compact), "{what}");
        if contents == sound { HARMLESS } else { "in a value, which only a digest would show" }
    });
    assert!(outcomes.contains_key(FOUND), "{outcomes:?}");
}

/// A snapshot of a Kubernetes cluster, or the db that it is without its digest.
fn snapshot(dir: &Path, digest: bool) -> (PathBuf, usize) {
    let path = dir.join("snapshot.db");
    let mut bytes = fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap();
    let size = if digest { bytes.len() } else { bytes.len() - 32 };
    bytes.truncate(size);
    fs_err::write(&path, bytes).unwrap();
    (path, size)
}

/// No flipped bit makes another history of the log: it is found, or changes nothing that is read.
#[test]
fn no_bit_flipped_in_a_log_makes_another_history() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = killed(EtcdVersion::V3_6);
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("m1");
    copy_dir(cluster.data_dir(0), &data_dir).unwrap();
    let path = segment(&data_dir);
    let mut bytes = fs_err::read(&path).unwrap();
    let size = used(&bytes);
    // Reading the zeros behind is all that would take time.
    bytes.truncate(size.next_multiple_of(512));
    fs_err::write(&path, bytes).unwrap();
    let sound = whole_log(&data_dir).unwrap();
    let outcomes = flip("log", &path, size, 400, |what| {
        let report = report(&data_dir);
        if report.worst() >= Some(Severity::Warning) {
            let ids: Vec<_> = report.findings.iter().map(Finding::id).collect();
            assert!(ids.iter().any(|id| id.starts_with("wal.")), "{what}: {ids:?}");
            return FOUND;
        }
        assert_eq!(whole_log(&data_dir).unwrap(), sound, "{what}");
        HARMLESS
    });
    assert!(outcomes.get(HARMLESS).unwrap_or(&0) * 8 <= outcomes[FOUND], "{outcomes:?}");
}
