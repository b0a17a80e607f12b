//! Single bits flipped at random: in a snapshot each is found; in a db or a log nothing passes for sound that is not.
//!
//! `LIFEBOAT_FLIPS` says how many in each, `LIFEBOAT_FLIPS_SEED` which.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;
use lab::cluster::ClusterBuilder;
use lab::copy_dir;
use lab::fill::{Kubernetes, kubernetes_like};
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{
    Bucket, BucketKey, CheckReport, Error, Finding, NoProgress, Replay, Severity, Source, check, open,
    salvage,
};

use crate::damage::{killed, used, whole_log};
use crate::raft::segment;
use crate::support::{pairs, save, stop_and_copy_db};

const FOUND: &str = "found";
const HARMLESS: &str = "where nothing is read";

/// Flips one bit after another of the first `size` bytes, each alone, and counts what `outcome` says of it.
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

/// What `check` says of a source that may not even open.
fn report(path: &Path) -> CheckReport {
    match open(path) {
        Ok(source) => check(source.as_ref(), &NoProgress).unwrap(),
        Err(Error::Damaged(kind)) => CheckReport::of_damage(kind),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn every_bit_flipped_in_a_snapshot_is_found() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = stopped_and_saved();
    let path = dir.path().join("snapshot.db");
    let size = fs_err::metadata(&path).unwrap().len() as usize;
    flip("snapshot", &path, size, 100, |what| {
        assert_eq!(report(&path).worst(), Some(Severity::Error), "{what}");
        FOUND
    });
}

/// Keys and values of every bucket.
#[derive(Debug, PartialEq)]
struct Contents {
    revisions: Vec<(BucketKey, Vec<u8>)>,
    small: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Contents {
    fn of(source: &dyn Source) -> Self {
        let mut revisions = Vec::new();
        source
            .revisions(&mut |key, value| {
                revisions.push((key, value.to_vec()));
                Ok(())
            })
            .unwrap();
        let small = Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key);
        Self { revisions, small: small.map(|bucket| (bucket.name(), pairs(source, bucket))).collect() }
    }

    /// Values are not vouched for without a digest, and nobody says they are.
    fn has_keys_of(&self, other: &Self) -> bool {
        let revisions = |contents: &Self| contents.revisions.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        let keys = |bucket: &BTreeMap<Vec<u8>, _>| bucket.keys().cloned().collect::<Vec<_>>();
        let small = |contents: &Self| contents.small.values().map(keys).collect::<Vec<_>>();
        revisions(self) == revisions(other) && small(self) == small(other)
    }
}

#[test]
fn no_bit_flipped_in_a_db_takes_anything_away_unseen() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = stopped_and_saved();
    let path = dir.path().join("db");
    let size = fs_err::metadata(&path).unwrap().len() as usize;
    let sound = Contents::of(open(&path).unwrap().as_ref());
    flip("db", &path, size, 100, |what| {
        if let Ok((salvaged, account)) = salvage(&path, Replay::Committed, None, &NoProgress)
            && account.is_complete
        {
            assert!(Contents::of(&salvaged).has_keys_of(&sound), "{what}: salvaged");
        }
        if report(&path).worst() >= Some(Severity::Warning) {
            return FOUND;
        }
        let contents = Contents::of(open(&path).unwrap().as_ref());
        assert!(contents.has_keys_of(&sound), "{what}");
        if contents == sound { HARMLESS } else { "in a value, which only a digest would show" }
    });
}

/// A snapshot, and the db of a member that was stopped then.
fn stopped_and_saved() -> tempfile::TempDir {
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    kubernetes_like(&cluster, 0, &Kubernetes { rounds: 10, ..Kubernetes::default() }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save(&cluster, &dir.path().join("snapshot.db"));
    stop_and_copy_db(&mut cluster, 0, &dir.path().join("db"));
    dir
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
    assert!(outcomes.get(HARMLESS).unwrap_or(&0) < &(outcomes[FOUND] / 8), "{outcomes:?}");
}
