//! Clusters of one and of three members that are killed at once while clients write, with a fault on top: what is
//! restored from the files is never less than what etcd serves when it is started on copies of them.
//!
//! `LIFEBOAT_TORTURE_ROUNDS` is the number of rounds, `LIFEBOAT_TORTURE_SEED` the first seed. A round that fails names
//! its seed and keeps its files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::RangeRequest;
use lifeboat_client::{Client, ConnectOptions};
use lifeboat_etcd::{NoProgress, Query, get, open};
use serde_json::Value;

use crate::kills::{Acknowledged, expect_held, kill_while_writing};
use crate::support::{lifeboat, save, text};
use crate::torture::rounds;

/// Timeout until etcd serves what it can from the remaining data.
const LIMIT: Duration = Duration::from_secs(12);

/// What happens to the files of one member, beside the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    /// The db ends early.
    DbCut,
    /// Some pages of the db are zeros.
    DbZeroed,
    DbMissing,
    /// The log ends within its last records.
    LogCut,
    /// A sector of the log's last records was never written.
    LogZeroed,
    /// A bit of a record is another.
    LogFlipped,
}

const FAULTS: [Fault; 8] = [
    Fault::None,
    Fault::LogCut,
    Fault::None,
    Fault::DbCut,
    Fault::LogZeroed,
    Fault::DbZeroed,
    Fault::LogFlipped,
    Fault::DbMissing,
];

impl Fault {
    fn inject(self, data_dir: &Path, rng: &mut Rng) {
        let db = data_dir.join("member/snap/db");
        let change = |path: &Path, change: &mut dyn FnMut(&mut Vec<u8>)| {
            let mut bytes = fs_err::read(path).unwrap();
            change(&mut bytes);
            fs_err::write(path, bytes).unwrap();
        };
        let last_records = |bytes: &[u8], rng: &mut Rng| {
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            used - rng.usize(1..used.min(20_000))
        };
        match self {
            Self::None => {}
            Self::DbCut => change(&db, &mut |bytes| bytes.truncate(rng.usize(1..bytes.len()))),
            Self::DbZeroed => change(&db, &mut |bytes| {
                let pages = bytes.len() / 4096;
                let first = rng.usize(0..pages.min(60));
                let last = (first + rng.usize(1..20)).min(pages);
                bytes[first * 4096..last * 4096].fill(0);
            }),
            Self::DbMissing => fs_err::remove_file(&db).unwrap(),
            Self::LogCut => change(&last_segment(data_dir), &mut |bytes| {
                let at = last_records(bytes, rng);
                bytes.truncate(at);
            }),
            Self::LogZeroed => change(&last_segment(data_dir), &mut |bytes| {
                let at = last_records(bytes, rng);
                bytes[at - at % 512..].fill(0);
            }),
            Self::LogFlipped => change(&last_segment(data_dir), &mut |bytes| {
                let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
                bytes[rng.usize(0..used)] ^= 1 << rng.u8(0..8);
            }),
        }
    }
}

fn last_segment(data_dir: &Path) -> PathBuf {
    let segments = fs_err::read_dir(data_dir.join("member/wal")).unwrap().map(|entry| entry.unwrap().path());
    segments.filter(|path| path.extension().is_some_and(|end| end == "wal")).max().unwrap()
}

/// A keyspace: its revision, and of each key the revision of its last change and its value.
#[derive(Debug)]
struct Keyspace {
    revision: i64,
    keys: BTreeMap<Vec<u8>, (i64, Vec<u8>)>,
}

impl Keyspace {
    /// Of a source as of a revision, or of its newest.
    fn of(path: &Path, revision: Option<i64>) -> lifeboat_etcd::Result<Self> {
        let query = Query { prefix: true, revision, ..Query::default() };
        let (current, found) = get(open(path)?.as_ref(), &query, &NoProgress)?;
        let keys = found.into_iter().map(|(key, found)| (key, (found.mod_revision, found.value))).collect();
        Ok(Self { revision: current, keys })
    }

    fn values(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.keys.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }
}

/// What was restored, and how.
struct Restored {
    how: &'static str,
    db: PathBuf,
}

struct Round {
    seed: u64,
    version: EtcdVersion,
    members: usize,
    fault: Fault,
    rng: Rng,
    dir: Option<tempfile::TempDir>,
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let dir = self.dir.take().unwrap().keep();
            eprintln!("{} failed; its files are in {}", self.what(), dir.display());
        }
    }
}

impl Round {
    fn new(version: EtcdVersion, seed: u64) -> Self {
        let place = usize::try_from(seed).unwrap();
        // Each fault hits a member alone and one of three.
        let members = if (place + place / FAULTS.len()).is_multiple_of(2) { 1 } else { 3 };
        let fault = FAULTS[place % FAULTS.len()];
        let dir = Some(tempfile::tempdir().unwrap());
        Self { seed, version, members, fault, rng: Rng::with_seed(seed), dir }
    }

    fn what(&self) -> String {
        let Self { seed, version, members, fault, .. } = self;
        format!("etcd {version}, {members} members, {fault:?}, LIFEBOAT_TORTURE_SEED={seed}")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.as_ref().unwrap().path().join(name)
    }

    fn start(&mut self) -> Cluster {
        let interval = ["100ms", "1h", "20ms"][self.rng.usize(0..3)];
        let snapshots = [30, 200, 100_000][self.rng.usize(0..3)];
        let flags = [
            format!("--backend-batch-interval={interval}"),
            "--backend-batch-limit=1000000".into(),
            format!("--snapshot-count={snapshots}"),
        ];
        let builder = ClusterBuilder::new(self.version).members(self.members).unsafe_no_fsync();
        flags.into_iter().fold(builder.dir(self.path("cluster")), ClusterBuilder::flag).start().unwrap()
    }

    /// Kills the cluster while clients write; returns the acknowledged writes. Some members fall behind, some are started
    /// again.
    fn crash(&mut self, cluster: &mut Cluster) -> Acknowledged {
        let mut acknowledged = Acknowledged::new();
        if self.members > 1 && self.rng.bool() {
            let lagging = self.rng.usize(0..self.members);
            cluster.kill(lagging).unwrap();
            std::thread::sleep(Duration::from_millis(self.rng.u64(0..1500)));
            cluster.restart(lagging).unwrap();
            if self.rng.bool() {
                cluster.wait_healthy(Duration::from_secs(60)).unwrap();
            }
        }
        let milliseconds = self.rng.u64(30..700);
        acknowledged.extend(kill_while_writing(cluster, milliseconds));
        acknowledged
    }

    /// What etcd serves from copies of the files, if it does.
    fn etcd(&self, layout: ClusterLayout, dirs: &[PathBuf]) -> Option<Keyspace> {
        let copies: Vec<_> = (0..dirs.len()).map(|member| self.path(&format!("copy{member}"))).collect();
        dirs.iter().zip(&copies).for_each(|(dir, copy)| copy_dir(dir, copy).unwrap());
        let builder = ClusterBuilder::new(self.version).layout(layout).restored(&copies).unsafe_no_fsync();
        let mut cluster = builder.dir(self.path("served")).spawn().unwrap();
        let began = Instant::now();
        let healthy = cluster.wait_healthy(LIMIT).is_ok();
        loop {
            for member in 0..cluster.size() {
                if let Some(served) = self.served(&cluster, member) {
                    return Some(served);
                }
            }
            // A member alone that died has nothing to serve.
            if began.elapsed() > LIMIT || (!healthy && self.members == 1) {
                return None;
            }
        }
    }

    fn served(&self, cluster: &Cluster, member: usize) -> Option<Keyspace> {
        let options = ConnectOptions { command_timeout: Duration::from_secs(2), ..ConnectOptions::default() };
        cluster.block_on(async {
            let client = Client::connect(&options, cluster.client_endpoint(member)).await.ok()?;
            let all = client.range(RangeRequest::all()).await.ok()?;
            let keys = all.kvs.into_iter().map(|kv| (kv.key, (kv.mod_revision, kv.value))).collect();
            Some(Keyspace { revision: all.header.revision, keys })
        })
    }

    /// What a person gets who follows what Lifeboat says: a restore from all there is; where it names ways to keep
    /// more, the first of them; where it asks which state is right, the freshest; where nothing can be read, what
    /// salvage saves.
    fn restore(&self, sources: &[PathBuf]) -> Option<Restored> {
        let why = match self.restored("restore", sources, None) {
            Ok(db) => return Some(Restored { how: "restore", db }),
            Err(why) => why,
        };
        eprintln!("{}: {}", self.what(), why.trim());
        if let Some(way) = why.lines().find_map(|line| line.strip_prefix("    - ")) {
            return Some(self.restore_alternative(way, sources));
        }
        let inspect = [PathBuf::from("inspect"), "-o".into(), "json".into()];
        let compared = lifeboat(inspect.iter().chain(sources));
        let compared: Value = serde_json::from_slice(&compared.stdout).unwrap_or_default();
        if let Some(freshest) = compared["freshest"].as_str() {
            let db = self.restored("take", sources, Some(freshest)).unwrap();
            return Some(Restored { how: "restore --take", db });
        }
        let mut salvaged = Vec::new();
        for (place, source) in sources.iter().enumerate() {
            let out = self.path(&format!("salvaged{place}"));
            lifeboat(["salvage".as_ref(), source.as_os_str(), out.as_os_str()]);
            salvaged.extend(out.exists().then(|| Keyspace::of(&out, None).map(|keys| (keys.revision, out))));
        }
        let (_, freshest) = salvaged.into_iter().map(Result::unwrap).max()?;
        let db = self.restored("salvaged", &[freshest], None).unwrap();
        Some(Restored { how: "salvage", db })
    }

    /// What a way keeps that Lifeboat names: `lifeboat salvage DIR OUT: 61 keys, up to revision 62`.
    fn restore_alternative(&self, way: &str, sources: &[PathBuf]) -> Restored {
        let (way, _) = way.rsplit_once(": ").unwrap();
        if let Some(args) = way.strip_prefix("lifeboat salvage ") {
            let out = self.path("way.db");
            let named = |arg| if arg == "OUT" { out.clone() } else { PathBuf::from(arg) };
            lifeboat(std::iter::once("salvage".into()).chain(args.split(' ').map(named)));
            return Restored { how: "salvage", db: self.restored("way", &[out], None).unwrap() };
        }
        if let Some(take) = way.strip_prefix("lifeboat restore with --take ") {
            let db = self.restored("way", sources, Some(take)).unwrap();
            return Restored { how: "restore --take", db };
        }
        let db = way.strip_prefix("the db without its log, ").unwrap().strip_suffix(" (restore: --db-only)");
        Restored { how: "restore --db-only", db: db.unwrap().into() }
    }

    fn restored(&self, to: &str, sources: &[PathBuf], take: Option<&str>) -> Result<PathBuf, String> {
        let to = self.path(to);
        let mut args: Vec<String> = vec!["restore".into()];
        args.extend(sources.iter().map(|source| source.display().to_string()));
        args.extend(["--all-members".into(), to.display().to_string()]);
        args.extend(["--initial-cluster".into(), "m1=http://127.0.0.1:1".into()]);
        // So that the state at any revision can be looked at.
        args.extend(["--bump-revision".into(), "0".into()]);
        args.extend(take.into_iter().flat_map(|take| ["--take".into(), take.into()]));
        args.extend(["--etcd-version".into(), self.version.to_string()]);
        let output = lifeboat(args);
        let stderr = text(&output.stderr);
        if output.status.success() { Ok(to.join("m1/member/snap/db")) } else { Err(stderr) }
    }

    fn run(mut self, tally: &mut Tally) {
        let what = self.what();
        let mut cluster = self.start();
        let client = cluster.client(0).unwrap();
        for i in 0..20 {
            cluster.block_on(client.put(format!("early{i}"), "x", 0)).unwrap();
        }
        drop(client);
        let snapshot = self.rng.bool().then(|| {
            let path = self.path("earlier.db");
            save(&cluster, &path);
            path
        });
        let acknowledged = self.crash(&mut cluster);
        let dirs: Vec<PathBuf> = (0..self.members).map(|member| cluster.data_dir(member).into()).collect();
        let layout = cluster.layout().again();
        drop(cluster);
        let target = self.rng.usize(0..self.members);
        self.fault.inject(&dirs[target], &mut self.rng);

        let sources: Vec<PathBuf> = dirs.iter().cloned().chain(snapshot).collect();
        let restored = self.restore(&sources);
        let ours = restored.as_ref().map(|restored| Keyspace::of(&restored.db, None).unwrap());
        let theirs = self.etcd(layout, &dirs);
        tally.add(self.fault, &restored, &ours, &theirs);
        if let Some(theirs) = &theirs {
            let ours =
                ours.as_ref().unwrap_or_else(|| panic!("{what}: etcd serves, and nothing was restored"));
            let how = restored.as_ref().map_or("", |restored| restored.how);
            assert!(
                ours.revision >= theirs.revision,
                "{what}: {how} gives revision {}, etcd serves {}",
                ours.revision,
                theirs.revision
            );
            let db = &restored.as_ref().unwrap().db;
            if let Ok(then) = Keyspace::of(db, Some(theirs.revision)) {
                assert!(
                    then.keys == theirs.keys,
                    "{what}: {how}: other keys at revision {}",
                    theirs.revision
                );
            }
        }
        // Acknowledged writes are on the disks of a majority, and a fault affects only one disk.
        if self.members > 1 || self.fault == Fault::None {
            expect_held(&acknowledged, &ours.unwrap().values(), &what);
        }
    }
}

/// What came of the rounds, by fault; shown in the end, also when a round fails.
struct Tally {
    version: EtcdVersion,
    counts: BTreeMap<Fault, Counts>,
}

#[derive(Default)]
struct Counts {
    rounds: u64,
    served: u64,
    more: u64,
    nothing: u64,
    how: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(
        &mut self,
        fault: Fault,
        restored: &Option<Restored>,
        ours: &Option<Keyspace>,
        theirs: &Option<Keyspace>,
    ) {
        let counts = self.counts.entry(fault).or_default();
        let revision = |keyspace: &Option<Keyspace>| keyspace.as_ref().map(|keyspace| keyspace.revision);
        counts.rounds += 1;
        counts.served += u64::from(theirs.is_some());
        counts.more += u64::from(revision(ours) > revision(theirs));
        counts.nothing += u64::from(ours.is_none());
        *counts.how.entry(restored.as_ref().map_or("nothing", |restored| restored.how)).or_default() += 1;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut lines = format!("etcd {}\n", self.version);
        for (fault, Counts { rounds, served, more, nothing, how }) in &self.counts {
            let _ = writeln!(
                lines,
                "  {fault:?}: {rounds} rounds; etcd served in {served}; more than etcd in {more}, nothing in {nothing}; {how:?}"
            );
        }
        eprint!("{lines}");
    }
}

fn differential(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let mut tally = Tally { version, counts: BTreeMap::new() };
    let rounds = rounds(4);
    for seed in rounds.clone() {
        Round::new(version, seed).run(&mut tally);
    }
    // One round that is played again may be one in which etcd does not start.
    let served = tally.counts.values().any(|counts| counts.served > 0);
    assert!(served || rounds.end - rounds.start < 4, "etcd served in no round: a comparison of nothing");
}

#[test]
fn differential_3_4() {
    differential(EtcdVersion::V3_4);
}

#[test]
fn differential_3_5() {
    differential(EtcdVersion::V3_5);
}

#[test]
fn differential_3_6() {
    differential(EtcdVersion::V3_6);
}

#[test]
fn differential_3_7() {
    differential(EtcdVersion::V3_7);
}
