//! `lifeboat hash` is the server's HashKV: what a member answers over gRPC and what is computed from its
//! snapshot, or from the db file it leaves behind, are the same number, so the one proves the other.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::cluster::{Cluster, ClusterBuilder};
use lab::fill::{self, Model, Op, Plain, Write};
use lab::peers::{self, EtcdVersion};
use support::{fails, lifeboat, lifeboat_json, revision, save, server_hash, stop_and_copy_db, text};

/// A member under test, and what it answered.
struct Store {
    cluster: Cluster,
    dir: tempfile::TempDir,
    model: Model,
    snapshots: usize,
}

/// HashKV as reported by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    hash: u64,
    hash_revision: i64,
    compact_revision: i64,
}

impl Store {
    fn start(version: EtcdVersion) -> Self {
        Self::of(ClusterBuilder::new(version))
    }

    fn of(builder: ClusterBuilder) -> Self {
        let cluster = builder.unsafe_no_fsync().start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self { cluster, dir, model: Model::default(), snapshots: 0 }
    }

    fn fill(&mut self, seed: u64) {
        self.run(Plain { seed, keys: 40, operations: 60, value_bytes: 64 }.ops());
    }

    fn run(&mut self, ops: impl IntoIterator<Item = Op>) {
        fill::extend(&self.cluster, 0, &mut self.model, ops).unwrap();
    }

    fn compact(&self, revision: i64, physical: bool) {
        let client = self.cluster.client(0).unwrap();
        self.cluster.block_on(client.compact(revision, physical)).unwrap();
    }

    /// What the member answers at revisions spread from `first` to the current one, both included.
    fn answers(&self, first: i64) -> Vec<Answer> {
        let current = revision(&self.cluster, 0);
        let step = usize::try_from((current - first) / 5).unwrap().max(1);
        let asked = (first..current).step_by(step).chain([current]);
        // By asking for none, for 3.4 refuses to name the revision it is compacted at.
        asked.map(|revision| self.answer(if revision == current { 0 } else { revision }, current)).collect()
    }

    fn answer(&self, asked: i64, current: i64) -> Answer {
        let (hash, compact_revision) = server_hash(&self.cluster, 0, asked);
        let hash_revision = if asked == 0 { current } else { asked };
        Answer { hash: hash.into(), hash_revision, compact_revision }
    }

    fn snapshot(&mut self) -> PathBuf {
        self.snapshots += 1;
        let path = self.dir.path().join(format!("{}.db", self.snapshots));
        save(&self.cluster, &path);
        path
    }

    /// Compares the member with a snapshot of it at every revision it answers for; returns its answers.
    ///
    /// Not at the compact revision itself: there, servers from 3.5 on repeat a number that the compaction
    /// computed from what it then deleted.
    fn compare(&mut self, compact_revision: i64) -> Vec<Answer> {
        let answers = self.answers(compact_revision.max(1) + 1);
        assert!(answers.iter().all(|answer| answer.compact_revision == compact_revision), "{answers:?}");
        let snapshot = self.snapshot();
        assert_all_hashes(&snapshot, &answers);
        answers
    }
}

/// Expects `lifeboat hash` to give these answers.
fn assert_hashes(source: &Path, answers: &[Answer]) {
    for answer in answers {
        let revision = answer.hash_revision.to_string();
        let args = ["hash".as_ref(), source.as_os_str(), "--rev".as_ref(), revision.as_ref()];
        assert_eq!(computed(&lifeboat_json(args)), *answer, "{}", source.display());
    }
}

/// Expects these answers at their revisions, and the last one, of the current revision, by default.
fn assert_all_hashes(source: &Path, answers: &[Answer]) {
    assert_hashes(source, answers);
    let last = answers.last().unwrap();
    assert_eq!(computed(&lifeboat_json(["hash".as_ref(), source.as_os_str()])), *last);
}

fn computed(json: &serde_json::Value) -> Answer {
    Answer {
        hash: json["hash"].as_u64().unwrap(),
        hash_revision: json["hashRevision"].as_i64().unwrap(),
        compact_revision: json["compactRevision"].as_i64().unwrap(),
    }
}

/// The newest revision at which a key was deleted, and the newest with several changes.
fn landmarks(model: &Model) -> (i64, i64) {
    let tombstone = model.changes.iter().rev().find(|change| change.value.is_none()).unwrap().revision;
    let pairs = model.changes.windows(2).rev();
    let txn = pairs.map(|pair| (pair[0].revision, pair[1].revision)).find(|(one, two)| one == two).unwrap();
    (tombstone, txn.0)
}

fn hashes_equal_the_servers(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let mut store = Store::start(version);
    store.fill(1);
    assert!(!store.model.leases.is_empty(), "no leased keys to test with");
    store.compare(-1);

    let half = store.model.revision / 2;
    store.compact(half, true);
    store.compare(half);

    store.fill(2);
    let (tombstone, _) = landmarks(&store.model);
    store.compact(tombstone, true);
    store.compare(tombstone);

    store.fill(3);
    let (_, txn) = landmarks(&store.model);
    store.compact(txn, true);
    store.compare(txn);

    // Nothing survives, so the server's rule of what a compaction leaves behind is another.
    store.run([Op::DeletePrefix(Vec::new())]);
    let emptied = store.model.revision;
    store.compare(txn);
    store.compact(emptied, true);
    store.compare(emptied);

    store.fill(4);
    let mut answers = store.compare(emptied);

    // A new life has no remembered numbers, so it answers at the compact revision too.
    store.cluster.restart(0).unwrap();
    store.cluster.wait_healthy(std::time::Duration::from_secs(60)).unwrap();
    if version != EtcdVersion::V3_4 {
        answers.insert(0, store.answer(emptied, store.model.revision));
    }
    let db = store.dir.path().join("db");
    stop_and_copy_db(&mut store.cluster, 0, &db);
    assert_all_hashes(&db, &answers);
    outside_is_refused(&db, emptied, store.model.revision);
}

/// Revisions that no server would hash are named, with the bounds, as mistakes of the caller.
fn outside_is_refused(source: &Path, compact_revision: i64, current: i64) {
    let at = |revision: i64| {
        let revision = revision.to_string();
        lifeboat(["hash".as_ref(), source.as_os_str(), "--rev".as_ref(), revision.as_ref()])
    };
    let (below, above) = (compact_revision - 1, current + 1);
    let compacted = at(below);
    fails(&compacted, 2, &[&format!("revision {below} has been compacted"), &compact_revision.to_string()]);
    fails(&at(above), 2, &[&format!("revision {above} is above"), &current.to_string()]);
}

#[test]
fn hashes_equal_the_servers_3_4() {
    hashes_equal_the_servers(EtcdVersion::V3_4);
}

#[test]
fn hashes_equal_the_servers_3_5() {
    hashes_equal_the_servers(EtcdVersion::V3_5);
}

#[test]
fn hashes_equal_the_servers_3_6() {
    hashes_equal_the_servers(EtcdVersion::V3_6);
}

#[test]
fn hashes_equal_the_servers_3_7() {
    hashes_equal_the_servers(EtcdVersion::V3_7);
}

/// A compaction counts from the moment it is accepted, however much of it is still to be deleted.
#[test]
fn a_compaction_under_way_does_not_change_the_hash() {
    // Not 3.4, whose pause cannot be set.
    for (version, flag) in [
        (EtcdVersion::V3_5, "--experimental-compaction"),
        (EtcdVersion::V3_6, "--compaction"),
        (EtcdVersion::V3_7, "--compaction"),
    ] {
        lab::or_skip!(peers::etcd(version));
        let builder = ClusterBuilder::new(version)
            .flag(format!("{flag}-batch-limit=1"))
            .flag(format!("{flag}-sleep-interval=1h"));
        let mut store = Store::of(builder);
        store.fill(6);
        let half = store.model.revision / 2;
        store.compact(half, false);
        store.compare(half);
        let snapshot = store.snapshot();
        let checked = lifeboat_json(["check".as_ref(), snapshot.as_os_str()]);
        assert_eq!(checked["findings"][0]["id"], "etcd.compaction-pending", "{checked}");
    }
}

/// The offline tool agrees, where it does not panic: it cannot read a store with leased keys.
#[test]
fn hashes_equal_those_of_etcdutl() {
    for version in [EtcdVersion::V3_6, EtcdVersion::V3_7] {
        let etcdutl = lab::or_skip!(peers::etcd(version)).etcdutl.unwrap();
        let mut store = Store::start(version);
        let workload = Plain { seed: 5, keys: 40, operations: 120, value_bytes: 64 };
        store.run(workload.ops().map(without_leases));
        let half = store.model.revision / 2;
        store.compact(half, true);
        let snapshot = store.snapshot();
        for revision in [half, half + 1, store.model.revision] {
            // On a copy: etcdutl opens it read-write and creates buckets.
            let copy = store.dir.path().join(format!("copy-{revision}.db"));
            fs_err::copy(&snapshot, &copy).unwrap();
            let rev = format!("--rev={revision}");
            let output =
                Command::new(&etcdutl).args(["hashkv", "-w", "json", &rev]).arg(copy).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            let theirs = computed(&serde_json::from_slice(&output.stdout).unwrap());
            assert_eq!((theirs.hash_revision, theirs.compact_revision), (revision, half));
            assert_hashes(&snapshot, &[theirs]);
        }
    }
}

fn without_leases(op: Op) -> Op {
    let strip = |write| match write {
        Write::Put { key, value, .. } => Write::Put { key, value, leased: false },
        delete => delete,
    };
    match op {
        Op::Single(write) => Op::Single(strip(write)),
        Op::Guarded(write) => Op::Guarded(strip(write)),
        Op::Txn(writes) => Op::Txn(writes.into_iter().map(strip).collect()),
        Op::DeletePrefix(prefix) => Op::DeletePrefix(prefix),
    }
}
