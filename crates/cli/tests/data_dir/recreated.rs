//! Keys that one revision deletes and puts again, in a store that is compacted at that very revision: releases of etcd
//! answer different hashes, and some lose the keys (etcd issue 22376).

use std::path::Path;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{HashKv, NoProgress, Replay, hash_kv, open_with};

use crate::peer::{answer, serve};
use crate::raft::Proto;
use crate::rpc::{Rpc, method};
use crate::support::{restore_all, revision, same_hash, served};

/// What surrounds the revision.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Whether other keys are alive, one of them made by the same transaction.
    another: bool,
    /// Whether there is a revision above.
    above: bool,
}

const CASES: [Case; 4] = [
    Case { another: true, above: false },
    Case { another: false, above: false },
    Case { another: true, above: true },
    Case { another: false, above: true },
];

/// A member whose compaction is accepted and does not come to its end.
fn start(version: EtcdVersion, dir: &Path) -> Cluster {
    let pause = match version {
        // Cannot be told to pause, but commits nothing of it for an hour.
        EtcdVersion::V3_4 => None,
        EtcdVersion::V3_5 => Some("--experimental-compaction"),
        EtcdVersion::V3_6 | EtcdVersion::V3_7 => Some("--compaction"),
    };
    let builder = ClusterBuilder::new(version).dir(dir).unsafe_no_fsync();
    let builder = builder.flag("--backend-batch-interval=1h").flag("--backend-batch-limit=1000000");
    let builder = pause.into_iter().fold(builder, |builder, pause| {
        builder.flag(format!("{pause}-batch-limit=1")).flag(format!("{pause}-sleep-interval=1h"))
    });
    builder.start().unwrap()
}

impl Case {
    /// Puts keys, deletes them and puts them again in one transaction, compacts at its revision.
    fn write(self, cluster: &Cluster) {
        let put = |key: &str, value: &str| Proto::default().bytes(1, key).bytes(2, value);
        let client = cluster.client(0).unwrap();
        let endpoint = cluster.client_endpoint(0);
        cluster.block_on(async {
            let mut rpc = Rpc::connect(endpoint, None).await;
            for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
                rpc.call(method(4), &put(key, value).0).await.unwrap();
            }
            if self.another {
                rpc.call(method(4), &put("0", "another").0).await.unwrap();
            }
            // A range without an end, which etcd does not see to meet the puts.
            let delete = Proto::default().bytes(1, "a").bytes(2, "\0");
            let mut txn = Proto::default()
                .bytes(2, Proto::default().bytes(3, delete))
                .bytes(2, Proto::default().bytes(2, put("a", "again")));
            if self.another {
                txn = txn.bytes(2, Proto::default().bytes(2, put("new", "new")));
            }
            rpc.call(method(6), &txn.0).await.unwrap();
        });
        let again = revision(cluster, 0);
        cluster.block_on(client.compact(again, false)).unwrap();
        if self.above {
            cluster.block_on(client.put("above", "1", 0)).unwrap();
        }
    }

    fn keys(self) -> Vec<&'static str> {
        let all = [("0", self.another), ("a", true), ("above", self.above), ("new", self.another)];
        all.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect()
    }
}

fn hash(data_dir: &Path) -> HashKv {
    let source = open_with(data_dir, Replay::WholeLog, None).unwrap();
    hash_kv(source.as_ref(), None, None, &NoProgress).unwrap()
}

fn hash_equals_the_servers(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    for case in CASES {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = start(version, dir.path());
        case.write(&cluster);
        cluster.kill(0).unwrap();
        let data_dir = cluster.data_dir(0).to_owned();
        let ours = hash(&data_dir);
        serve(version, &data_dir, &[]).expect_hash(&ours, &format!("etcd {version}, {case:?}"));
        // Releases differ, so this is a test at all.
        assert!(ours.older_hash.is_some(), "{case:?}: {ours:?}");
        restores_with_same_hash(version, case, &data_dir);
    }
}

/// A restore does not hand the compaction on, so what the source holds stays.
fn restores_with_same_hash(version: EtcdVersion, case: Case, data_dir: &Path) {
    for bump in ["0", "1000"] {
        let layout = ClusterLayout::new(1).unwrap();
        let target = tempfile::tempdir().unwrap();
        let more = ["--uncommitted", "--bump-revision", bump, "--etcd-version", &version.to_string()];
        let (dirs, report) = restore_all(data_dir, &layout, target.path(), &more);
        let builder = ClusterBuilder::new(version).layout(layout).restored(&dirs).unsafe_no_fsync();
        let cluster = builder.start().unwrap();
        let number = |name: &str| report[name].as_u64().map(|hash| u32::try_from(hash).unwrap());
        let hash = answer(version, number("hash").unwrap(), number("olderHash"));
        assert_eq!(same_hash(&cluster), hash, "etcd {version}, {case:?}, bump {bump}");
        let keys: Vec<_> = served(&cluster, 0).into_keys().collect();
        assert_eq!(keys, case.keys().iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>());
    }
}

#[test]
fn hash_equals_the_servers_3_4() {
    hash_equals_the_servers(EtcdVersion::V3_4);
}

#[test]
fn hash_equals_the_servers_3_5() {
    hash_equals_the_servers(EtcdVersion::V3_5);
}

#[test]
fn hash_equals_the_servers_3_6() {
    hash_equals_the_servers(EtcdVersion::V3_6);
}

#[test]
fn hash_equals_the_servers_3_7() {
    hash_equals_the_servers(EtcdVersion::V3_7);
}
