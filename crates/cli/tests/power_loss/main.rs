//! The power fails while something is written: whatever of it can be found afterwards under its own name is whole.
//!
//! The system calls of the real `lifeboat` are recorded with strace and played, one by one, on a model of a disk that
//! keeps for sure only what was synced. After each of them everything that a disk could show is looked at.

mod disk;
mod record;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use disk::{Disk, Tree};
use lab::cluster::ClusterBuilder;
use lab::peers::{self, EtcdVersion};
use record::Op;

/// What a command writes, as it was recorded and as it stands in the end.
struct Recorded {
    root: PathBuf,
    ops: Vec<Op>,
    /// Names below the root that are given to what is finished, and to nothing else.
    finished: Vec<(PathBuf, Tree)>,
}

impl Recorded {
    /// Runs `lifeboat` in an empty directory.
    fn of(dir: &Path, args: &[String], finished: &[&str]) -> Option<Self> {
        let root = dir.join("root").canonicalize().unwrap();
        let ops = lab::or_skip!(record::record(&root, args), None);
        let finished = finished.iter().map(|name| ((*name).into(), Tree::read(&root.join(name)))).collect();
        Some(Self { root, ops, finished })
    }

    /// What could be found after a power loss and should not be, or could be missing after the command's end.
    fn faults(&self, ops: &[&Op]) -> Vec<String> {
        let mut disk = Disk::default();
        let mut faults = Vec::new();
        for (number, op) in ops.iter().enumerate() {
            // A write is torn before it is whole.
            for op in op.torn().iter().chain([*op]) {
                disk.apply(op, &self.root);
                for (name, whole) in &self.finished {
                    let fault = disk.not_whole(name, whole);
                    faults.extend(fault.map(|what| format!("after call {number}, {op:?}: {what}")));
                }
            }
        }
        let lost = self.finished.iter().filter(|(name, _)| !disk.is_kept(name));
        faults.extend(lost.map(|(name, _)| format!("{} can be lost after the end", name.display())));
        faults
    }

    /// Holds whatever is lost, and would not without these syncs: else the model would prove nothing.
    #[track_caller]
    fn holds_by_syncing(&self, needed: &[&str]) {
        let all: Vec<&Op> = self.ops.iter().collect();
        assert!(all.iter().any(|op| matches!(op, Op::Write { .. })), "nothing was recorded");
        assert_eq!(self.faults(&all).first(), None);
        for name in needed {
            let without: Vec<&Op> = all.iter().copied().filter(|op| !op.syncs(name)).collect();
            assert!(without.len() < all.len(), "{name} is never synced");
            assert_ne!(self.faults(&without), [""; 0], "nothing would be lost without syncing {name}");
        }
    }
}

fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("root")).unwrap();
    dir
}

fn restore(dir: &Path, more: &[&str]) -> Vec<String> {
    let source = lab::fixture::kubernetes_snapshot().display().to_string();
    let paths = |word: &&str| word.replace("ROOT", &dir.join("root").display().to_string());
    ["restore".into(), source].into_iter().chain(more.iter().map(paths)).collect()
}

#[test]
fn a_member_that_exists_is_complete() {
    let dir = scratch();
    let args = restore(
        dir.path(),
        &[
            "--data-dir",
            "ROOT/new/m1.etcd",
            "--initial-cluster",
            "default=http://h1:2380",
            "--initial-cluster-token",
            "t",
        ],
    );
    let Some(recorded) = Recorded::of(dir.path(), &args, &["new/m1.etcd/member"]) else { return };
    recorded.holds_by_syncing(&["db", "snap", "wal", "member", "m1.etcd", "new", "root"]);
}

#[test]
fn every_member_of_a_cluster_that_exists_is_complete() {
    let dir = scratch();
    let cluster = "m1=http://h1:2380,m2=http://h2:2380,m3=http://h3:2380";
    let args = restore(dir.path(), &["--all-members", "ROOT/all", "--initial-cluster", cluster]);
    let finished = ["all/m1/member", "all/m2/member", "all/m3/member"];
    let Some(recorded) = Recorded::of(dir.path(), &args, &finished) else { return };
    recorded.holds_by_syncing(&["db", "m2", "all"]);
}

#[test]
fn a_separate_wal_dir_that_exists_is_complete() {
    let dir = scratch();
    let to = [
        "--data-dir",
        "ROOT/m1.etcd",
        "--wal-dir",
        "ROOT/logs/m1",
        "--initial-cluster",
        "default=http://h1:2380",
        "--initial-cluster-token",
        "t",
    ];
    let args = restore(dir.path(), &to);
    let Some(recorded) = Recorded::of(dir.path(), &args, &["m1.etcd/member", "logs/m1"]) else { return };
    recorded.holds_by_syncing(&["db", "logs"]);
}

#[test]
fn a_snapshot_that_exists_is_complete() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).start().unwrap();
    let dir = scratch();
    let args = support::save_args(&cluster, 0, &dir.path().join("root/snapshot.db"), &[]);
    let Some(recorded) = Recorded::of(dir.path(), &args, &["snapshot.db"]) else { return };
    recorded.holds_by_syncing(&["root"]);
}
