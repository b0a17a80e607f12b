//! The demo: a cluster of three members with TLS loses all of them and is restored from a snapshot, without any of
//! etcd's own tools.
//!
//! Every step runs the command that an operator would run, and shows it. At the end, what the cluster serves is
//! compared with what it served before, key by key.

mod scenario;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use lifeboat_client::messages::{RangeRequest, TxnRequest};
use lifeboat_etcd::{NoProgress, Query};

use crate::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use crate::fixture;
use crate::peers::EtcdVersion;
use scenario::Scenario;
use verify::Keys;

const VERSION: EtcdVersion = EtcdVersion::V3_6;
const MEMBERS: usize = 3;
/// Below etcd's limit of 128 requests in a transaction.
const PER_TXN: usize = 100;

/// Runs the demo with this `lifeboat`.
pub fn run(lifeboat: &Path) -> Result<()> {
    let work = tempfile::tempdir().context("create a directory for the demo")?;
    let mut scenario = Scenario::new(lifeboat, work.path());

    let cluster = scenario.step("Start the etcd of a Kubernetes cluster: three members with TLS", || {
        let cluster =
            ClusterBuilder::new(VERSION).members(MEMBERS).tls().dir(work.path().join("etcd")).start()?;
        let objects = kubernetes_objects()?;
        put(&cluster, &objects)?;
        Ok((cluster, format!("{} objects of a real Kubernetes 1.34 cluster", objects.len())))
    })?;

    scenario.heading("Save a snapshot");
    let saved = verify::served(&cluster)?;
    scenario.lifeboat(0, &save_args(&cluster)?)?;

    let last = scenario.step("Change the cluster after the snapshot", || {
        change_some(&cluster, &saved)?;
        let last = verify::served(&cluster)?;
        let text = format!("the cluster is now at revision {}", last.revision);
        Ok((last, text))
    })?;

    scenario.step(
        "Kill all members (SIGKILL), delete the data dirs of m1 and m3, and damage the db of m2",
        || {
            let mut cluster = cluster;
            (0..MEMBERS).try_for_each(|member| cluster.kill(member))?;
            [0, 2].into_iter().try_for_each(|member| fs::remove_dir_all(cluster.data_dir(member)))?;
            fs::remove_dir_all(cluster.data_dir(1).join("member/wal"))?;
            damage(&cluster.data_dir(1).join("member/snap/db"))?;
            Ok(((), "no member answers, and no WAL is left".into()))
        },
    )?;

    scenario.heading("Check what is left");
    scenario.lifeboat(3, &["check", "etcd/m2/member/snap/db"].map(String::from))?;
    scenario.lifeboat(0, &["check", "backup.db"].map(String::from))?;
    scenario.lifeboat(0, &["inspect", "backup.db"].map(String::from))?;

    scenario.heading("Restore all members in one pass");
    let layout = ClusterLayout::with_tls(MEMBERS)?;
    let restore = ["restore", "backup.db", "--all-members", "restored", "--initial-cluster"];
    let mut restore: Vec<String> = restore.map(String::from).to_vec();
    restore.push(layout.initial_cluster());
    scenario.lifeboat(0, &restore)?;

    let dirs: Vec<PathBuf> =
        layout.members().iter().map(|member| work.path().join("restored").join(&member.name)).collect();
    let cluster = scenario.step("Start the members", || {
        let cluster =
            ClusterBuilder::new(VERSION).layout(layout).restored(dirs).env("ETCD_VERIFY", "all").start()?;
        Ok((cluster, "three healthy members".into()))
    })?;

    scenario.step("Compare the restored cluster with the saved one", || {
        let mut results = vec![verify::same_hash(&cluster)?];
        results.push(verify::all_keys(&cluster, &saved)?);
        results.push(verify::above(&cluster, &last)?);
        results.push(verify::old_watch_is_compacted(&cluster, &saved)?);
        Ok(((), results.join("\n")))
    })?;
    scenario.section("Changes lost since the snapshot", &verify::lost(&saved, &last));
    scenario.end();
    Ok(())
}

/// The live keys of the real snapshot.
fn kubernetes_objects() -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let source = lifeboat_etcd::open(&fixture::kubernetes_snapshot())?;
    let everything = Query { prefix: true, ..Query::default() };
    let (_, found) = lifeboat_etcd::get(source.as_ref(), &everything, &NoProgress)?;
    Ok(found.into_iter().map(|(key, found)| (key, found.value)).collect())
}

fn put(cluster: &Cluster, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let client = cluster.client(0)?;
    for part in pairs.chunks(PER_TXN) {
        cluster.block_on(client.txn(TxnRequest::put_all(part.to_vec()))).context("put")?;
    }
    Ok(())
}

/// Changes between two backups: keys created, changed and deleted.
fn change_some(cluster: &Cluster, saved: &Keys) -> Result<()> {
    let new =
        (1..=5).map(|n| (format!("/registry/configmaps/default/new-{n}").into_bytes(), b"new".to_vec()));
    let mut changes: Vec<_> = new.collect();
    let deployments = saved.with_prefix(b"/registry/deployments/");
    changes.extend(deployments.map(|key| (key.clone(), b"changed".to_vec())));
    put(cluster, &changes)?;
    let client = cluster.client(0)?;
    let deleted = lifeboat_client::messages::DeleteRangeRequest::prefix("/registry/pods/default/");
    cluster.block_on(client.delete_range(deleted)).context("delete")?;
    // A linearizable read: all earlier changes are applied.
    cluster.block_on(client.range(RangeRequest::key("/"))).context("read")?;
    Ok(())
}

fn save_args(cluster: &Cluster) -> Result<Vec<String>> {
    let tls = cluster.tls().context("TLS files")?;
    let file = |path: &Path| path.display().to_string();
    Ok(vec![
        "save".into(),
        cluster.client_endpoint(0).into(),
        "backup.db".into(),
        "--cacert".into(),
        file(&tls.ca),
        "--cert".into(),
        file(&tls.client.cert),
        "--key".into(),
        file(&tls.client.key),
    ])
}

/// Overwrites every 16th page, from the 4th on, with random bytes.
fn damage(db: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    const PAGE: u64 = 4096;
    let mut rng = fastrand::Rng::with_seed(1);
    let file = fs_err::OpenOptions::new().write(true).open(db)?;
    let pages = file.metadata()?.len() / PAGE;
    for page in (3..pages).step_by(16) {
        let mut noise = vec![0; PAGE as usize];
        rng.fill(&mut noise);
        file.file().write_all_at(&noise, page * PAGE)?;
    }
    Ok(())
}
