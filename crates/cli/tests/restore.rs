//! The main job: what `lifeboat save` saved and `lifeboat restore` wrote boots under the real etcd, serves
//! every key, and lives on as a healthy cluster does. Members verify themselves (`ETCD_VERIFY=all`).

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::fill::{self, Kubernetes, Model};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::WatchOptions;
use lifeboat_client::messages::RangeRequest;
use support::{bbolt_check, lifeboat, lifeboat_ok, restore_all, revision, same_hash, save, served};

const LIMIT: Duration = Duration::from_secs(60);
const BUMP: i64 = 1_000_000_000;

/// A cluster of `version` filled and compacted halfway, saved, and gone.
struct Saved {
    dir: tempfile::TempDir,
    model: Model,
}

impl Saved {
    fn new(version: EtcdVersion) -> Self {
        let cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        let model =
            fill::kubernetes_like(&cluster, 0, &Kubernetes { rounds: 6, ..Default::default() }).unwrap();
        let client = cluster.client(0).unwrap();
        cluster.block_on(client.compact(model.revision / 2, true)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let saved = save(&cluster, &dir.path().join("backup.db"));
        assert_eq!(saved["revision"], model.revision);
        Self { dir, model }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("backup.db")
    }
}

fn start(version: EtcdVersion, layout: ClusterLayout, dirs: &[PathBuf]) -> Cluster {
    ClusterBuilder::new(version)
        .layout(layout)
        .restored(dirs.to_vec())
        .env("ETCD_VERIFY", "all")
        .start()
        .unwrap()
}

fn put(cluster: &Cluster, member: usize, key: &str) {
    let client = cluster.client(member).unwrap();
    cluster.block_on(client.put(key, "after the restore", 0)).unwrap();
}

/// The keys of a restored cluster, without those the tests put.
fn restored(cluster: &Cluster, member: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut keys = served(cluster, member);
    keys.retain(|key, _| !key.starts_with(b"new-"));
    keys
}

/// Clients of the old cluster get an error for revisions that are gone, instead of waiting forever.
fn old_watch_is_compacted(cluster: &Cluster, old_revision: i64) {
    let client = cluster.client(0).unwrap();
    let response = cluster.block_on(async {
        let mut watch = client.watch(&WatchOptions::all(old_revision)).await.unwrap();
        loop {
            let response = watch.message().await.unwrap().unwrap();
            if response.canceled {
                return response;
            }
        }
    });
    assert_eq!(response.compact_revision, old_revision + BUMP);
    let old = RangeRequest { revision: old_revision, ..RangeRequest::all() };
    let error = cluster.block_on(client.range(old)).unwrap_err();
    assert!(format!("{error:?}").contains("compacted"), "{error:?}");
}

fn add_and_remove_a_member(cluster: &Cluster) {
    let client = cluster.client(0).unwrap();
    let deadline = Instant::now() + LIMIT;
    // etcd refuses a change of members until its peers have been connected for some seconds.
    let added = loop {
        match cluster.block_on(client.member_add(vec!["http://127.0.0.1:1".into()], true)) {
            Ok(response) => break response.member,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    cluster.block_on(client.member_remove(added.id)).unwrap();
}

/// Boots restored dirs and puts the cluster through a life.
fn keeps_working(version: EtcdVersion, saved: &Saved, members: usize) {
    let layout = ClusterLayout::new(members).unwrap();
    let dir = saved.dir.path().join(format!("restored-{members}"));
    let (dirs, report) = restore_all(&saved.path(), &layout, &dir, &[]);
    assert_eq!(report["liveKeys"], saved.model.live.len());
    dirs.iter().for_each(|dir| bbolt_check(dir));

    let mut cluster = start(version, layout, &dirs);
    assert_eq!(revision(&cluster, 0), saved.model.revision + BUMP);
    assert_eq!(u64::from(same_hash(&cluster)), report["hash"].as_u64().unwrap());
    for member in 0..members {
        assert!(restored(&cluster, member) == saved.model.live, "member {member} serves other keys");
    }
    old_watch_is_compacted(&cluster, saved.model.revision);
    put(&cluster, members - 1, "new-1");
    assert_eq!(revision(&cluster, members - 1), saved.model.revision + BUMP + 1);

    for round in 2..4 {
        (0..members).for_each(|member| cluster.stop(member).unwrap());
        (0..members).for_each(|member| cluster.restart(member).unwrap());
        cluster.wait_healthy(LIMIT).unwrap();
        put(&cluster, 0, &format!("new-{round}"));
        assert!(restored(&cluster, 0) == saved.model.live, "other keys after restart {round}");
        same_hash(&cluster);
    }
    if members == 3 {
        add_and_remove_a_member(&cluster);
    }
    let client = cluster.client(0).unwrap();
    cluster.block_on(client.compact(revision(&cluster, 0), true)).unwrap();
    for member in 0..members {
        let client = cluster.client(member).unwrap().with_command_timeout(LIMIT);
        cluster.block_on(client.defragment()).unwrap();
    }
    cluster.wait_healthy(LIMIT).unwrap();
    assert!(restored(&cluster, 0) == saved.model.live, "other keys after compaction and defrag");
    same_hash(&cluster);
    (0..members).for_each(|member| cluster.stop(member).unwrap());
    dirs.iter().for_each(|dir| bbolt_check(dir));
}

fn restored_clusters_keep_working(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let saved = Saved::new(version);
    for members in [1, 3, 5] {
        keeps_working(version, &saved, members);
    }
}

#[test]
fn restored_clusters_keep_working_3_4() {
    restored_clusters_keep_working(EtcdVersion::V3_4);
}

#[test]
fn restored_clusters_keep_working_3_5() {
    restored_clusters_keep_working(EtcdVersion::V3_5);
}

#[test]
fn restored_clusters_keep_working_3_6() {
    restored_clusters_keep_working(EtcdVersion::V3_6);
}

#[test]
fn restored_clusters_keep_working_3_7() {
    restored_clusters_keep_working(EtcdVersion::V3_7);
}

/// A snapshot of one version becomes a cluster of another, newer or older.
#[test]
fn restores_across_versions() {
    for from in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(from));
    }
    for from in EtcdVersion::ALL {
        let saved = Saved::new(from);
        for to in EtcdVersion::ALL.into_iter().filter(|to| *to != from) {
            let layout = ClusterLayout::new(1).unwrap();
            let version = to.to_string();
            let dir = saved.dir.path().join(&version);
            let (dirs, _) = restore_all(&saved.path(), &layout, &dir, &["--etcd-version", &version]);
            let mut cluster = start(to, layout, &dirs);
            assert!(restored(&cluster, 0) == saved.model.live, "{from} to {to}");
            put(&cluster, 0, "new-1");
            cluster.stop(0).unwrap();
            cluster.restart(0).unwrap();
            cluster.wait_healthy(LIMIT).unwrap();
            assert!(restored(&cluster, 0) == saved.model.live, "{from} to {to}, restarted");
        }
    }
}

/// One member at a time with a common token makes the same cluster as all at once.
#[test]
fn members_restored_one_by_one_form_a_cluster() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let saved = Saved::new(EtcdVersion::V3_6);
    let layout = ClusterLayout::new(3).unwrap();
    let dir = saved.dir.path().join("one-by-one");
    let source = saved.path();
    for member in layout.members() {
        let data_dir = dir.join(&member.name);
        lifeboat_ok([
            Path::new("restore"),
            &source,
            Path::new("--name"),
            Path::new(&member.name),
            Path::new("--data-dir"),
            &data_dir,
            Path::new("--initial-cluster"),
            Path::new(&layout.initial_cluster()),
            Path::new("--initial-cluster-token"),
            Path::new(layout.token()),
            Path::new("--initial-advertise-peer-urls"),
            Path::new(&member.peer_url),
        ]);
    }
    let dirs: Vec<_> = layout.members().iter().map(|member| dir.join(&member.name)).collect();
    let cluster = start(EtcdVersion::V3_6, layout, &dirs);
    same_hash(&cluster);
    assert!(restored(&cluster, 2) == saved.model.live);
}

/// `--rev` brings the keyspace back as it was, above every revision ever served.
#[test]
fn restores_as_of_a_revision() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let saved = Saved::new(EtcdVersion::V3_6);
    let at = saved.model.revision * 3 / 4;
    let layout = ClusterLayout::new(1).unwrap();
    let (dirs, _) =
        restore_all(&saved.path(), &layout, &saved.dir.path().join("rev"), &["--rev", &at.to_string()]);
    let cluster = start(EtcdVersion::V3_6, layout, &dirs);
    assert!(restored(&cluster, 0) == saved.model.at(at));
    assert_eq!(revision(&cluster, 0), saved.model.revision + BUMP);
}

/// Without a bump, revisions and history are those of the source.
#[test]
fn restores_without_a_bump_keep_history_readable() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let saved = Saved::new(EtcdVersion::V3_6);
    let layout = ClusterLayout::new(1).unwrap();
    let (dirs, _) =
        restore_all(&saved.path(), &layout, &saved.dir.path().join("0"), &["--bump-revision", "0"]);
    let cluster = start(EtcdVersion::V3_6, layout, &dirs);
    assert_eq!(revision(&cluster, 0), saved.model.revision);
    let at = saved.model.revision * 3 / 4;
    let client = cluster.client(0).unwrap();
    let old = RangeRequest { revision: at, ..RangeRequest::all() };
    let response = cluster.block_on(client.range(old)).unwrap();
    let found: BTreeMap<_, _> = response.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    assert!(found == saved.model.at(at));
}

/// Runs `etcdutl snapshot restore` of a version for the first `members` of a layout; returns their data dirs.
fn etcdutl_restore(
    version: EtcdVersion,
    snapshot: &Path,
    layout: &ClusterLayout,
    members: usize,
    dir: &Path,
) -> Vec<PathBuf> {
    let etcdutl = peers::etcd(version).unwrap().etcdutl.unwrap();
    let restore = |member: &lab::cluster::MemberLayout| {
        let data_dir = dir.join(&member.name);
        let output = std::process::Command::new(&etcdutl)
            .args(["snapshot", "restore"])
            .arg(snapshot)
            .args(["--name", &member.name, "--initial-cluster", &layout.initial_cluster()])
            .args(["--initial-advertise-peer-urls", &member.peer_url])
            .args(["--initial-cluster-token", layout.token(), "--mark-compacted"])
            .arg(format!("--bump-revision={BUMP}"))
            .arg("--data-dir")
            .arg(&data_dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", support::text(&output.stderr));
        data_dir
    };
    layout.members()[..members].iter().map(restore).collect()
}

/// One member by etcdutl and two by us, with the same bump and token, are one cluster: etcd's own check of its
/// members at their start finds nothing, and their HashKV is the one that we said.
#[test]
fn members_restored_by_etcdutl_and_by_us_agree() {
    for version in [EtcdVersion::V3_5, EtcdVersion::V3_6, EtcdVersion::V3_7] {
        lab::or_skip!(peers::etcd(version));
        let saved = Saved::new(version);
        for more in [["--etcd-version", &version.to_string()].as_slice(), &["--keep-history"]] {
            let layout = ClusterLayout::new(3).unwrap();
            let dir = saved.dir.path().join(more[0]);
            let mut dirs = etcdutl_restore(version, &saved.path(), &layout, 1, &dir.join("theirs"));
            let (ours, report) = restore_all(&saved.path(), &layout, &dir.join("ours"), more);
            dirs.extend_from_slice(&ours[1..]);
            let check = match version {
                EtcdVersion::V3_7 => "--feature-gates=InitialCorruptCheck=true",
                _ => "--experimental-initial-corrupt-check=true",
            };
            let builder = ClusterBuilder::new(version).layout(layout).restored(dirs);
            let mut cluster = builder.flag(check).env("ETCD_VERIFY", "all").start().unwrap();
            assert_eq!(u64::from(same_hash(&cluster)), report["hash"].as_u64().unwrap(), "{version}");
            assert!(restored(&cluster, 0) == saved.model.live);
            put(&cluster, 0, "new-1");
            same_hash(&cluster);
            let client = cluster.client(0).unwrap();
            cluster.block_on(client.compact(revision(&cluster, 0), true)).unwrap();
            same_hash(&cluster);
            (0..3).for_each(|member| cluster.stop(member).unwrap());
        }
    }
}

/// A restored cluster whose snapshot is taken before its first write and restored by etcdutl starts above all that was
/// served, and `etcdutl snapshot status` shows the revision it is at.
#[test]
fn a_later_bump_of_etcdutl_counts_from_ours() {
    let version = EtcdVersion::V3_6;
    let etcd = lab::or_skip!(peers::etcd(version));
    let saved = Saved::new(version);
    let layout = ClusterLayout::new(1).unwrap();
    let (dirs, report) = restore_all(&saved.path(), &layout, &saved.dir.path().join("ours"), &[]);
    let first = report["revision"].as_i64().unwrap();
    let cluster = start(version, layout, &dirs);
    let snapshot = saved.dir.path().join("unwritten.db");
    save(&cluster, &snapshot);
    drop(cluster);
    let etcdutl = etcd.etcdutl.unwrap();
    let status = ["snapshot", "status", "-w", "json"];
    let status = std::process::Command::new(etcdutl).args(status).arg(&snapshot).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["revision"], first, "{status}");

    let layout = ClusterLayout::new(1).unwrap();
    let dirs = etcdutl_restore(version, &snapshot, &layout, 1, &saved.dir.path().join("theirs"));
    let cluster = start(version, layout, &dirs);
    assert_eq!(revision(&cluster, 0), first + BUMP);
    assert!(restored(&cluster, 0) == saved.model.live);
    // And ours counts from theirs.
    let again = saved.dir.path().join("again.db");
    save(&cluster, &again);
    drop(cluster);
    let layout = ClusterLayout::new(1).unwrap();
    let (_, report) = restore_all(&again, &layout, &saved.dir.path().join("ours again"), &[]);
    assert_eq!(report["revision"], first + 2 * BUMP);
    assert_eq!(report["liveKeys"], saved.model.live.len());
}

/// A cluster that was once restored with etcdutl's bump carries its mark, a revision with no key: it can be
/// saved and restored as any other, with our mark in the place of theirs.
#[test]
fn clusters_once_bumped_by_etcdutl_are_restored() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let saved = Saved::new(EtcdVersion::V3_6);
    let layout = ClusterLayout::new(1).unwrap();
    let dirs =
        etcdutl_restore(EtcdVersion::V3_6, &saved.path(), &layout, 1, &saved.dir.path().join("etcdutl"));
    let cluster = start(EtcdVersion::V3_6, layout, &dirs);
    put(&cluster, 0, "new-1");
    let bumped = saved.dir.path().join("bumped.db");
    let report = save(&cluster, &bumped);
    assert_eq!(report["hash"], same_hash(&cluster));
    drop(cluster);

    let layout = ClusterLayout::new(1).unwrap();
    let (dirs, report) = restore_all(&bumped, &layout, &saved.dir.path().join("again"), &[]);
    assert_eq!(report["liveKeys"], saved.model.live.len() + 1);
    let cluster = start(EtcdVersion::V3_6, layout, &dirs);
    assert_eq!(report["hash"], same_hash(&cluster));
    assert!(restored(&cluster, 0) == saved.model.live);
}

/// `--keep-history` keeps superseded revisions in the file, hidden from clients and gone after the next
/// compaction, in every version.
#[test]
fn kept_history_is_hidden_and_compacted_away() {
    for version in EtcdVersion::ALL {
        lab::or_skip!(peers::etcd(version));
        let saved = Saved::new(version);
        let layout = ClusterLayout::new(3).unwrap();
        let dir = saved.dir.path().join("history");
        let (dirs, report) = restore_all(&saved.path(), &layout, &dir, &["--keep-history"]);
        assert!(report["revisions"].as_u64() > report["liveKeys"].as_u64());
        let mut cluster = start(version, layout, &dirs);
        assert_eq!(report["hash"], same_hash(&cluster));
        old_watch_is_compacted(&cluster, saved.model.revision);
        assert!(restored(&cluster, 0) == saved.model.live);
        put(&cluster, 0, "new-1");
        let client = cluster.client(0).unwrap();
        cluster.block_on(client.compact(revision(&cluster, 0), true)).unwrap();
        same_hash(&cluster);
        cluster.stop(0).unwrap();
        let inspected = support::lifeboat_json(["inspect".into(), dirs[0].join("member/snap/db")]);
        // The mark of the bump stays, as etcdutl's does.
        assert_eq!(inspected["revisions"].as_u64(), inspected["liveKeys"].as_u64().map(|keys| keys + 1));
    }
}

/// The file says that its digest is right, which it is: what the salvage could not save is not in it.
#[test]
fn a_restore_reports_what_a_salvage_has_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cut, saved) = (path("cut.db"), path("saved.db"));
    let whole = lab::fixture::kubernetes_snapshot();
    fs_err::write(&cut, &fs_err::read(&whole).unwrap()[..400_000]).unwrap();
    assert_eq!(lifeboat(["salvage", &cut, &saved]).status.code(), Some(3));
    let whole = whole.display().to_string();
    for (source, lacks) in [(&saved, true), (&whole, false)] {
        let target = path(&format!("restored-{lacks}"));
        let member =
            ["--name", "m1", "--initial-cluster", "m1=http://127.0.0.1:2380", "--initial-cluster-token", "t"];
        let printed = lifeboat_ok([&["restore", source, "--data-dir", &target], member.as_slice()].concat());
        assert_eq!(printed.contains("are missing"), lacks, "{source}: {printed}");
    }
}
