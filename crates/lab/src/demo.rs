//! The demo: a cluster of three members with TLS loses all of them, and comes back from a snapshot with
//! nothing of etcd's used to do it.
//!
//! Every step runs what a person would run and shows it; what the cluster serves in the end is compared
//! with what it served before, key by key.

mod checks;
mod story;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use lifeboat_client::messages::{RangeRequest, TxnRequest};
use lifeboat_etcd::{NoProgress, Query};

use crate::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use crate::fixture;
use crate::peers::EtcdVersion;
use checks::Keys;
use story::Story;

const VERSION: EtcdVersion = EtcdVersion::V3_6;
const MEMBERS: usize = 3;
/// Requests that etcd takes in one transaction at most.
const PER_TXN: usize = 100;

/// Tells the whole story with this `lifeboat`.
pub fn run(lifeboat: &Path) -> Result<()> {
    let work = tempfile::tempdir().context("make a folder for the demo")?;
    let mut story = Story::new(lifeboat, work.path());

    let cluster = story.step("A Kubernetes cluster's etcd: three members with TLS", || {
        let cluster =
            ClusterBuilder::new(VERSION).members(MEMBERS).tls().dir(work.path().join("etcd")).start()?;
        let objects = kubernetes_objects()?;
        put(&cluster, &objects)?;
        Ok((cluster, format!("{} objects of a real cluster, Kubernetes 1.34", objects.len())))
    })?;

    story.heading("Save a snapshot");
    let saved = checks::served(&cluster)?;
    story.lifeboat(0, &save_args(&cluster)?)?;

    let last = story.step("Life goes on after the snapshot", || {
        change_some(&cluster, &saved)?;
        let last = checks::served(&cluster)?;
        let told = format!("the cluster is at revision {} when disaster strikes", last.revision);
        Ok((last, told))
    })?;

    story.step(
        "All members are killed -9; the disks of m1 and m3 are lost, and of m2 a db with holes is left",
        || {
            let mut cluster = cluster;
            (0..MEMBERS).try_for_each(|member| cluster.kill(member))?;
            [0, 2].into_iter().try_for_each(|member| fs::remove_dir_all(cluster.data_dir(member)))?;
            fs::remove_dir_all(cluster.data_dir(1).join("member/wal"))?;
            damage(&cluster.data_dir(1).join("member/snap/db"))?;
            Ok(((), "no member is left that could be asked, and no log that could be read".into()))
        },
    )?;

    story.heading("What is left?");
    story.lifeboat(3, &["check", "etcd/m2/member/snap/db"].map(String::from))?;
    story.lifeboat(0, &["check", "backup.db"].map(String::from))?;
    story.lifeboat(0, &["inspect", "backup.db"].map(String::from))?;

    story.heading("Restore: all members in one read");
    let layout = ClusterLayout::with_tls(MEMBERS)?;
    let restore = ["restore", "backup.db", "--all-members", "restored", "--initial-cluster"];
    let mut restore: Vec<String> = restore.map(String::from).to_vec();
    restore.push(layout.initial_cluster());
    story.lifeboat(0, &restore)?;

    let dirs: Vec<PathBuf> =
        layout.members().iter().map(|member| work.path().join("restored").join(&member.name)).collect();
    let cluster = story.step("Start the members", || {
        let cluster =
            ClusterBuilder::new(VERSION).layout(layout).restored(dirs).env("ETCD_VERIFY", "all").start()?;
        Ok((cluster, "three healthy members".into()))
    })?;

    story.step("Is it the same cluster?", || {
        let mut told = vec![checks::same_hash(&cluster)?];
        told.push(checks::all_keys(&cluster, &saved)?);
        told.push(checks::above(&cluster, &last)?);
        told.push(checks::old_watch_is_compacted(&cluster, &saved)?);
        Ok(((), told.join("\n")))
    })?;
    story.told("Lost since the snapshot", &checks::lost(&saved, &last));
    story.end();
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

/// What happens in a cluster between two backups: something new, something changed, something deleted.
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
    // A read through the leader: everything before it is applied.
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

/// Overwrites every 16th page from the 4th on with noise.
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
