//! The data dirs of killed members, whose logs have what their dbs lack. Made once and kept in the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use fs_err as fs;

use super::data;
use super::measure::{Measured, measure, time_to_first_read};
use crate::cache;
use crate::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use crate::copy_dir;
use crate::peers::EtcdVersion;

const SEED: u64 = 20_201_125;
const KEYS: usize = 50_000;
const CLIENTS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);

pub(super) const THEIRS: &str = "etcd --force-new-cluster, first read";

/// A member killed before its log was committed to its db, and the command that is measured on it.
pub(super) struct Killed {
    /// The name of Lifeboat's row.
    pub(super) ours: &'static str,
    /// The verb, with its flags.
    verb: &'static [&'static str],
    /// Whether its db has the benchmark's snapshot, or nothing.
    on_snapshot: bool,
    entries: usize,
    value_bytes: usize,
}

/// A log with almost no db: how fast the log is replayed.
pub(super) const LOG: Killed = Killed {
    ours: "lifeboat hash",
    verb: &["hash", "--uncommitted"],
    on_snapshot: false,
    entries: 300_000,
    value_bytes: 64,
};

/// A large db, and a log as long as etcd 3.5 keeps before it takes a snapshot: how fast the member is inspected.
pub(super) const DATA_DIR: Killed = Killed {
    ours: "lifeboat inspect",
    verb: &["inspect"],
    on_snapshot: true,
    entries: 100_000,
    value_bytes: 1024,
};

impl Killed {
    /// Lifeboat reads the data dir, and etcd starts on a copy: both apply the log.
    pub(super) fn run(&self, version: EtcdVersion, lifeboat: &Path) -> Result<String> {
        let killed = self.data_dir(version, lifeboat)?;
        let work = tempfile::tempdir_in(killed.parent().context("directory of the killed member")?)?;
        let args = [self.verb, &[killed.to_str().context("path of the killed member")?]].concat();
        let table = super::rounds(|| {
            Ok(vec![
                (self.ours, measure(lifeboat, &args)?),
                (THEIRS, time_etcd(version, &killed, &work.path().join("copy"))?),
            ])
        })?;
        let seconds = table.median(self.ours).context("no rounds")?;
        let rate = if self.on_snapshot {
            String::new()
        } else {
            format!("\nLifeboat replays {:.0} entries a second.\n", self.entries as f64 / seconds)
        };
        let (data, rounds, table) = (self.describe(), super::ROUNDS, table.markdown());
        Ok(format!("\nData: {data}. {rounds} rounds.\n\n{table}{rate}"))
    }

    fn describe(&self) -> String {
        let Self { entries, value_bytes, .. } = self;
        let db = if self.on_snapshot { format!(" of {}", data::describe()) } else { String::new() };
        format!(
            "a killed member whose db{db} lacks {entries} puts of {value_bytes} bytes to {KEYS} keys, seed {SEED}"
        )
    }

    /// The path of the data dir, which is created if it does not exist.
    fn data_dir(&self, version: EtcdVersion, lifeboat: &Path) -> Result<PathBuf> {
        let name = cache::digest(&[&self.describe(), &version.to_string()]);
        let dir = cache::install("bench", &name, |dir| {
            eprintln!("creating the killed member's data dir (once)");
            let builder = ClusterBuilder::new(version);
            let builder = if self.on_snapshot {
                let snapshot = data::snapshot(version, lifeboat)?;
                super::restore(lifeboat, &snapshot, super::ONE, dir, &["--keep-history"])?;
                builder.layout(ClusterLayout::new(1)?).restored([dir.join("m1")])
            } else {
                builder.dir(dir)
            };
            let mut cluster = builder
                .unsafe_no_fsync()
                // Only the first entries are committed to the db.
                .flag("--backend-batch-interval=1h")
                .flag("--backend-batch-limit=100000000")
                .flag("--snapshot-count=100000000")
                .flag("--quota-backend-bytes=8589934592")
                .start()?;
            self.fill(&cluster)?;
            cluster.kill(0)
        })?;
        Ok(dir.join("m1"))
    }

    fn fill(&self, cluster: &Cluster) -> Result<()> {
        let client = cluster.client(0)?.with_command_timeout(LIMIT);
        let &Self { entries, value_bytes, .. } = self;
        cluster.block_on(async {
            let puts = (0..CLIENTS).map(|sender| {
                let (client, mut rng) = (client.clone(), Rng::with_seed(SEED + sender as u64));
                tokio::spawn(async move {
                    for _ in (sender..entries).step_by(CLIENTS) {
                        let key = format!("/registry/pods/{:06}", rng.usize(0..KEYS));
                        let value: Vec<u8> = (0..value_bytes).map(|_| rng.u8(..)).collect();
                        client.put(key, value, 0).await?;
                    }
                    Ok::<_, lifeboat_client::Error>(())
                })
            });
            for sender in puts.collect::<Vec<_>>() {
                sender.await.context("join")?.context("put")?;
            }
            Ok(())
        })
    }
}

/// Measures etcd: it starts on a copy, as the only member, and answers a read.
fn time_etcd(version: EtcdVersion, data_dir: &Path, copy: &Path) -> Result<Measured> {
    copy_dir(data_dir, copy)?;
    let measured = time_to_first_read(version, copy, &["--force-new-cluster"])?;
    fs::remove_dir_all(copy)?;
    Ok(measured)
}
