//! Facts about real etcd members: healthy, without a quorum, with alarms, of different clusters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{AlarmMember, AlarmType};
use lifeboat_recovery::facts::MemberFacts;
use lifeboat_recovery::inventory::{ClientTls, Inventory};
use lifeboat_recovery::probe::{self, Access};

/// An inventory with only the cluster's members.
fn inventory(cluster: &Cluster) -> Inventory {
    let members = cluster.layout().members().iter().map(|member| {
        let spec = serde_json::json!({
            "host": "here", "clientUrl": member.client_url, "peerUrl": member.peer_url,
            "dataDir": "/var/lib/etcd", "service": { "unit": "etcd.service" },
        });
        (member.name.clone(), spec)
    });
    let json = serde_json::json!({
        "version": 1,
        "cluster": "lab",
        "hosts": { "here": { "address": "127.0.0.1", "ssh": "local" } },
        "etcd": { "members": members.collect::<serde_json::Map<_, _>>() },
        "kubernetes": { "kubeconfig": "/dev/null", "controlPlane": {} },
    });
    let mut inventory: Inventory = serde_json::from_value(json).unwrap();
    inventory.etcd.tls = cluster.tls().map(|tls| ClientTls {
        ca: tls.ca.clone(),
        cert: tls.client.cert.clone(),
        key: tls.client.key.clone(),
    });
    inventory
}

fn ask(cluster: &Cluster, inventory: &Inventory) -> BTreeMap<String, MemberFacts> {
    let access = Access::new(inventory, BTreeMap::new());
    cluster.block_on(probe::etcd::members(inventory, &access))
}

fn put(cluster: &Cluster, i: usize, keys: std::ops::Range<u32>) {
    let client = cluster.client(i).unwrap();
    for key in keys {
        cluster.block_on(client.put(format!("key-{key}"), "value", 0)).unwrap();
    }
}

/// All facts are known, and agree, while a client writes.
fn healthy(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let cluster = ClusterBuilder::new(version).members(3).tls().unsafe_no_fsync().start().unwrap();
    put(&cluster, 0, 0..20);
    let stop = AtomicBool::new(false);
    let facts = std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..10_000 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                put(&cluster, 1, round..round + 1);
            }
        });
        let facts = ask(&cluster, &inventory(&cluster));
        stop.store(true, Ordering::Relaxed);
        facts
    });
    let etcdctl = cluster.etcdctl_ok(0, ["member", "list"]).unwrap();
    let first = facts["m1"].hash_kv.get().unwrap();
    for (name, member) in &facts {
        let status = member.status.get().unwrap();
        assert!(status.version.starts_with(&version.to_string()), "{status:?}");
        // `8e9e05c52164694d, started, m1, ...`
        assert!(etcdctl.contains(&format!("{}, started, {name}", status.member_id)), "{etcdctl}\n{status:?}");
        let list = member.member_list.get().unwrap();
        assert_eq!(list.len(), 3, "{list:?}");
        let itself = list.iter().find(|entry| entry.id == status.member_id).unwrap();
        assert!(itself.name == *name && !itself.learner && itself.peer_urls.len() == 1, "{itself:?}");
        let leader = status.leader.as_ref().unwrap();
        assert!(list.iter().any(|entry| entry.id == *leader), "{status:?} {list:?}");
        assert_eq!(status.cluster_id, facts["m1"].status.get().unwrap().cluster_id);
        assert_eq!(member.linearizable.get(), Some(&true));
        assert_eq!(member.alarms.get().map(Vec::len), Some(0));
        assert!(first.revision > 20 && first.revision <= status.revision, "{first:?} {status:?}");
        assert_eq!(member.hash_kv.get().unwrap(), first);
        assert!(member.data_dir.why_unknown().unwrap().contains("runs"), "{:?}", member.data_dir);
    }
}

#[test]
fn healthy_etcd_3_4() {
    healthy(EtcdVersion::V3_4);
}

#[test]
fn healthy_etcd_3_5() {
    healthy(EtcdVersion::V3_5);
}

#[test]
fn healthy_etcd_3_6() {
    healthy(EtcdVersion::V3_6);
}

#[test]
fn healthy_etcd_3_7() {
    healthy(EtcdVersion::V3_7);
}

/// Before a member is stopped, its flags are checked so: etcd parses all of them, and ends.
#[test]
fn etcd_names_an_unknown_flag_before_it_prints_its_version() {
    for version in [EtcdVersion::V3_4, EtcdVersion::V3_5, EtcdVersion::V3_6, EtcdVersion::V3_7] {
        let etcd = lab::or_skip!(peers::etcd(version)).etcd;
        let said = |flags: &[&str]| {
            let output = std::process::Command::new(&etcd).arg("--version").args(flags).output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        let unknown = said(&["--name=m1", "--snapshots-count=9"]);
        assert!(
            unknown.starts_with("flag provided but not defined: -snapshots-count"),
            "{version:?}: {unknown}"
        );
        assert!(said(&["--name=m1", "--data-dir=/not/there"]).starts_with("etcd Version: "), "{version:?}");
    }
}

#[test]
fn a_member_without_a_quorum_still_answers() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster =
        ClusterBuilder::new(EtcdVersion::V3_6).members(3).tls().unsafe_no_fsync().start().unwrap();
    put(&cluster, 0, 0..20);
    let before = ask(&cluster, &inventory(&cluster));
    cluster.kill(1).unwrap();
    cluster.kill(2).unwrap();
    let facts = ask(&cluster, &inventory(&cluster));

    let left = &facts["m1"];
    assert_eq!(left.linearizable.get(), Some(&false), "{left:?}");
    assert_eq!(left.status.get().unwrap().revision, before["m1"].status.get().unwrap().revision);
    assert_eq!(left.member_list.get(), before["m1"].member_list.get());
    assert_eq!(left.hash_kv.get(), before["m1"].hash_kv.get());
    assert!(left.alarms.why_unknown().unwrap().contains("quorum"), "{:?}", left.alarms);
    for name in ["m2", "m3"] {
        let dead = &facts[name];
        for why in
            [dead.status.why_unknown(), dead.member_list.why_unknown(), dead.linearizable.why_unknown()]
        {
            assert!(why.unwrap().contains("refused"), "{dead:?}");
        }
        assert!(dead.hash_kv.get().is_none() && dead.alarms.get().is_none(), "{dead:?}");
    }
}

#[test]
fn alarms_are_reported_with_their_member() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).unsafe_no_fsync().start().unwrap();
    let client = cluster.client(2).unwrap();
    let member_id = cluster.block_on(client.status()).unwrap().header.member_id;
    let nospace = AlarmMember { member_id, alarm: AlarmType::Nospace.into() };
    cluster.block_on(client.activate(nospace)).unwrap();
    for member in ask(&cluster, &inventory(&cluster)).values() {
        let [alarm] = member.alarms.get().unwrap().as_slice() else { panic!("{:?}", member.alarms) };
        assert_eq!((alarm.kind.as_str(), alarm.member_id.as_str()), ("NOSPACE", &*format!("{member_id:x}")));
        // Reads still work.
        assert_eq!(member.linearizable.get(), Some(&true));
    }
}

#[test]
fn a_foreign_member_does_not_affect_the_others() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).unsafe_no_fsync().start().unwrap();
    let other = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    put(&cluster, 0, 0..20);
    let mut inventory = inventory(&cluster);
    inventory.etcd.members.get_mut("m3").unwrap().client_url = other.client_endpoint(0).into();
    let facts = ask(&cluster, &inventory);
    let cluster_id = |name: &str| facts[name].status.get().unwrap().cluster_id.clone();
    assert_eq!(cluster_id("m1"), cluster_id("m2"));
    assert_ne!(cluster_id("m1"), cluster_id("m3"));
    // At a revision that both have, not at that of the foreign member, which may be compacted here.
    let hash = facts["m1"].hash_kv.get().unwrap();
    assert!(hash.revision > 20, "{hash:?}");
    assert_eq!(facts["m2"].hash_kv.get(), Some(hash));
    assert_eq!(facts["m3"].hash_kv.get().unwrap().revision, 1);
}

#[test]
fn a_mismatched_certificate_or_key_is_named() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).tls().start().unwrap();
    let other = ClusterBuilder::new(EtcdVersion::V3_6).tls().start().unwrap();
    let mut inventory = inventory(&cluster);
    let tls = inventory.etcd.tls.as_mut().unwrap();
    tls.ca = other.tls().unwrap().ca.clone();
    let facts = ask(&cluster, &inventory);
    let why = facts["m1"].status.why_unknown().unwrap();
    assert!(why.contains("signed by an unknown authority"), "{why}");

    inventory.etcd.tls.as_mut().unwrap().key = "/no/such/key".into();
    let facts = ask(&cluster, &inventory);
    let why = facts["m1"].status.why_unknown().unwrap();
    assert!(why.contains("/no/such/key"), "{why}");
}
