//! `lifeboat agent`: what a machine's copy of Lifeboat answers about the data dir of a member.

use std::path::Path;
use std::time::Duration;

use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use lifeboat_recovery::facts::{DataDir, LogState};

use crate::support::{lifeboat_json, lifeboat_ok};

fn start() -> Cluster {
    ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap()
}

fn answer(dir: &Path, more: &[&str]) -> Result<DataDir, String> {
    let arguments = [&["agent", "data-dir", dir.to_str().unwrap()], more].concat();
    serde_json::from_str(&lifeboat_ok(arguments)).unwrap()
}

fn data_dir(dir: &Path, more: &[&str]) -> DataDir {
    answer(dir, more).unwrap()
}

fn log(dir: &Path) -> Option<LogState> {
    serde_json::from_str(&lifeboat_ok(["agent", "log", dir.to_str().unwrap()])).unwrap()
}

#[test]
fn a_data_dir_is_answered_as_facts() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = start();
    let client = cluster.client(0).unwrap();
    for i in 0..20 {
        cluster.block_on(client.put(format!("key-{i}"), "value", 0)).unwrap();
    }
    let dir = cluster.data_dir(0).to_path_buf();
    // While etcd runs, only its log can be read.
    let DataDir::InUse(Some(held)) = data_dir(&dir, &[]) else { panic!("not in use") };
    assert_eq!(log(&dir).map(|log| log.last_index), Some(held.last_index));
    cluster.kill(0).unwrap();

    let inspected = lifeboat_json(["inspect", dir.to_str().unwrap()]);
    let DataDir::Sound(state) = data_dir(&dir, &["--wal-expected"]) else { panic!("not sound") };
    assert_eq!((state.revision, state.keys), (21, 20));
    let raft = &inspected["raft"];
    assert_eq!(raft["clusterId"], state.cluster_id);
    assert_eq!(raft["memberId"], state.member_id);
    assert_eq!((&raft["lastIndex"], &raft["lastTerm"]), (&state.last_index.into(), &state.last_term.into()));
    assert_eq!(raft["consistentIndex"], state.db_index.unwrap());
    assert_eq!((&held.cluster_id, &held.member_id), (&state.cluster_id, &state.member_id));

    // The log has all there is, and etcd does not start on this db.
    fs_err::write(dir.join("member/snap/db"), vec![0; 1 << 16]).unwrap();
    let DataDir::Damaged(damage) = data_dir(&dir, &[]) else { panic!("not damaged") };
    let readable = damage.readable.expect("readable from the log");
    assert_eq!(readable.state.revision, 21);
    assert!(readable.combination.unwrap().ends_with("from its first entry on"));
    assert_eq!(damage.log.unwrap().last_index, state.last_index);
}

#[test]
fn a_missing_log_is_damage_only_where_it_is_expected() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = start();
    let dir = cluster.data_dir(0).to_path_buf();
    // A member that was re-initialized and refused by its cluster never had a log.
    cluster.kill(0).unwrap();
    let (wal, aside) = (dir.join("member/wal"), dir.join("wal.aside"));
    fs_err::rename(&wal, &aside).unwrap();
    assert!(matches!(data_dir(&dir, &[]), DataDir::Damaged(damage) if damage.log.is_none()));
    fs_err::rename(&aside, &wal).unwrap();
    cluster.restart(0).unwrap();
    cluster.wait_healthy(Duration::from_secs(60)).unwrap();
    let client = cluster.client(0).unwrap();
    cluster.block_on(client.put("key", "value", 0)).unwrap();
    cluster.stop(0).unwrap();
    fs_err::rename(&wal, &aside).unwrap();
    let DataDir::Damaged(damage) = data_dir(&dir, &["--wal-expected"]) else { panic!("not damaged") };
    assert!(damage.why[0].starts_with("no write-ahead log in "), "{:?}", damage.why);
    let unknown = answer(&dir, &[]).expect_err("unknown");
    assert!(unknown.starts_with("no write-ahead log in ") && unknown.contains("set walDir"), "{unknown}");
    let elsewhere = data_dir(&dir, &["--wal-dir", aside.to_str().unwrap()]);
    assert!(matches!(elsewhere, DataDir::Sound(state) if state.keys == 1), "the log is elsewhere");
}
