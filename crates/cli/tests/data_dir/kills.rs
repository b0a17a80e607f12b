//! Members that are killed while clients write: no acknowledged write is lost, and what is read is what
//! etcd reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::fill::{Kubernetes, Plain, kubernetes_like, plain};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{Compare, CompareResult, DeleteRangeRequest, PutRequest, TxnRequest};
use lifeboat_client::{Client, ConnectOptions};
use lifeboat_etcd::{NoProgress, Query, Source, State, get, open};

use crate::crafted::by_commit_index;
use crate::peer::serve;
use crate::support::{eventually, restore_all, same_hash, served};

/// Values acknowledged to clients.
pub type Acknowledged = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes until it fails, as Kubernetes would.
fn write(endpoint: &str, writer: u64, rounds: &AtomicU64) -> Acknowledged {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = ConnectOptions { command_timeout: Duration::from_secs(3), ..ConnectOptions::default() };
        // One that was just started again does not answer yet.
        let Ok(client) = Client::connect(&options, endpoint).await else { return Acknowledged::new() };
        let mut acknowledged = Acknowledged::new();
        for round in 0.. {
            if write_round(&client, writer, round, &mut acknowledged).await.is_err() {
                break;
            }
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    })
}

async fn write_round(
    client: &Client,
    writer: u64,
    round: i64,
    acknowledged: &mut Acknowledged,
) -> lifeboat_client::Result<()> {
    let value = format!("{round}").into_bytes();
    let key = |name: &str| format!("/acknowledged/{writer}/{name}").into_bytes();
    let lease = client.lease_grant(3600, 0).await?.id;
    client.put(key(&format!("leased{}", round % 7)), value.clone(), lease).await?;
    acknowledged.insert(key(&format!("leased{}", round % 7)), value.clone());
    // As kube-apiserver writes: only if the key has not changed.
    let absent = Compare::mod_revision(key(&format!("{round}")), CompareResult::Equal, 0);
    let put = PutRequest { key: key(&format!("{round}")), value: value.clone(), lease: 0 };
    let txn = TxnRequest { compare: vec![absent], success: vec![put.into()], failure: Vec::new() };
    let revision = client.txn(txn).await?.header.revision;
    acknowledged.insert(key(&format!("{round}")), value);
    if round % 5 == 4 {
        // The result of a failed write is unknown, so it is no longer expected.
        acknowledged.remove(&key(&format!("{}", round - 3)));
        client.delete_range(DeleteRangeRequest::key(key(&format!("{}", round - 3)))).await?;
    }
    if round % 20 == 19 {
        // Another writer may have compacted higher.
        let _ = client.compact(revision - 30, false).await;
    }
    if round % 11 == 10 {
        for name in 0..7 {
            acknowledged.remove(&key(&format!("leased{name}")));
        }
        client.lease_revoke(lease).await?;
    }
    Ok(())
}

/// Lets writers write to every member for a while and then kills them all.
pub fn kill_while_writing(cluster: &mut Cluster, milliseconds: u64) -> Acknowledged {
    let endpoints = cluster.client_endpoints();
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..)
            .zip(&endpoints)
            .map(|(writer, endpoint)| {
                let rounds = &rounds;
                scope.spawn(move || write(endpoint, writer, rounds))
            })
            .collect();
        // Not by a panic when none is: the writers end with the cluster only.
        let began = Instant::now();
        while rounds.load(Ordering::Relaxed) == 0 && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        (0..endpoints.len()).for_each(|member| cluster.kill(member).unwrap());
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    })
}

pub fn expect_held(acknowledged: &Acknowledged, found: &BTreeMap<Vec<u8>, Vec<u8>>, what: &str) {
    let round = |value: &Vec<u8>| std::str::from_utf8(value).unwrap().parse::<i64>().unwrap();
    for (key, value) in acknowledged {
        // A later one may have been stored without an acknowledgement.
        let held = found.get(key).is_some_and(|found| round(found) >= round(value));
        assert!(held, "{what}: {} was {value:?}, is {:?}", key.escape_ascii(), found.get(key));
    }
}

fn values(source: &dyn Source) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let query = Query { key: b"/acknowledged/".to_vec(), prefix: true, ..Query::default() };
    let (_, found) = get(source, &query, &NoProgress).unwrap();
    found.into_iter().map(|(key, found)| (key, found.value)).collect()
}

/// One member: with the db nearly up to the log, and with one that lacks nearly all of it.
fn a_killed_member_is_read_as_etcd_reads_it(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    for (interval, milliseconds) in [("100ms", 300), ("1h", 250), ("20ms", 150)] {
        let mut cluster = ClusterBuilder::new(version)
            .flag(format!("--backend-batch-interval={interval}"))
            .flag("--backend-batch-limit=1000000")
            .unsafe_no_fsync()
            .start()
            .unwrap();
        plain(&cluster, 0, &Plain { operations: 200, ..Plain::default() }).unwrap();
        kubernetes_like(&cluster, 0, &Kubernetes { rounds: 3, ..Kubernetes::default() }).unwrap();
        let acknowledged = kill_while_writing(&mut cluster, milliseconds);
        assert!(!acknowledged.is_empty());

        let dir = cluster.data_dir(0);
        let what = format!("{version}, {interval}");
        let committed = by_commit_index(dir);
        serve(version, dir, &["--force-new-cluster"]).expect(committed.as_ref(), &what);
        drop(committed);
        let whole = open(dir).unwrap();
        expect_held(&acknowledged, &values(whole.as_ref()), &what);
        serve(version, dir, &[]).expect(whole.as_ref(), &format!("{what}, whole log"));
    }
}

#[test]
fn a_killed_member_is_read_as_etcd_reads_it_3_4() {
    a_killed_member_is_read_as_etcd_reads_it(EtcdVersion::V3_4);
}

#[test]
fn a_killed_member_is_read_as_etcd_reads_it_3_5() {
    a_killed_member_is_read_as_etcd_reads_it(EtcdVersion::V3_5);
}

#[test]
fn a_killed_member_is_read_as_etcd_reads_it_3_6() {
    a_killed_member_is_read_as_etcd_reads_it(EtcdVersion::V3_6);
}

#[test]
fn a_killed_member_is_read_as_etcd_reads_it_3_7() {
    a_killed_member_is_read_as_etcd_reads_it(EtcdVersion::V3_7);
}

/// Three members die at once, as when a host loses its power. Every one of them is read as etcd reads it, and a
/// new cluster made of the freshest one's whole log has all acknowledged writes.
#[test]
fn a_cluster_killed_at_once_comes_back_with_every_acknowledged_write() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let mut cluster = ClusterBuilder::new(version)
        .members(3)
        .flag("--snapshot-count=50")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    let first = cluster.client(0).unwrap();
    // A young cluster answers that it is not healthy enough yet.
    let members = eventually("a learner is added", || {
        let added = cluster.block_on(first.member_add(vec!["http://127.0.0.1:1".into()], true));
        Some(added.ok()?.members.len())
    });
    let acknowledged = kill_while_writing(&mut cluster, 700);
    assert!(!acknowledged.is_empty());

    let dirs: Vec<_> = (0..3).map(|member| cluster.data_dir(member).to_owned()).collect();
    for (member, dir) in dirs.iter().enumerate() {
        let source = open(dir).unwrap();
        assert_eq!(State::read(source.as_ref()).unwrap().members.len(), members, "member {member}");
        serve(version, dir, &["--force-new-cluster"]).expect(source.as_ref(), &format!("member {member}"));
    }

    let layout = ClusterLayout::new(3).unwrap();
    let target = tempfile::tempdir().unwrap();
    // With the logs of all members there is nothing to be asked for.
    let others = [dirs[1].to_str().unwrap(), dirs[2].to_str().unwrap()];
    let (restored, report) = restore_all(&dirs[0], &layout, target.path(), &others);
    assert_eq!(report["uncommittedEntries"], 0);
    let new =
        ClusterBuilder::new(version).layout(layout).restored(restored).unsafe_no_fsync().start().unwrap();
    same_hash(&new);
    expect_held(&acknowledged, &served(&new, 2), "restored");
}
