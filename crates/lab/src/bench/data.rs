//! The benchmark's snapshot, made once through a real etcd and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use lifeboat_client::messages::TxnRequest;

use crate::cache;
use crate::cluster::ClusterBuilder;
use crate::peers::EtcdVersion;
use crate::process;

const SEED: u64 = 20_201_123;
const LIVE_KEYS: usize = 200_000;
/// Keys written twice: they add as many revisions.
const OVERWRITTEN: usize = 100_000;
const VALUE_BYTES: std::ops::Range<usize> = 2048..4096;
/// A request must stay below 1.5 MiB (etcd's `--max-request-bytes`).
const PER_TXN: usize = 100;
const LIMIT: Duration = Duration::from_secs(300);

pub(super) fn describe() -> String {
    let revisions = LIVE_KEYS + OVERWRITTEN;
    format!("{LIVE_KEYS} live keys, {revisions} revisions of {VALUE_BYTES:?} bytes, seed {SEED}")
}

/// The path of the snapshot, which is created if it does not exist.
pub(super) fn snapshot(version: EtcdVersion, lifeboat: &Path) -> Result<PathBuf> {
    let name = cache::digest(&[&describe(), &version.to_string()]);
    let dir = cache::install("bench", &name, |dir| {
        eprintln!("creating the benchmark's snapshot (once)");
        let cluster = ClusterBuilder::new(version)
            .unsafe_no_fsync()
            .flag("--quota-backend-bytes=8589934592")
            .flag("--snapshot-count=1000")
            .start()?;
        fill(&cluster)?;
        let save = ["save", cluster.client_endpoint(0)];
        process::run_ok(Command::new(lifeboat).args(save).arg(dir.join("snapshot.db")), LIMIT)?;
        Ok(())
    })?;
    Ok(dir.join("snapshot.db"))
}

/// Writes the keys that are overwritten later, then every key once, both in random order.
fn fill(cluster: &crate::cluster::Cluster) -> Result<()> {
    let mut rng = Rng::with_seed(SEED);
    let mut order: Vec<usize> = (0..LIVE_KEYS).collect();
    rng.shuffle(&mut order);
    let first: Vec<usize> = order.iter().copied().take(OVERWRITTEN).collect();
    rng.shuffle(&mut order);
    let client = cluster.client(0)?.with_command_timeout(LIMIT);
    for keys in [first, order] {
        for part in keys.chunks(PER_TXN) {
            let pairs: Vec<_> = part.iter().map(|key| (name(*key), value(&mut rng))).collect();
            let txn = TxnRequest::put_all(pairs);
            cluster.block_on(client.txn(txn)).context("put")?;
        }
    }
    Ok(())
}

fn name(key: usize) -> Vec<u8> {
    format!("/registry/pods/namespace-{:03}/workload-{key:06}", key % 500).into_bytes()
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let mut value = vec![0; rng.usize(VALUE_BYTES)];
    rng.fill(&mut value);
    value
}
