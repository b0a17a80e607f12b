//! Members of several, and what their logs together show to be committed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_client::{Client, ConnectOptions};
use serde_json::Value;

use crate::support::{eventually, lifeboat, lifeboat_json, lifeboat_ok, restore_all, text};

const LIMIT: Duration = Duration::from_secs(60);

fn put(cluster: &Cluster, member: usize, keys: impl IntoIterator<Item = String>) {
    let client = cluster.client(member).unwrap();
    for key in keys {
        cluster.block_on(client.put(key, "x", 0)).unwrap();
    }
}

fn leader(cluster: &Cluster) -> usize {
    eventually("a member leads", || {
        (0..cluster.size()).find(|member| {
            let status = cluster.client(*member).map(|client| cluster.block_on(client.status()));
            matches!(status, Ok(Ok(status)) if status.leader == status.header.member_id)
        })
    })
}

/// A leader that is cut off and has written on alone, and the members that went on without it.
struct CutOff {
    dir: tempfile::TempDir,
    /// Of the leader first.
    dirs: Vec<PathBuf>,
}

impl CutOff {
    fn new(version: EtcdVersion, go_on: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = ClusterBuilder::new(version).members(3).dir(dir.path().join("cluster"));
        let mut cluster = builder.unsafe_no_fsync().start().unwrap();
        put(&cluster, 0, (0..10).map(|i| format!("early{i}")));
        let cut_off = leader(&cluster);
        let others: Vec<usize> = (0..3).filter(|member| *member != cut_off).collect();
        let endpoint = cluster.client_endpoint(cut_off).to_owned();
        let options =
            ConnectOptions { command_timeout: Duration::from_millis(300), ..ConnectOptions::default() };
        let alone = cluster.block_on(Client::connect(&options, &endpoint)).unwrap();
        others.iter().for_each(|member| cluster.kill(*member).unwrap());
        for i in 0..2 {
            cluster.block_on(alone.put(format!("alone{i}"), "x", 0)).unwrap_err();
        }
        drop(alone);
        cluster.kill(cut_off).unwrap();
        if go_on {
            others.iter().for_each(|member| cluster.restart(*member).unwrap());
            cluster.wait_healthy(LIMIT).unwrap();
            put(&cluster, others[0], (0..5).map(|i| format!("late{i}")));
            others.iter().for_each(|member| cluster.kill(*member).unwrap());
        }
        let order = std::iter::once(cut_off).chain(others);
        let dirs = order.map(|member| cluster.data_dir(member).to_owned()).collect();
        Self { dir, dirs }
    }

    /// Keys of a restore from these sources, and its report.
    fn restored(&self, sources: &[usize], more: &[&str]) -> (Vec<String>, Value) {
        let to = tempfile::tempdir_in(self.dir.path()).unwrap();
        let layout = ClusterLayout::new(1).unwrap();
        let others = sources[1..].iter().map(|source| self.dirs[*source].to_str().unwrap());
        let more: Vec<&str> = others.chain(more.iter().copied()).collect();
        let (dirs, report) = restore_all(&self.dirs[sources[0]], &layout, &to.path().join("to"), &more);
        let db = dirs[0].join("member/snap/db");
        let keys = lifeboat_ok(["get", db.to_str().unwrap(), "--prefix", "", "--keys-only"]);
        (keys.lines().map(str::to_owned).collect(), report)
    }
}

fn count(keys: &[String], prefix: &str) -> usize {
    keys.iter().filter(|key| key.starts_with(prefix)).count()
}

/// What a leader wrote that was cut off is not taken for committed, whichever members are there to be read.
#[test]
fn writes_without_a_majority_are_dropped() {
    for version in [EtcdVersion::V3_4, EtcdVersion::V3_6] {
        lab::or_skip!(peers::etcd(version));
        let cluster = CutOff::new(version, true);
        for sources in [[0, 1, 2].as_slice(), &[0, 1], &[2, 0], &[1, 2]] {
            let (keys, report) = cluster.restored(sources, &[]);
            let found = ["early", "late", "alone"].map(|prefix| count(&keys, prefix));
            assert_eq!(found, [10, 5, 0], "{version}, {sources:?}");
            let comparison = &report["comparison"];
            assert_eq!(comparison["committed"][0]["voters"], 3, "{comparison:#}");
            assert_eq!(comparison["committed"][0]["read"], sources.len(), "{comparison:#}");
            for pair in comparison["pairs"].as_array().unwrap() {
                assert!(pair["history"] != "diverged", "{version}, {sources:?}: {pair:#}");
            }
        }
    }
}

/// A member of several alone cannot tell: what it does not know to be committed is listed by key, and taken in when
/// asked.
#[test]
fn uncommitted_entries_of_one_member_are_listed() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let cluster = CutOff::new(version, false);
    let path = cluster.dirs[0].to_str().unwrap();
    let (keys, report) = cluster.restored(&[0], &[]);
    assert_eq!((count(&keys, "early"), count(&keys, "alone")), (10, 0));
    let listed = |body: &Value| {
        let changes = body["uncommitted"]["changes"].as_array().unwrap();
        let key = |change: &Value| STANDARD.decode(change["key"].as_str().unwrap()).unwrap();
        changes.iter().map(key).collect::<Vec<_>>()
    };
    let both = [b"alone0".to_vec(), b"alone1".to_vec()];
    assert!(both.iter().all(|key| listed(&report).contains(key)), "{report:#}");
    let inspected = lifeboat_json(["inspect", path]);
    assert_eq!(listed(&inspected), listed(&report));
    assert_eq!(inspected["raft"]["countedBy"], "commit-index");
    let checked = lifeboat(["check", path]);
    let stdout = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(3), "{stdout}");
    for words in ["put \"alone0\"", "--uncommitted includes these entries", "--force-new-cluster drops them"]
    {
        assert!(stdout.contains(words), "no {words:?} in {stdout}");
    }
    let (keys, report) = cluster.restored(&[0], &["--uncommitted"]);
    assert_eq!((count(&keys, "alone"), &report["uncommitted"]), (2, &Value::Null));

    // Two copies of one member are one voice.
    let copy = cluster.dir.path().join("copy");
    copy_dir(Path::new(path), &copy).unwrap();
    let (keys, report) = cluster.restored(&[0], &[copy.to_str().unwrap()]);
    assert_eq!(count(&keys, "alone"), 0);
    assert_eq!(report["comparison"]["committed"], serde_json::json!([]));

    // With another member, raft's election decides: no later term overruled it.
    let (keys, report) = cluster.restored(&[1, 0], &[]);
    assert_eq!(count(&keys, "alone"), 2, "{report:#}");
    let committed = &report["comparison"]["committed"][0];
    assert!(committed["heldByMajority"].as_u64() < committed["last"].as_u64(), "{committed:#}");
}
