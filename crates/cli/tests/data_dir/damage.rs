//! Logs that a crash cut short or that rotted.

use fastrand::Rng;
use lab::cluster::{Cluster, ClusterBuilder};
use lab::copy_dir;
use lab::fill::{Kubernetes, kubernetes_like};
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{Error, FindingKind, HashKv, NoProgress, Replay, State, hash_kv, open, open_with};

use crate::peer::serve;
use crate::raft::segment;
use crate::support::{lifeboat, text};

/// A killed member whose db lacks nearly all that its log has.
pub fn killed(version: EtcdVersion) -> Cluster {
    let mut cluster = ClusterBuilder::new(version)
        .flag("--backend-batch-interval=1h")
        .flag("--backend-batch-limit=1000000")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    kubernetes_like(&cluster, 0, &Kubernetes { rounds: 10, ..Kubernetes::default() }).unwrap();
    cluster.kill(0).unwrap();
    cluster
}

/// Bytes of the records in a segment.
pub fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// The file ends in a record, or a sector of the last record was never written: etcd drops it and continues.
#[test]
fn a_torn_tail_is_dropped_as_etcd_drops_it() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let cluster = killed(version);
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::with_seed(7);
    let mut torn = 0;
    for round in 0..4 {
        let data_dir = dir.path().join(format!("{round}"));
        copy_dir(cluster.data_dir(0), &data_dir).unwrap();
        let path = segment(&data_dir);
        let mut bytes = fs_err::read(&path).unwrap();
        let end = used(&bytes);
        // Within the last records, so that a commit index is still written before them.
        let cut = end - rng.usize(1..40_000);
        if round % 2 == 0 {
            bytes.truncate(cut);
        } else {
            let sector = cut - cut % 512;
            bytes[sector..].fill(0);
        }
        fs_err::write(&path, &bytes).unwrap();
        let source = open(&data_dir).unwrap();
        match State::read(source.as_ref()) {
            Ok(_) => {
                serve(version, &data_dir, &[]).expect(source.as_ref(), &format!("cut at {cut}"));
                // Verbs that only read also report what is dropped.
                let is_torn = |kind: &FindingKind| matches!(kind, FindingKind::WalTorn { .. });
                let stderr = text(&lifeboat(["hash".as_ref(), data_dir.as_os_str()]).stderr);
                assert_eq!(stderr.contains("warning: "), source.notes().iter().any(is_torn), "{stderr}");
                torn += usize::from(stderr.contains("warning: "));
            }
            // Raft stops as well when the log ends before what is committed.
            Err(Error::Damaged(FindingKind::WalEntriesMissing { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(torn > 0);
}

pub fn whole_log(data_dir: &std::path::Path) -> Result<HashKv, Error> {
    hash_kv(open_with(data_dir, Replay::WholeLog, None)?.as_ref(), None, None, &NoProgress)
}

#[test]
fn missing_files_of_a_data_dir_are_named() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = killed(EtcdVersion::V3_6);
    let dir = tempfile::tempdir().unwrap();
    let without = |what: &str| {
        let data_dir = dir.path().join(what.replace('/', "-"));
        copy_dir(cluster.data_dir(0), &data_dir).unwrap();
        let path = data_dir.join("member").join(what);
        if path.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) }.unwrap();
        match open(&data_dir) {
            Err(Error::Damaged(kind)) => kind.id(),
            other => panic!("{:?}", other.map(|source| source.origin())),
        }
    };
    assert_eq!(without("wal"), "wal.missing");
    assert_eq!(without("wal/0000000000000000-0000000000000000.wal"), "wal.missing");
    // Leftovers of a repair are ignored.
    let repaired = dir.path().join("repaired");
    copy_dir(cluster.data_dir(0), &repaired).unwrap();
    fs_err::write(segment(&repaired).with_extension("wal.broken"), b"torn").unwrap();
    fs_err::write(repaired.join("member/wal/0.tmp"), b"").unwrap();
    assert!(whole_log(&repaired).is_ok());
}

/// The crc runs on from one segment to the next, and so does the reader; one that is missing is missed.
#[test]
fn a_log_of_several_segments_is_read_through() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let mut cluster = ClusterBuilder::new(version)
        .flag("--backend-batch-interval=1h")
        .flag("--backend-batch-limit=1000000")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    let client = cluster.client(0).unwrap();
    for i in 0..140 {
        cluster.block_on(client.put(format!("k{}", i % 9), vec![i; 1_000_000], 0)).unwrap();
    }
    cluster.kill(0).unwrap();
    let data_dir = cluster.data_dir(0);
    let mut segments: Vec<_> =
        fs_err::read_dir(data_dir.join("member/wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    segments.sort();
    assert_eq!(segments.len(), 3, "{segments:?}");
    let source = open(data_dir).unwrap();
    assert!(source.raft().unwrap().consistent_index < 20);
    serve(version, data_dir, &[]).expect(source.as_ref(), "segments");
    drop(source);

    fs_err::rename(&segments[1], dir_of(data_dir).join("elsewhere")).unwrap();
    let source = open(data_dir).unwrap();
    let error = State::read(source.as_ref()).unwrap_err();
    assert!(matches!(error, Error::Damaged(FindingKind::WalEntriesMissing { .. })), "{error:?}");
    let found = lifeboat_etcd::check(source.as_ref(), &NoProgress).unwrap().findings;
    assert!(found.contains(&FindingKind::WalSegmentMissing { sequence: 1 }.into()), "{found:?}");
}

fn dir_of(path: &std::path::Path) -> &std::path::Path {
    path.parent().unwrap()
}
