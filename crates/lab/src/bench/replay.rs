//! The data dir of a killed member whose log holds nearly all of what it was told: made once, kept in the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use fs_err as fs;

use super::measure::{Measured, measure, time_to_first_read};
use crate::cache;
use crate::cluster::ClusterBuilder;
use crate::copy_dir;
use crate::peers::EtcdVersion;

const SEED: u64 = 20_201_125;
const ENTRIES: usize = 300_000;
const KEYS: usize = 50_000;
const VALUE_BYTES: usize = 64;
const CLIENTS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);

pub(super) const OURS: &str = "lifeboat hash";
pub(super) const THEIRS: &str = "etcd --force-new-cluster, first read";

/// Lifeboat hashes the data dir, and etcd starts on a copy: both have applied the whole log then.
pub(super) fn run(version: EtcdVersion, lifeboat: &Path) -> Result<String> {
    let killed = data_dir(version)?;
    let work = tempfile::tempdir_in(killed.parent().context("folder of the killed member")?)?;
    let path = killed.to_str().context("path of the killed member")?;
    let table = super::rounds(|| {
        Ok(vec![
            (OURS, measure(lifeboat, &["hash", "--uncommitted", path])?),
            (THEIRS, time_etcd(version, &killed, &work.path().join("copy"))?),
        ])
    })?;
    let rate = ENTRIES as f64 / table.median(OURS).context("no rounds")?;
    let (data, table) = (describe(), table.markdown());
    Ok(format!(
        "\nData: {data}. {} rounds.\n\n{table}\nLifeboat replays {rate:.0} entries a second.\n",
        super::ROUNDS
    ))
}

fn describe() -> String {
    format!(
        "a killed member whose db lacks {ENTRIES} puts of {VALUE_BYTES} bytes to {KEYS} keys, seed {SEED}"
    )
}

/// The data dir's path; made if it is not there yet.
fn data_dir(version: EtcdVersion) -> Result<PathBuf> {
    let name = cache::digest(&[&describe(), &version.to_string()]);
    let dir = cache::install("bench", &name, |dir| {
        eprintln!("making the killed member's data dir (once)");
        let mut cluster = ClusterBuilder::new(version)
            .dir(dir)
            .unsafe_no_fsync()
            // Nothing but the first entries is committed to the db.
            .flag("--backend-batch-interval=1h")
            .flag("--backend-batch-limit=100000000")
            .flag("--snapshot-count=100000000")
            .start()?;
        let client = cluster.client(0)?.with_command_timeout(LIMIT);
        cluster.block_on(async {
            let puts = (0..CLIENTS).map(|sender| {
                let (client, mut rng) = (client.clone(), Rng::with_seed(SEED + sender as u64));
                tokio::spawn(async move {
                    for _ in (sender..ENTRIES).step_by(CLIENTS) {
                        let key = format!("/registry/pods/{:06}", rng.usize(0..KEYS));
                        let value: Vec<u8> = (0..VALUE_BYTES).map(|_| rng.u8(..)).collect();
                        client.put(key, value, 0).await?;
                    }
                    Ok::<_, lifeboat_client::Error>(())
                })
            });
            for sender in puts.collect::<Vec<_>>() {
                sender.await.context("join")?.context("put")?;
            }
            anyhow::Ok(())
        })?;
        cluster.kill(0)
    })?;
    Ok(dir.join("m1"))
}

/// What etcd needs to read the same: it starts on a copy, alone, and answers a read.
fn time_etcd(version: EtcdVersion, data_dir: &Path, copy: &Path) -> Result<Measured> {
    copy_dir(data_dir, copy)?;
    let measured = time_to_first_read(version, copy, &["--force-new-cluster"])?;
    fs::remove_dir_all(copy)?;
    Ok(measured)
}
