//! Several sources beside each other: which is freshest, whose histories agree, where they diverge, what each has that
//! another lacks; and a restore of the freshest.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{DeleteRangeRequest, RangeRequest};
use serde_json::Value;

use crate::support::{
    eventually, fails, lifeboat, lifeboat_json, restore_all, save, save_args, served, text,
};

const VERSION: EtcdVersion = EtcdVersion::V3_6;

fn put(cluster: &Cluster, member: usize, keys: impl IntoIterator<Item = String>) {
    let client = cluster.client(member).unwrap();
    for key in keys {
        cluster.block_on(client.put(key, "x", 0)).unwrap();
    }
}

fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

/// `lifeboat inspect` of several sources, and how it ended.
fn inspect(sources: &[&Path], more: &[&str]) -> (Value, Option<i32>) {
    let args = ["inspect".into(), "-o".into(), "json".into()].into_iter();
    let args = args.chain(sources.iter().map(|source| source.display().to_string()));
    let output = lifeboat(args.chain(more.iter().map(|arg| (*arg).to_owned())));
    let body = serde_json::from_slice(&output.stdout);
    (body.unwrap_or_else(|_| panic!("{}", text(&output.stderr))), output.status.code())
}

/// The JSON of one source.
fn of<'a>(body: &'a Value, source: &Path) -> &'a Value {
    let sources = body["sources"].as_array().unwrap();
    sources.iter().find(|found| found["source"] == source.display().to_string()).unwrap()
}

/// The keys of a list, deleted ones with a `-` before.
fn listed(changes: &Value) -> BTreeSet<String> {
    let key = |key: &Value| {
        let name = String::from_utf8(STANDARD.decode(key["key"].as_str().unwrap()).unwrap()).unwrap();
        if key["deleted"] == true { format!("-{name}") } else { name }
    };
    changes["keys"].as_array().unwrap().iter().map(key).collect()
}

fn expected(keys: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    keys.into_iter().map(Into::into).collect()
}

/// Three members that die one after the other; the second one's death leaves the last without a quorum.
fn one_after_the_other(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let mut cluster = ClusterBuilder::new(version).members(3).start().unwrap();
    put(&cluster, 0, keys("early", 20));
    cluster.kill(0).unwrap();
    let client = cluster.client(1).unwrap();
    // What is sent to a leader that is dead may be lost or not.
    eventually("the others have a leader", || cluster.block_on(client.range(RangeRequest::all())).ok());
    put(&cluster, 1, keys("middle", 10));
    let compacted = cluster.block_on(client.delete_range(DeleteRangeRequest::key("early3"))).unwrap();
    let compacted = compacted.header.revision;
    cluster.block_on(client.compact(compacted, true)).unwrap();
    put(&cluster, 1, keys("late", 5));
    let acknowledged = served(&cluster, 1);
    let to = tempfile::tempdir().unwrap();
    let snapshot = to.path().join("later.db");
    lifeboat_json(save_args(&cluster, 1, &snapshot, &[]));
    (1..3).for_each(|member| cluster.kill(member).unwrap());
    let dirs: Vec<PathBuf> = (0..3).map(|member| cluster.data_dir(member).to_owned()).collect();
    let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();

    let (body, code) = inspect(&dirs, &["--uncommitted"]);
    assert_eq!(code, Some(0), "{body:#}");
    let freshest = body["freshest"].as_str().unwrap();
    assert!(freshest != dirs[0].to_str().unwrap(), "{body:#}");
    assert_eq!((&body["chosen"], &body["undecided"]), (&body["freshest"], &Value::Null));
    let lagging = of(&body, dirs[0]);
    assert_eq!((&lagging["rank"], &lagging["history"]), (&3.into(), &"agrees-in-part".into()));
    assert_eq!(lagging["revision"], 21);
    assert_eq!(lagging["alone"]["revisions"], 0);
    // The deletion is compacted away, and the list is marked incomplete.
    assert_eq!(lagging["lacks"]["complete"], false);
    assert_eq!(listed(&lagging["lacks"]), expected(keys("middle", 10).into_iter().chain(keys("late", 5))));
    let last = of(&body, dirs[1]);
    assert_eq!((&last["revision"], &last["compactRevision"]), (&37.into(), &compacted.into()));
    assert_eq!(&of(&body, dirs[2])["revision"], &last["revision"]);
    for pair in body["pairs"].as_array().unwrap() {
        assert!(pair["history"] != "diverged" && pair["history"] != "unknown", "{pair}");
    }
    // Of the two that are compacted alike, everything can be compared.
    let (two, _) = inspect(&dirs[1..], &["--uncommitted"]);
    assert_eq!(two["pairs"][0]["history"], "agrees");
    assert_eq!(of(&two, dirs[1])["hash"], of(&two, dirs[2])["hash"]);
    assert!(of(&two, dirs[1])["hash"]["hash"].is_u64());

    furthest_log_is_named(&dirs);
    // What was saved from another member later shows what became of the end of a log.
    let stdout = text(&lifeboat(["inspect".as_ref(), dirs[0], &snapshot]).stdout);
    assert!(
        stdout.contains("freshest") && !stdout.contains("not known to be committed and ignored"),
        "{stdout}"
    );

    // No acknowledged write is lost, whatever the order the sources are named in.
    let layout = ClusterLayout::new(1).unwrap();
    let more = [dirs[1].to_str().unwrap(), dirs[2].to_str().unwrap(), "--uncommitted"];
    let (restored, report) = restore_all(dirs[0], &layout, &to.path().join("restored"), &more);
    assert_eq!(report["source"], freshest);
    assert_eq!(report["comparison"]["chosen"], freshest);
    let cluster = ClusterBuilder::new(version).layout(layout).restored(restored).start().unwrap();
    assert_eq!(served(&cluster, 0), acknowledged);
}

/// A leader made by `--force-new-cluster` had no majority: entries that it lacks may have been acknowledged.
#[test]
fn a_forced_new_cluster_does_not_decide_what_is_committed() {
    lab::or_skip!(peers::etcd(VERSION));
    let mut cluster = ClusterBuilder::new(VERSION).members(3).start().unwrap();
    put(&cluster, 0, keys("early", 5));
    cluster.kill(1).unwrap();
    let client = cluster.client(0).unwrap();
    eventually("the others have a leader", || cluster.block_on(client.range(RangeRequest::all())).ok());
    put(&cluster, 0, keys("acknowledged", 3));
    (0..3).filter(|member| *member != 1).for_each(|member| cluster.kill(member).unwrap());
    cluster.restart_with(1, &["--force-new-cluster"]).unwrap();
    cluster.wait_healthy(Duration::from_secs(30)).unwrap();
    put(&cluster, 1, keys("forced", 20));
    cluster.kill(1).unwrap();
    let dirs = [0, 1].map(|member| cluster.data_dir(member));
    let (body, _) = inspect(&dirs, &[]);
    let entries = of(&body, dirs[0])["raft"]["uncommittedEntries"].as_u64().unwrap();
    let stdout = text(&lifeboat(["inspect".as_ref(), dirs[0], dirs[1]]).stdout);
    assert_eq!(stdout.contains("not known to be committed and ignored"), entries > 0, "{stdout}");
}

/// Entries that clients may count on are not left out without a word.
fn furthest_log_is_named(dirs: &[&Path]) {
    let (body, _) = inspect(dirs, &[]);
    let raft = |source: &Value| {
        let number = |name: &str| source["raft"][name].as_u64().unwrap();
        (number("lastTerm"), number("lastIndex"), Reverse(number("uncommittedEntries")))
    };
    let (_, _, Reverse(entries)) = body["sources"].as_array().unwrap().iter().map(raft).max().unwrap();
    let printed = text(&lifeboat(["inspect"].iter().map(Path::new).chain(dirs.iter().copied())).stdout);
    let words = match entries {
        1 => "ends with 1 entry not known to be committed".to_owned(),
        entries => format!("ends with {entries} entries not known to be committed"),
    };
    assert_eq!(printed.contains(&words), entries > 0, "{printed}");
    let to = tempfile::tempdir().unwrap();
    let (to, cluster) = (to.path().join("restored"), ClusterLayout::new(1).unwrap().initial_cluster());
    let to = ["--all-members", to.to_str().unwrap(), "--initial-cluster", &cluster];
    let args = ["restore"].into_iter().chain(dirs.iter().map(|dir| dir.to_str().unwrap())).chain(to);
    let printed = text(&lifeboat(args).stdout);
    assert_eq!(printed.contains(&words), entries > 0, "{printed}");
}

#[test]
fn members_that_die_one_after_the_other_3_4() {
    one_after_the_other(EtcdVersion::V3_4);
}

#[test]
fn members_that_die_one_after_the_other_3_5() {
    one_after_the_other(EtcdVersion::V3_5);
}

#[test]
fn members_that_die_one_after_the_other_3_6() {
    one_after_the_other(EtcdVersion::V3_6);
}

#[test]
fn members_that_die_one_after_the_other_3_7() {
    one_after_the_other(EtcdVersion::V3_7);
}

/// A member with some keys, stopped.
fn stopped(version: EtcdVersion) -> Cluster {
    let mut cluster = ClusterBuilder::new(version).start().unwrap();
    put(&cluster, 0, keys("common", 10));
    cluster.stop(0).unwrap();
    cluster
}

/// Starts an etcd on a copy with `--force-new-cluster`, writes, and keeps what it leaves.
fn forked(from: &Path, to: &Path, write: impl Fn(&Cluster)) {
    let layout = ClusterLayout::new(1).unwrap();
    copy_dir(from, to).unwrap();
    let builder = ClusterBuilder::new(VERSION).layout(layout).restored([to]);
    let mut cluster = builder.flag("--force-new-cluster").start().unwrap();
    write(&cluster);
    cluster.stop(0).unwrap();
}

/// Two that went on from the same state, each by itself: neither is an earlier state of the other, and no tool can say
/// which one is right.
#[test]
fn diverged_histories_are_reported_with_the_revision_and_never_chosen_by_default() {
    lab::or_skip!(peers::etcd(VERSION));
    let common = stopped(VERSION);
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
    forked(common.data_dir(0), &one, |cluster| {
        put(cluster, 0, ["same".into()]);
        put(cluster, 0, keys("one", 4));
    });
    forked(common.data_dir(0), &other, |cluster| {
        put(cluster, 0, ["same".into()]);
        let client = cluster.client(0).unwrap();
        cluster.block_on(client.delete_range(DeleteRangeRequest::key("common7"))).unwrap();
        put(cluster, 0, ["other0".into()]);
    });

    let (body, code) = inspect(&[&other, &one], &[]);
    assert_eq!(code, Some(3), "{body:#}");
    assert_eq!(body["freshest"], one.to_str().unwrap());
    assert_eq!(body["chosen"], Value::Null);
    let pair = &body["pairs"][0];
    // Ten keys from revision 2 on, and one more alike.
    assert_eq!((&pair["history"], &pair["diverged"]["revision"]), (&"diverged".into(), &13.into()));
    assert_eq!(pair["diverged"]["exact"], true);
    assert_eq!(pair["diverged"]["changes"][0]["key"], STANDARD.encode("one0"));
    assert_eq!(pair["diverged"]["changes"][1]["deleted"], true);
    let diverged = of(&body, &other);
    assert_eq!(listed(&diverged["lacks"]), expected(keys("one", 4)));
    assert_eq!(listed(&diverged["alone"]), expected(["-common7", "other0"]));
    assert_eq!(
        (&diverged["lacks"]["complete"], &diverged["alone"]["complete"]),
        (&true.into(), &true.into())
    );
    let stdout = text(&lifeboat(["inspect".as_ref(), other.as_os_str(), one.as_os_str()]).stdout);
    for words in ["DIVERGED", "at revision 13", "deletes common7", "puts one0", "cannot choose between these"]
    {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }

    // What both go on from is an earlier state of both.
    let (body, _) = inspect(&[common.data_dir(0), &one, &other], &[]);
    assert_eq!(of(&body, common.data_dir(0))["history"], "agrees");
    refused_unless_named(dir.path(), &one, &other);
    // It speaks for neither.
    let (body, code) = inspect(&[&one, &other, common.data_dir(0)], &[]);
    assert_eq!((code, &body["chosen"]), (Some(3), &Value::Null));
}

fn refused_unless_named(dir: &Path, one: &Path, other: &Path) {
    let layout = ClusterLayout::new(1).unwrap();
    let target = dir.join("restored");
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let cluster = layout.initial_cluster();
    let restore = |sources: &[&str], more: &[&str]| {
        let to = ["--all-members", target.to_str().unwrap(), "--initial-cluster", &cluster];
        lifeboat([&["restore"], sources, &to, more].concat())
    };
    fails(&restore(&[one, other], &[]), 4, &["refused", "DIVERGED from", "at revision 13", "--take"]);
    assert!(!target.exists());
    fails(&restore(&[one, other], &["--take", "elsewhere"]), 2, &["not one of the sources"]);
    fails(&restore(&[one], &["--take", one]), 2, &["required"]);
    let output = restore(&[one, other], &["--take", other]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("selected with --take") && printed.contains("DIVERGED from"), "{printed}");
    let dirs: Vec<_> = layout.members().iter().map(|member| target.join(&member.name)).collect();
    let cluster = ClusterBuilder::new(VERSION).layout(layout).restored(dirs).start().unwrap();
    let found = served(&cluster, 0);
    assert!(found.contains_key(b"other0".as_slice()) && !found.contains_key(b"one0".as_slice()));
}

/// A snapshot that is restored twice makes two clusters, neither of which goes on from the other; and what the old
/// cluster wrote after the snapshot is in neither.
#[test]
fn clusters_restored_from_one_snapshot_diverge_at_their_first_write() {
    lab::or_skip!(peers::etcd(VERSION));
    let mut old = ClusterBuilder::new(VERSION).start().unwrap();
    put(&old, 0, keys("common", 10));
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("snapshot.db");
    save(&old, &snapshot);
    put(&old, 0, keys("common", 3));
    old.stop(0).unwrap();
    let restored = |name: &str, writes: usize| {
        let layout = ClusterLayout::new(1).unwrap();
        let (dirs, report) = restore_all(&snapshot, &layout, &dir.path().join(name), &[]);
        let mut cluster = ClusterBuilder::new(VERSION).layout(layout).restored(&dirs).start().unwrap();
        put(&cluster, 0, keys(name, writes));
        cluster.stop(0).unwrap();
        (dirs[0].clone(), report["revision"].as_i64().unwrap())
    };
    let ((one, begun), (other, _)) = (restored("one", 3), restored("other", 5));
    let (body, code) = inspect(&[&one, &other], &[]);
    assert_eq!((code, &body["freshest"]), (Some(3), &other.to_str().unwrap().into()));
    let diverged = &body["pairs"][0]["diverged"];
    assert_eq!((&diverged["revision"], &diverged["exact"]), (&(begun + 1).into(), &true.into()));

    // The snapshot fits, but an old member that wrote since does not: its keys are older in the new cluster.
    let (body, _) = inspect(&[&one, &snapshot, old.data_dir(0)], &[]);
    assert_eq!(of(&body, &snapshot)["history"], "agrees-in-part");
    let diverged = of(&body, old.data_dir(0));
    assert_eq!(diverged["history"], "diverged", "{body:#}");
    assert_eq!(body["chosen"], Value::Null);
    let (body, code) = inspect(&[&one, &snapshot], &[]);
    assert_eq!((code, &body["chosen"]), (Some(3), &Value::Null));
    let why = body["undecided"].as_str().unwrap();
    assert!(why.contains("cannot be determined") && why.contains("no member in common"), "{why}");
    let (body, _) = inspect(&[&one, &snapshot, old.data_dir(0)], &[]);
    let pair = |one: &Path, other: &Path| {
        let names: BTreeSet<_> = [one, other].iter().map(|path| path.display().to_string()).collect();
        let pairs = body["pairs"].as_array().unwrap();
        let is = |pair: &&Value| {
            pair["sources"].as_array().unwrap().iter().all(|name| names.contains(name.as_str().unwrap()))
        };
        pairs.iter().find(is).unwrap()["history"].clone()
    };
    assert_eq!(pair(&snapshot, old.data_dir(0)), "agrees");
}

/// What cannot be read is named, and the freshest of the rest is taken; a sound db before a log without one.
#[test]
fn damaged_sources_are_left_out_and_reported() {
    lab::or_skip!(peers::etcd(VERSION));
    let cluster = stopped(VERSION);
    let dir = tempfile::tempdir().unwrap();
    let [cut, empty, wiped, sound] = ["cut", "empty", "wiped", "sound"].map(|name| dir.path().join(name));
    copy_dir(cluster.data_dir(0), &cut).unwrap();
    let db = fs_err::OpenOptions::new().write(true).open(cut.join("member/snap/db")).unwrap();
    db.set_len(5000).unwrap();
    fs_err::write(&empty, b"").unwrap();
    fs_err::create_dir(&wiped).unwrap();
    let sources = [cut.as_path(), &empty, cluster.data_dir(0), &wiped];
    let (body, code) = inspect(&sources, &[]);
    assert_eq!((code, &body["chosen"]), (Some(3), &cluster.data_dir(0).to_str().unwrap().into()));
    // Its whole log is there, from its first entry on.
    assert!(of(&body, &cut)["unfit"].is_null());
    for (source, words) in [(&empty, "an empty file"), (&wiped, "without member/")] {
        let unfit = of(&body, source);
        assert!(unfit["unfit"].as_str().unwrap().contains(words), "{unfit}");
        assert!(!unfit["remedy"].as_str().unwrap().is_empty() && unfit["rank"].is_null());
    }
    let layout = ClusterLayout::new(1).unwrap();
    let more: Vec<&str> = sources[1..].iter().map(|source| source.to_str().unwrap()).collect();
    let (_, report) = restore_all(&cut, &layout, &sound, &more);
    assert_eq!(report["source"], cluster.data_dir(0).to_str().unwrap());

    let broken = [empty.to_str().unwrap(), wiped.to_str().unwrap()];
    let to = ["--all-members", "never", "--initial-cluster", "m1=http://127.0.0.1:1"];
    fails(
        &lifeboat([&["restore"], &broken[..], &to].concat()),
        3,
        &["no source is usable", "empty", "wiped"],
    );
    // Whatever would change the answer ends it.
    let nope = dir.path().join("nope");
    fails(&lifeboat(["inspect".as_ref(), cut.as_os_str(), nope.as_os_str()]), 2, &["no such file"]);
    fails(&lifeboat(["inspect".as_ref(), cut.as_os_str(), cut.as_os_str()]), 2, &["given twice"]);
    fails(&lifeboat([&["inspect"], &broken[..], &["member:m1"]].concat()), 2, &["only reads local sources"]);
    fails(
        &lifeboat([&["inspect"], &broken[..], &["--wal-dir", "x"]].concat()),
        2,
        &["--wal-dir requires a single source"],
    );
    fails(
        &lifeboat([&["inspect"], &broken[..], &["--uncommitted"]].concat()),
        2,
        &["--uncommitted requires a data dir"],
    );
}

/// The running member of a broken cluster is likely the freshest: an answer without it would be a wrong one.
#[test]
fn a_source_in_use_fails_the_comparison() {
    lab::or_skip!(peers::etcd(VERSION));
    let cluster = ClusterBuilder::new(VERSION).start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("snapshot.db");
    put(&cluster, 0, keys("common", 2));
    save(&cluster, &snapshot);
    let output = lifeboat(["inspect".as_ref(), snapshot.as_os_str(), cluster.data_dir(0).as_os_str()]);
    fails(&output, 4, &["an etcd is running"]);
}
