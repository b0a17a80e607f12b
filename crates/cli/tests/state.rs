//! What is not a key: leases, users and roles come through a restore and work; what belonged to the members of
//! the old cluster (their ids, learners, alarms) does not. Members verify themselves (`ETCD_VERIFY=all`).

mod support;

use std::path::{Path, PathBuf};

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{Member, RangeRequest};
use lifeboat_client::{Client, Code, ConnectOptions};
use serde_json::Value;
use support::{
    PASSWORD, enable_auth, etcdctl_as_root, eventually, exhaust_quota, lifeboat_json, lifeboat_ok, login,
    restore_all, save, save_args,
};

/// With two keys on it, and with none.
const LEASES: [(i64, i64); 2] = [(0x1234_5678_9abc_def1, 3600), (0x0000_0000_0bad_cafe, 7200)];

/// A snapshot of a cluster with state of every kind, and what was in it of the old members.
struct Saved {
    dir: tempfile::TempDir,
    members: Vec<Member>,
}

impl Saved {
    fn new(version: EtcdVersion) -> Self {
        let cluster =
            ClusterBuilder::new(version).flag(support::SMALL_QUOTA).unsafe_no_fsync().start().unwrap();
        let client = cluster.client(0).unwrap();
        let members = cluster.block_on(async {
            for (id, ttl) in LEASES {
                client.lease_grant(ttl, id).await.unwrap();
            }
            for (key, lease) in [("app/leased", LEASES[0].0), ("leased", LEASES[0].0), ("kept", 0)] {
                client.put(key, "value", lease).await.unwrap();
            }
            client.member_add(vec!["http://127.0.0.1:1".into()], true).await.unwrap().members
        });
        exhaust_quota(&cluster);
        enable_auth(&cluster);
        let saved = Self { dir: tempfile::tempdir().unwrap(), members };
        lifeboat_ok(save_args(&cluster, 0, &saved.path(), &["--user", "root", "--password", PASSWORD]));
        saved
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("backup.db")
    }
}

fn spawn(version: EtcdVersion, layout: ClusterLayout, dirs: Vec<PathBuf>) -> Cluster {
    ClusterBuilder::new(version).layout(layout).restored(dirs).env("ETCD_VERIFY", "all").spawn().unwrap()
}

fn state_survives_a_restore(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let saved = Saved::new(version);
    // There is something to lose.
    let inspected = lifeboat_json(["inspect".into(), saved.path()]);
    assert_eq!(inspected["alarms"][0]["alarm"], "NOSPACE");
    assert!(saved.members.iter().any(|member| member.is_learner));

    let layout = ClusterLayout::new(3).unwrap();
    let names: Vec<_> = layout.members().iter().map(|m| (m.name.clone(), vec![m.peer_url.clone()])).collect();
    let (dirs, report) = restore_all(&saved.path(), &layout, &saved.dir.path().join("restored"), &[]);
    let cluster = spawn(version, layout, dirs);
    let roots: Vec<_> = (0..3).map(|member| eventually("root logs in", || ready(&cluster, member))).collect();
    members_are_the_new_ones(&cluster, &roots, &report, &names, &saved.members);
    auth_is_enforced(&cluster);
    // Puts first: with a NOSPACE alarm they would be refused.
    assert_eq!(cluster.block_on(roots[0].alarms()).unwrap().alarms, []);
    cluster.block_on(roots[2].put("new", "value", 0)).unwrap();
    leases_hold_their_keys(&cluster, &roots[1]);
}

/// Root's connection to a member, once it can read.
fn ready(cluster: &Cluster, member: usize) -> Option<Client> {
    let root = login(cluster, member, "root").ok()?;
    cluster.block_on(root.range(RangeRequest::key("kept"))).ok()?;
    Some(root)
}

fn members_are_the_new_ones(
    cluster: &Cluster,
    roots: &[Client],
    report: &Value,
    names: &[(String, Vec<String>)],
    old: &[Member],
) {
    let mut list = cluster.block_on(roots[0].member_list(true)).unwrap().members;
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let listed: Vec<_> = list.iter().map(|member| (member.name.clone(), member.peer_urls.clone())).collect();
    assert_eq!(listed, names);
    assert!(list.iter().all(|member| !member.is_learner && old.iter().all(|old| old.id != member.id)));
    for ((root, member), reported) in roots.iter().zip(&list).zip(report["members"].as_array().unwrap()) {
        let header = cluster.block_on(root.status()).unwrap().header;
        assert_eq!(header.member_id, member.id);
        assert_eq!(reported["id"], format!("{:x}", member.id));
        assert_eq!(report["clusterId"], format!("{:x}", header.cluster_id));
    }
}

/// The same doors are open and closed as before, to the same passwords.
fn auth_is_enforced(cluster: &Cluster) {
    let value = |client: &Client, key: &str| {
        cluster.block_on(client.range(RangeRequest::key(key))).map(|response| response.kvs[0].value.clone())
    };
    let nobody = cluster.client(1).unwrap();
    let error = value(&nobody, "kept").unwrap_err();
    assert!(error.to_string().contains("user name is empty"), "{error}");
    let wrong = Some(("root".into(), "wrong".into()));
    let options = ConnectOptions { user: wrong, ..ConnectOptions::default() };
    let error = cluster.block_on(Client::connect(&options, cluster.client_endpoint(1))).unwrap_err();
    assert!(error.to_string().contains("invalid user ID or password"), "{error}");

    let app = login(cluster, 1, "app").unwrap();
    assert_eq!(value(&app, "app/leased").unwrap(), b"value");
    cluster.block_on(app.put("app/new", "value", 0)).unwrap();
    for error in [
        value(&app, "kept").unwrap_err(),
        cluster.block_on(app.put("kept", "overwritten", 0)).unwrap_err(),
        cluster.block_on(app.user_add("friend", "x")).unwrap_err(),
    ] {
        assert_eq!(error.code(), Some(Code::PermissionDenied), "{error}");
    }
}

fn leases_hold_their_keys(cluster: &Cluster, root: &Client) {
    let list = etcdctl_as_root(cluster, &["lease", "list"]);
    let mut ids: Vec<_> =
        list["leases"].as_array().unwrap().iter().map(|l| l["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [LEASES[1].0, LEASES[0].0]);
    for (id, ttl) in LEASES {
        let lease = etcdctl_as_root(cluster, &["lease", "timetolive", "--keys", &format!("{id:x}")]);
        assert_eq!(lease["granted-ttl"], ttl);
        assert!((1..=ttl).contains(&lease["ttl"].as_i64().unwrap()), "{lease}");
        let keys = lease["keys"].as_array().map_or(0, Vec::len);
        assert_eq!(keys, if id == LEASES[0].0 { 2 } else { 0 }, "{lease}");
    }
    // Their end is the end of their keys, and of no others.
    cluster.block_on(root.lease_revoke(LEASES[0].0)).unwrap();
    let left = cluster.block_on(root.range(RangeRequest::all())).unwrap().kvs;
    let left: Vec<_> = left.iter().map(|kv| kv.key.as_slice()).collect();
    assert_eq!(left, [&b"app/new"[..], b"big", b"kept", b"new"]);
}

#[test]
fn state_survives_a_restore_3_4() {
    state_survives_a_restore(EtcdVersion::V3_4);
}

#[test]
fn state_survives_a_restore_3_5() {
    state_survives_a_restore(EtcdVersion::V3_5);
}

#[test]
fn state_survives_a_restore_3_6() {
    state_survives_a_restore(EtcdVersion::V3_6);
}

#[test]
fn state_survives_a_restore_3_7() {
    state_survives_a_restore(EtcdVersion::V3_7);
}

/// Restores everything for the same names and URLs, but with a token of its own.
fn restore_with_token(source: &Path, layout: &ClusterLayout, token: &str, dir: &Path) -> Value {
    let dir = dir.display().to_string();
    let source = source.display().to_string();
    let cluster = layout.initial_cluster();
    let args = ["restore", &source, "--all-members", &dir, "--initial-cluster", &cluster];
    lifeboat_json(args.into_iter().chain(["--initial-cluster-token", token]))
}

/// A host that kept the data dir of an earlier attempt is recognized by its ids, though names and URLs are the
/// same: the others do not talk to it, and it does not vote.
#[test]
fn a_member_of_an_earlier_restore_cannot_join() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
    }
    for version in EtcdVersion::ALL {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("backup.db");
        let origin = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        origin.block_on(origin.client(0).unwrap().put("old", "value", 0)).unwrap();
        save(&origin, &source);
        drop(origin);
        let layout = ClusterLayout::new(3).unwrap();
        let [first, second] = ["first", "second"]
            .map(|token| restore_with_token(&source, &layout, token, &dir.path().join(token)));
        assert_ne!(first["clusterId"], second["clusterId"]);
        let ids = |report: &Value| {
            report["members"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect::<Vec<_>>()
        };
        assert!(ids(&first).iter().all(|id| !ids(&second).contains(id)));

        let dirs = ["second/m1", "second/m2", "first/m3"].map(|data_dir| dir.path().join(data_dir));
        let mut cluster = spawn(version, layout, dirs.to_vec());
        eventually("two of three make a quorum", || {
            cluster.block_on(cluster.client(0).ok()?.put("new", "value", 0)).ok()
        });
        eventually("the stale member is refused", || {
            let log = fs_err::read_to_string(cluster.log(2)).unwrap();
            log.contains("cluster ID mismatch").then_some(())
        });
        // Up to 3.5 it does not even answer clients, so look into what it has.
        cluster.kill(2).unwrap();
        let db = dirs[2].join("member/snap/db").display().to_string();
        assert_eq!(lifeboat_ok(["get", &db, "--prefix", "", "--keys-only"]).trim(), "old");
    }
}
