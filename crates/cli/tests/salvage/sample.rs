//! A member's db as a life of puts, deletes and compactions leaves it: with pages in it that are not in use any
//! more, and revisions on them that are gone.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use lab::cluster::{Cluster, ClusterBuilder};
use lab::copy_dir;
use lab::fill::{self, Kubernetes, Model, Plain};
use lab::peers::EtcdVersion;

use crate::support::save;

/// A stopped member.
pub struct Sample {
    dir: tempfile::TempDir,
    /// Bytes of its db.
    pub db: Vec<u8>,
}

/// A member that was stopped, which most tests damage a copy of; made once.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let mut cluster = start("--backend-batch-interval=10ms");
        live(&cluster, 12);
        cluster.stop(0).unwrap();
        Sample::of(&cluster)
    })
}

/// A member that was killed: its log has what its db lacks, and its newest commit is of a few changes.
pub fn killed() -> &'static Sample {
    static KILLED: OnceLock<Sample> = OnceLock::new();
    KILLED.get_or_init(|| {
        let mut cluster = start("--backend-batch-interval=1h");
        live(&cluster, 6);
        let client = cluster.client(0).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let put = |count: u32, at: &str| {
            for i in 0..count {
                cluster.block_on(client.put(format!("last/{i}"), format!("{at} {i}"), 0)).unwrap();
            }
        };
        for (count, at) in [(20, "first"), (3, "second")] {
            put(count, at);
            // A snapshot is taken of what is committed to the db, so that all is.
            save(&cluster, &dir.path().join(at));
        }
        put(60, "third");
        cluster.kill(0).unwrap();
        Sample::of(&cluster)
    })
}

fn start(flag: &str) -> Cluster {
    let builder = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync();
    builder.flag(flag).flag("--backend-batch-limit=1000000").start().unwrap()
}

impl Sample {
    fn of(cluster: &Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(cluster.data_dir(0), &dir.path().join("m1")).unwrap();
        drop_zeros(&dir.path().join("m1/member/wal/0000000000000000-0000000000000000.wal"));
        let db = fs_err::read(dir.path().join("m1/member/snap/db")).unwrap();
        Self { dir, db }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("m1")
    }
}

/// Some rounds, each with a compaction in it.
fn live(cluster: &Cluster, rounds: u64) {
    let client = cluster.client(0).unwrap();
    let mut model = Model::default();
    for seed in 0..rounds {
        let kubernetes = Kubernetes { seed, nodes: 2, namespaces: 3, pods: 3, rounds: 3 };
        fill::extend(cluster, 0, &mut model, kubernetes.ops()).unwrap();
        let plain = Plain { seed, ..Plain::default() };
        fill::extend(cluster, 0, &mut model, plain.ops().take(60)).unwrap();
        // Values of several pages.
        let large: Vec<u8> = (0..30_000).map(|i| (i * 7 + seed) as u8).collect();
        let put = fill::Write::Put { key: format!("large/{}", seed % 5).into(), value: large, leased: false };
        fill::extend(cluster, 0, &mut model, [fill::Op::Single(put)]).unwrap();
        // The last rounds stay above the compact revision.
        if seed + 3 < rounds {
            let revision = model.revision - i64::try_from(seed % 3 * 20).unwrap();
            cluster.block_on(client.compact(revision, true)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Nothing is in the 64 MB of a log but at their start, and they would be copied for every case.
fn drop_zeros(log: &Path) {
    let mut bytes = fs_err::read(log).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate((used + 1).next_multiple_of(4096));
    fs_err::write(log, bytes).unwrap();
}
