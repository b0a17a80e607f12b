//! Clusters of every release start, serve, survive a kill -9 and restart.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::fill::{self, Kubernetes, Plain};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::RangeRequest;

const LIMIT: Duration = Duration::from_secs(60);

fn get(cluster: &Cluster, i: usize, key: &str) -> Vec<u8> {
    let client = cluster.client(i).unwrap();
    let response = cluster.block_on(client.range(RangeRequest::key(key))).unwrap();
    response.kvs.into_iter().next().map(|kv| kv.value).unwrap_or_default()
}

fn everything(cluster: &Cluster, i: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let client = cluster.client(i).unwrap();
    let response = cluster.block_on(client.range(RangeRequest::all())).unwrap();
    response.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

fn one_member(version: EtcdVersion) {
    let etcd = lab::or_skip!(peers::etcd(version));
    let mut cluster = ClusterBuilder::new(version).env("ETCD_VERIFY", "all").start().unwrap();
    let client = cluster.client(0).unwrap();
    let status = cluster.block_on(client.status()).unwrap();
    assert!(status.version.starts_with(&version.to_string()), "{}", status.version);

    cluster.block_on(client.put("from-client", "1", 0)).unwrap();
    cluster.etcdctl_ok(0, ["put", "from-etcdctl", "2"]).unwrap();
    assert_eq!(cluster.etcdctl_ok(0, ["get", "--print-value-only", "from-client"]).unwrap(), "1\n");
    assert_eq!(get(&cluster, 0, "from-etcdctl"), b"2");
    assert_eq!(etcd.etcdutl.is_some(), version >= EtcdVersion::V3_5);

    cluster.kill(0).unwrap();
    assert!(cluster.client(0).is_err());
    cluster.restart(0).unwrap();
    cluster.wait_healthy(LIMIT).unwrap();
    assert_eq!(get(&cluster, 0, "from-client"), b"1");
    cluster.stop(0).unwrap();
    assert!(cluster.data_dir(0).join("member/snap/db").is_file());
}

#[test]
fn etcd_3_4() {
    one_member(EtcdVersion::V3_4);
}

#[test]
fn etcd_3_5() {
    one_member(EtcdVersion::V3_5);
}

#[test]
fn etcd_3_6() {
    one_member(EtcdVersion::V3_6);
}

#[test]
fn etcd_3_7() {
    one_member(EtcdVersion::V3_7);
}

#[test]
fn three_members_with_tls_survive_the_loss_of_one() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).tls().start().unwrap();
    cluster.etcdctl_ok(0, ["put", "before", "1"]).unwrap();
    cluster.kill(1).unwrap();
    cluster.wait_healthy(LIMIT).unwrap();
    let client = cluster.client(2).unwrap();
    cluster.block_on(client.put("during", "2", 0)).unwrap();
    cluster.restart(1).unwrap();
    cluster.wait_healthy(LIMIT).unwrap();
    assert_eq!(get(&cluster, 1, "before"), b"1");
    assert_eq!(get(&cluster, 1, "during"), b"2");
}

#[test]
fn a_cluster_starts_from_data_dirs_restored_for_its_layout() {
    let etcd = lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("snapshot.db");
    let old = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    let mut model = fill::plain(&old, 0, &Plain { operations: 200, ..Plain::default() }).unwrap();
    old.etcdctl_ok(0, ["snapshot", "save", snapshot.to_str().unwrap()]).unwrap();

    let layout = ClusterLayout::new(3).unwrap();
    let data_dirs: Vec<_> = layout.members().iter().map(|member| dir.path().join(&member.name)).collect();
    for (member, data_dir) in layout.members().iter().zip(&data_dirs) {
        let status = std::process::Command::new(etcd.etcdutl.as_ref().unwrap())
            .args(["snapshot", "restore"])
            .arg(&snapshot)
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--name", &member.name, "--initial-advertise-peer-urls", &member.peer_url])
            .args(["--initial-cluster", &layout.initial_cluster()])
            .args(["--initial-cluster-token", layout.token()])
            .output()
            .unwrap()
            .status;
        assert!(status.success());
    }
    let new = ClusterBuilder::new(EtcdVersion::V3_6).layout(layout).restored(data_dirs).start().unwrap();
    assert_eq!(everything(&new, 2), model.live);
    fill::extend(&new, 1, &mut model, Plain { seed: 2, operations: 50, ..Plain::default() }.ops()).unwrap();
    assert_eq!(everything(&new, 0), model.live);
}

#[test]
fn workloads_write_what_their_models_hold() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    let plain = fill::plain(&cluster, 0, &Plain::default()).unwrap();
    assert_eq!(everything(&cluster, 0), plain.live);
    assert_eq!(plain.at(plain.revision), plain.live);

    let half = plain.revision / 2;
    let client = cluster.client(0).unwrap();
    let then =
        cluster.block_on(client.range(RangeRequest { revision: half, ..RangeRequest::all() })).unwrap();
    let then: BTreeMap<_, _> = then.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    assert_eq!(plain.at(half), then);

    let kubernetes = fill::kubernetes_like(&cluster, 0, &Kubernetes::default()).unwrap();
    let mut both = plain.live;
    both.extend(kubernetes.live);
    assert_eq!(everything(&cluster, 0), both);
}

#[test]
fn a_failed_start_shows_the_log() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let error = ClusterBuilder::new(EtcdVersion::V3_6).flag("--election-timeout=10").start().unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("m1 exited") && message.contains("election-timeout[10ms]"), "{message}");
}

#[test]
fn a_port_in_use_is_recognized() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let first = ClusterBuilder::new(EtcdVersion::V3_6).start().unwrap();
    let taken = format!("--listen-peer-urls={}", first.layout().members()[0].peer_url);
    let error = ClusterBuilder::new(EtcdVersion::V3_6).flag(taken).start().unwrap_err();
    // `start` looks for these words to choose other ports.
    assert!(format!("{error:#}").contains("address already in use"), "{error:#}");
}
