//! A member's log as a source of its own, on data dirs as the field had them (`fixtures/MANIFEST`).

use std::path::{Path, PathBuf};

use lifeboat_etcd::{
    Base, Bases, Error, FindingKind, Inspection, NoProgress, Replay, Source, inspect, open_on, salvage,
    salvage_on,
};
use lzma_rust2::XzReader;

/// Unpacks a fixture; of logs, which are laid out with 64 MB, what is used.
fn unpack(name: &str, to: &Path) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let packed = fs_err::File::open(packed).unwrap();
    tar::Archive::new(XzReader::new(packed, false)).unpack(to).unwrap();
}

fn read(path: &Path, bases: Bases<'_>) -> (Box<dyn Source>, Inspection) {
    let source = open_on(path, Replay::Committed, None, bases).unwrap();
    assert_eq!(source.unusable(), None);
    let inspection = inspect(source.as_ref(), &NoProgress).unwrap();
    (source, inspection)
}

fn db(data_dir: &Path) -> PathBuf {
    data_dir.join("member/snap/db")
}

/// The db is noise, last night's snapshot is at entry 25, and the log goes from entry 1 to 66.
#[test]
fn last_nights_snapshot_and_the_log_of_a_damaged_member() {
    let dir = tempfile::tempdir().unwrap();
    unpack("snapshot-and-log-etcd-3.6.tar.xz", dir.path());
    let [member, nightly] = ["s-3.6", "s-3.6-nightly.db"].map(|name| dir.path().join(name));

    let (alone, by_itself) = read(&member, Bases::Own);
    assert_eq!(alone.origin().base, Some(Base::Nothing));
    drop(alone);
    let given = [nightly.as_path()];
    for bases in [Bases::Only(&nightly), Bases::OwnOr(&given)] {
        let (combined, inspection) = read(&member, bases);
        assert_eq!(combined.origin().base, Some(Base::At(nightly.clone())));
        let raft = combined.raft().unwrap();
        assert_eq!((raft.consistent_index, raft.replayed_to), (25, 66));
        // 60 orders, and one key in the last entry, which the only voter has committed.
        assert_eq!(inspection.keys_by_prefix["/registry/configmaps"], 60);
        assert_eq!((inspection.live_keys, inspection.revision), (61, by_itself.revision));
        let proves = |kind: &FindingKind| match kind {
            FindingKind::BaseIdentity(identity) => {
                identity.cluster_id && identity.term && identity.writes > 0
            }
            _ => false,
        };
        assert!(combined.notes().iter().any(proves), "{:?}", combined.notes());
    }
    assert_eq!(by_itself.live_keys, 61);
    for bases in [Bases::Own, Bases::Only(&nightly)] {
        let (salvaged, report) = salvage_on(&member, Replay::Committed, None, bases, &NoProgress).unwrap();
        assert!(report.is_complete, "{report:?}");
        assert_eq!(inspect(&salvaged, &NoProgress).unwrap().live_keys, 61);
    }
    // The db is missing, or the directory that it is in.
    fs_err::remove_file(db(&member)).unwrap();
    assert_eq!(read(&member, Bases::Own).1.live_keys, 61);
    fs_err::remove_dir(member.join("member/snap")).unwrap();
    assert_eq!(read(&member, Bases::OwnOr(&given)).1.live_keys, 61);
}

/// Why a base is refused.
fn refused(data_dir: &Path, base: &Path) -> FindingKind {
    let source = open_on(data_dir, Replay::Committed, None, Bases::Only(base)).unwrap();
    source.unusable().expect("it is refused").clone()
}

#[test]
fn a_base_of_another_history_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    unpack("snapshot-and-log-etcd-3.6.tar.xz", dir.path());
    unpack("lost-quorum-etcd-3.6.tar.xz", dir.path());
    let [member, nightly] = ["s-3.6", "s-3.6-nightly.db"].map(|name| dir.path().join(name));
    // Of another cluster: a db, and a data dir.
    let [other, other_dir] = [db(&dir.path().join("m1")), dir.path().join("m1")];
    for other in [&other, &other_dir] {
        let kind = refused(&member, other);
        assert!(matches!(kind, FindingKind::BaseForeign { .. }), "{kind}");
        let (source, _) = read(&member, Bases::OwnOr(&[other.as_path()]));
        assert_eq!(source.origin().base, Some(Base::Nothing));
    }
    // Of another term, with less than it claims to have, and beyond the log.
    for (name, by, id) in [
        ("term", 1, "etcd.base-term"),
        ("consistent_index", 1, "etcd.base-content"),
        ("consistent_index", 5, "etcd.base-content"),
        ("consistent_index", 1000, "etcd.base-ahead"),
    ] {
        let kind = refused(&member, &with_meta(&nightly, name, by));
        assert_eq!(kind.id(), id, "{kind}");
    }
}

/// A snapshot whose number of this name in the bucket `meta` is higher, wherever it is in the file.
fn with_meta(snapshot: &Path, name: &str, by: u64) -> PathBuf {
    let mut bytes = fs_err::read(snapshot).unwrap();
    bytes.truncate(bytes.len() - 32);
    let ends = (name.len()..bytes.len() - 8).filter(|at| bytes[..*at].ends_with(name.as_bytes()));
    for at in ends.collect::<Vec<_>>() {
        let value = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&value.wrapping_add(by).to_be_bytes());
    }
    let path = snapshot.with_file_name(format!("{name}-{by}.db"));
    fs_err::write(&path, bytes).unwrap();
    path
}

/// One flipped byte in the log, in what the db has long since (a), and in what it lacks (b).
#[test]
fn one_bad_record_in_a_log() {
    let dir = tempfile::tempdir().unwrap();
    unpack("bad-record-in-log-etcd-3.5.tar.xz", dir.path());
    let [a, b] = ["e-3.5-a", "e-3.5-b"].map(|name| dir.path().join(name));
    let (source, inspection) = read(&a, Bases::Own);
    assert_eq!(inspection.live_keys, 41);
    assert!(source.notes().iter().any(FindingKind::stops_etcd), "{:?}", source.notes());
    let report = lifeboat_etcd::check(source.as_ref(), &NoProgress).unwrap();
    assert!(report.findings.iter().any(|finding| finding.id() == "wal.damaged"), "{:?}", report.findings);
    drop(source);
    let (salvaged, report) = salvage(&a, Replay::Committed, None, &NoProgress).unwrap();
    assert!(report.is_complete, "{report:?}");
    assert_eq!(inspect(&salvaged, &NoProgress).unwrap().live_keys, 41);

    let source = open_on(&b, Replay::Committed, None, Bases::Own).unwrap();
    let kind = source.unusable().unwrap().clone();
    assert!(matches!(kind, FindingKind::WalEntriesMissing { first, last } if first == last), "{kind}");
    assert!(matches!(inspect(source.as_ref(), &NoProgress), Err(Error::Damaged(_))));
    drop(source);
    let (salvaged, report) = salvage(&b, Replay::Committed, None, &NoProgress).unwrap();
    assert!(!report.is_complete && report.not_replayed_keys.count > 0, "{report:?}");
    assert_eq!(inspect(&salvaged, &NoProgress).unwrap().live_keys, 32);
}

/// etcd 3.6 ends with "file not found which matches the snapshot index '0'".
#[test]
fn a_log_without_its_first_segment_is_read_and_keeps_etcd_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    unpack("lost-quorum-etcd-3.6.tar.xz", dir.path());
    let member = dir.path().join("m1");
    let stops = |member: &Path| {
        let (source, _) = read(member, Bases::Own);
        source.notes().iter().filter(|kind| kind.stops_etcd()).cloned().collect::<Vec<_>>()
    };
    assert_eq!(stops(&member), []);
    let wal = member.join("member/wal");
    let name = |sequence: u64, index: u64| wal.join(format!("{sequence:016x}-{index:016x}.wal"));
    fs_err::rename(name(0, 0), name(3, 16)).unwrap();
    assert_eq!(stops(&member), [FindingKind::WalStartMissing { first: 16, snapshot: 0 }]);
}

/// etcd 3.5 and 3.6 panic: "failed to recover v3 backend from snapshot".
#[test]
fn a_missing_db_beside_a_raft_snapshot_keeps_etcd_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    unpack("learner-flag-etcd-3.5.tar.xz", dir.path());
    let member = dir.path().join("t-1");
    fs_err::remove_file(member.join("member/snap/db")).unwrap();
    let (source, _) = read(&member, Bases::Own);
    let stops: Vec<_> = source.notes().iter().filter(|kind| kind.stops_etcd()).collect();
    assert!(matches!(stops.as_slice(), [FindingKind::OnOtherBase { base: Base::Nothing, .. }]), "{stops:?}");
}
