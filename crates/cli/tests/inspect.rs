//! `lifeboat inspect` reports offline what a member reports about itself; and a real Kubernetes snapshot, which
//! etcd's own offline tool cannot hash, is read and hashed as the etcd says that boots from it.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::fixture;
use lab::peers::{self, EtcdVersion};
use lifeboat_client::Client;
use lifeboat_client::messages::{AlarmType, RangeRequest};
use serde_json::{Value, json};
use support::{
    enable_auth, etcdctl_as_root, exhaust_quota, lifeboat_json, lifeboat_ok, login, revision, served, text,
};

fn inspect(source: &Path) -> Value {
    lifeboat_json(["inspect".as_ref(), source.as_os_str()])
}

/// A member with content in every bucket: leases, a learner, a removed member, a NOSPACE alarm,
/// users and roles that are enforced.
fn eventful(version: EtcdVersion) -> Cluster {
    let cluster = ClusterBuilder::new(version).flag(support::SMALL_QUOTA).unsafe_no_fsync().start().unwrap();
    let client = cluster.client(0).unwrap();
    cluster.block_on(async {
        for lease in 1..=3 {
            client.lease_grant(3600, 0x1234_5678_9abc_def0 + lease).await.unwrap();
        }
        for key in ["/registry/pods/default/web", "/registry/example.com/widgets/w", "app/config"] {
            client.put(key, "x", 0x1234_5678_9abc_def1).await.unwrap();
        }
        client.put("/registry/pods/default/db", "x", 0).await.unwrap();
        client.put("/registry/secrets/s", "k8s:enc:aescbc:v1:key1:xyz", 0).await.unwrap();
        let removed = client.member_add(vec!["http://127.0.0.1:1".into()], true).await.unwrap();
        client.member_remove(removed.member.id).await.unwrap();
        client
            .member_add(vec!["http://127.0.0.1:2".into(), "http://127.0.0.1:3".into()], true)
            .await
            .unwrap();
    });
    exhaust_quota(&cluster);
    enable_auth(&cluster);
    cluster
}

fn inspection_is_what_the_member_says(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let cluster = eventful(version);
    let root = login(&cluster, 0, "root").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let credentials = ["--user", "root", "--password", support::PASSWORD];
    lifeboat_ok(support::save_args(&cluster, 0, &path, &credentials));
    let inspected = inspect(&path);

    let status = cluster.block_on(root.status()).unwrap();
    assert_eq!(inspected["revision"], status.header.revision);
    assert_eq!(inspected["size"].as_i64().unwrap(), status.db_size + 32, "the db and its sha256");
    assert!(status.version.starts_with(&format!("{}.", inspected["writtenBy"].as_str().unwrap())));
    let storage_version = inspected["storageVersion"].as_str();
    assert_eq!(storage_version.unwrap_or_default(), status.storage_version);
    // All versions the members agree on are of the form x.y.0.
    assert_eq!(inspected["clusterVersion"], format!("{version}.0"));
    if version != EtcdVersion::V3_4 {
        assert_eq!(inspected["raftTerm"], status.raft_term);
        assert_eq!(
            etcdctl_as_root(&cluster, &["auth", "status"])["authRevision"],
            inspected["auth"]["revision"]
        );
    }
    assert_eq!(inspected["members"], members(&cluster, &root));
    assert_eq!(inspected["members"].as_array().unwrap().len(), 2);
    assert_eq!(inspected["membersRemoved"].as_array().unwrap().len(), 1);
    assert_eq!(inspected["alarms"], alarms(&cluster, &root));
    assert_eq!(inspected["alarms"][0]["alarm"], "NOSPACE");
    assert_eq!(inspected["auth"]["enabled"], true);
    assert_eq!(inspected["auth"]["users"], etcdctl_as_root(&cluster, &["user", "list"])["users"]);
    assert_eq!(inspected["auth"]["roles"], etcdctl_as_root(&cluster, &["role", "list"])["roles"]);
    let leases = etcdctl_as_root(&cluster, &["lease", "list"]);
    assert_eq!(inspected["leases"], leases["leases"].as_array().unwrap().len());
    assert_keys(&inspected, &cluster, &root);
    assert_eq!(inspected["integrity"], "verified");
    assert_eq!(inspected["undecodable"], json!([]));
}

/// The members as the RPC lists them, in the order and shape of `inspect`.
fn members(cluster: &Cluster, client: &Client) -> Value {
    let mut members = cluster.block_on(client.member_list(false)).unwrap().members;
    members.sort_by_key(|member| format!("{:x}", member.id));
    let shape = |member: lifeboat_client::messages::Member| {
        json!({
            "id": format!("{:x}", member.id),
            "name": member.name,
            "peerURLs": member.peer_urls,
            "clientURLs": member.client_urls,
            "isLearner": member.is_learner,
        })
    };
    members.into_iter().map(shape).collect()
}

fn alarms(cluster: &Cluster, client: &Client) -> Value {
    let alarms = cluster.block_on(client.alarms()).unwrap().alarms;
    let shape = |alarm: lifeboat_client::messages::AlarmMember| {
        let kind = format!("{:?}", AlarmType::try_from(alarm.alarm).unwrap()).to_uppercase();
        json!({ "memberId": format!("{:x}", alarm.member_id), "alarm": kind })
    };
    alarms.into_iter().map(shape).collect()
}

fn assert_keys(inspected: &Value, cluster: &Cluster, client: &Client) {
    let kvs = cluster.block_on(client.range(RangeRequest::all())).unwrap().kvs;
    assert_eq!(inspected["liveKeys"], kvs.len());
    assert_eq!(inspected["leasedKeys"], kvs.iter().filter(|kv| kv.lease != 0).count());
    assert_eq!(inspected["keysWithoutLease"], 0);
    assert_eq!(inspected["encryptedKeys"], json!({ "aescbc:v1:key1": 1 }));
    let prefixes = json!({
        "/registry/pods": 2, "/registry/example.com/widgets": 1, "/registry/secrets": 1, "app": 1, "big": 1,
    });
    assert_eq!(inspected["keysByPrefix"], prefixes);
}

#[test]
fn inspection_is_what_the_member_says_3_4() {
    inspection_is_what_the_member_says(EtcdVersion::V3_4);
}

#[test]
fn inspection_is_what_the_member_says_3_5() {
    inspection_is_what_the_member_says(EtcdVersion::V3_5);
}

#[test]
fn inspection_is_what_the_member_says_3_6() {
    inspection_is_what_the_member_says(EtcdVersion::V3_6);
}

#[test]
fn inspection_is_what_the_member_says_3_7() {
    inspection_is_what_the_member_says(EtcdVersion::V3_7);
}

/// The numbers written down when the snapshot was taken.
#[test]
fn a_kubernetes_snapshot_is_read() {
    let inspected = inspect(&fixture::kubernetes_snapshot());
    for (field, expected) in [
        ("kind", json!("snapshot")),
        ("integrity", json!("verified")),
        ("sizeInUse", json!(798_720)),
        ("revision", json!(496)),
        ("compactRevision", json!(-1)),
        ("liveKeys", json!(340)),
        ("leases", json!(10)),
        ("keysWithoutLease", json!(0)),
        ("storageVersion", json!("3.6.0")),
        ("clusterVersion", json!("3.6.0")),
        ("writtenBy", json!("3.6")),
        ("alarms", json!([])),
        ("encryptedKeys", json!({})),
        ("undecodable", json!([])),
    ] {
        assert_eq!(inspected[field], expected, "{field}");
    }
    let members = inspected["members"].as_array().unwrap();
    let urls: Vec<_> = members.iter().map(|member| &member["peerURLs"][0]).collect();
    let hosts = ["10.123.0.233", "10.123.0.231", "10.123.0.232"];
    assert_eq!(urls, hosts.map(|host| json!(format!("https://{host}:2380"))).iter().collect::<Vec<_>>());
    let by_prefix: BTreeMap<String, u64> = serde_json::from_value(inspected["keysByPrefix"].clone()).unwrap();
    assert_eq!(by_prefix.values().sum::<u64>(), 340);
    assert_eq!(by_prefix["/registry/minions"], 5, "3 control plane nodes and 2 workers");
}

/// Every Kubernetes snapshot holds leased keys, and `etcdutl hashkv` panics on those. An etcd that boots from
/// the snapshot says that our number is the right one.
#[test]
fn a_kubernetes_snapshot_is_hashed_where_etcdutl_panics() {
    let etcdutl = lab::or_skip!(peers::etcd(EtcdVersion::V3_6)).etcdutl.unwrap();
    let snapshot = fixture::kubernetes_snapshot();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    fs_err::copy(&snapshot, &copy).unwrap();
    let theirs = Command::new(&etcdutl).arg("hashkv").arg(copy).output().unwrap();
    assert!(!theirs.status.success());
    assert!(text(&theirs.stderr).contains("panic: no lessor"), "{}", text(&theirs.stderr));

    let layout = ClusterLayout::new(1).unwrap();
    let data_dir = dir.path().join("m1");
    let restored = Command::new(&etcdutl)
        .args(["snapshot", "restore", "--name=m1", "--initial-cluster", &layout.initial_cluster()])
        .args(["--initial-cluster-token", layout.token()])
        .args(["--initial-advertise-peer-urls", &layout.members()[0].peer_url])
        .arg("--data-dir")
        .args([&data_dir, &snapshot])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).layout(layout).restored([data_dir]).start().unwrap();
    let hashed = lifeboat_json(["hash".as_ref(), snapshot.as_os_str()]);
    assert_eq!(hashed["hashRevision"], revision(&cluster, 0));
    assert_eq!(hashed["hash"], support::server_hash(&cluster, 0, 0).0);
    assert_eq!(served(&cluster, 0).len(), 340);
}
