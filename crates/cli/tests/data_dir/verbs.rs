//! The verbs on a data dir: no special case, and nothing in it is touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{AlarmMember, AlarmType};

use crate::crafted::Base;
use crate::peer::serve;
use crate::raft::{Entry, Proto, request_of};
use crate::requests::LEASES;
use crate::support::{PASSWORD, eventually, fails, lifeboat, lifeboat_json, lifeboat_ok, restore_all, text};

const VERSION: EtcdVersion = EtcdVersion::V3_6;

/// A member whose db lacks nearly all of its log.
fn lagging() -> Cluster {
    let builder = ClusterBuilder::new(VERSION).flag("--backend-batch-interval=1h");
    builder.flag("--backend-batch-limit=1000000").unsafe_no_fsync().start().unwrap()
}

/// Every file and directory with its bytes and the time of its last change.
fn everything(dir: &Path) -> BTreeMap<String, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs_err::metadata(&path).unwrap();
        let bytes = if metadata.is_dir() {
            found.extend(everything(&path));
            Vec::new()
        } else {
            fs_err::read(&path).unwrap()
        };
        found.insert(path.display().to_string(), (metadata.modified().unwrap(), bytes));
    }
    found
}

#[test]
fn every_verb_reads_a_data_dir_without_changing_it() {
    lab::or_skip!(peers::etcd(VERSION));
    let mut cluster = lagging();
    let client = cluster.client(0).unwrap();
    let member = cluster.block_on(async {
        for i in 0..50 {
            client.put(format!("/registry/pods/default/p{}", i % 20), format!("{i}"), 0).await.unwrap();
        }
        let member = client.status().await.unwrap().header.member_id;
        let alarm = AlarmMember { member_id: member, alarm: AlarmType::Nospace.into() };
        client.activate(alarm).await.unwrap();
        // Puts are refused now, and the deletes that follow write the commit index down.
        client.put("refused", "x", 0).await.unwrap_err();
        for _ in 0..2 {
            client.delete_range(lifeboat_client::messages::DeleteRangeRequest::key("none")).await.unwrap();
        }
        member
    });
    let data_dir = cluster.data_dir(0).to_owned();
    let path = data_dir.display().to_string();
    for verb in ["inspect", "check", "hash"] {
        fails(&lifeboat([verb, &path]), 4, &["an etcd is running", "stop the member first"]);
    }
    cluster.kill(0).unwrap();
    let before = everything(&data_dir);

    let inspected = lifeboat_json(["inspect", &path]);
    assert_eq!(inspected["kind"], "data-dir");
    assert_eq!(inspected["revision"], 51);
    assert_eq!(inspected["liveKeys"], 20);
    assert_eq!(inspected["alarms"][0]["alarm"], "NOSPACE");
    let raft = &inspected["raft"];
    assert_eq!(raft["memberId"], format!("{member:x}"));
    assert_eq!(raft["memberId"], inspected["members"][0]["id"]);
    let number = |name: &str| raft[name].as_u64().unwrap();
    assert!(number("consistentIndex") + 50 < number("commit"), "{raft}");
    // The only voter of its cluster has committed all that is in its log.
    assert_eq!((&raft["countedBy"], number("uncommittedEntries")), (&"only-voter".into(), 0));
    assert_eq!((number("replayedTo"), number("term"), number("lastTerm")), (number("lastIndex"), 2, 2));
    assert!(number("lastIndex") > number("commit"), "{raft}");

    let report = lifeboat(["check", &path, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let ids: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["wal.only-voter", "etcd.alarm", "snapshot.no-digest"]);
    assert_eq!(report["revisions"], 50);
    assert_eq!(
        lifeboat_ok(["get", &path, "--key", "/registry/pods/default/p3"]),
        "/registry/pods/default/p3\n43\n"
    );

    let target = tempfile::tempdir().unwrap();
    let hash = &lifeboat_json(["hash", &path])["hash"];
    let (_, report) =
        restore_all(&data_dir, &ClusterLayout::new(1).unwrap(), target.path(), &["--bump-revision", "0"]);
    assert_eq!(&report["hash"], hash);
    assert_eq!(report["uncommittedEntries"], raft["uncommittedEntries"]);
    assert!(everything(&data_dir) == before, "the data dir was changed");
    assert_eq!(serve(VERSION, &data_dir, &["--force-new-cluster"]).values().len(), 20);
}

#[test]
fn the_log_is_named_only_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.db");
    fs_err::write(&file, b"x").unwrap();
    let file = file.display().to_string();
    fails(&lifeboat(["inspect", &file, "--uncommitted"]), 2, &["--uncommitted requires a data dir"]);
}

/// What a server makes up when it applies a request, and what patch releases answer differently, is not replayed:
/// better no answer than a wrong one.
#[test]
fn unsupported_requests_are_refused_by_name() {
    lab::or_skip!(peers::etcd(VERSION));
    let base = Base::with_users(VERSION, true);
    let refused = |user: &str, tag: u32, message: Proto, words: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let entry = Entry::normal(request_of(user, 1_000_000, tag, message));
        let data_dir = base.with(&[entry], 2, dir.path());
        let path = data_dir.display().to_string();
        for verb in ["inspect", "hash"] {
            let words = [&["log entry 2", "cannot be replayed", "--force-new-cluster"], words].concat();
            fails(&lifeboat([verb, &path]), 4, &words);
        }
        let output = lifeboat(["check", &path, "-o", "json"]);
        assert_eq!(output.status.code(), Some(3));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["findings"][0]["id"], "wal.unsupported-request");
        // The db alone is read when it is named.
        lifeboat_ok(["inspect".to_owned(), format!("{path}/member/snap/db")]);
    };
    let proto = Proto::default;
    // As 3.4 logs it, and servers after an upgrade find it.
    let clear = proto().bytes(1, "friend").bytes(2, PASSWORD);
    refused("root", 1100, clear, &["a password that etcd hashes with a salt of its own"]);
    // `app` may write a/1 and not a, and reads a and not z.
    let put = |key: &str| proto().bytes(1, key).bytes(2, "new");
    let op = |place: u32, op: Proto| proto().bytes(2, proto().bytes(place, op));
    let patch = ["patch releases of its etcd permit differently"];
    refused("app", 6, op(4, op(2, put("a"))), &patch);
    refused("app", 6, op(1, proto().bytes(1, "z")), &patch);
    refused("app", 6, op(2, put("a/1").number(3, LEASES[0])), &patch);
    let backwards = op(3, proto().bytes(1, "b").bytes(2, "a"));
    refused("app", 6, backwards, &["a range that ends before it begins, under permissions"]);
}

/// With etcd's `--wal-dir` the data dir has no log, and every verb takes its directory.
#[test]
fn a_separate_wal_dir_is_read() {
    lab::or_skip!(peers::etcd(VERSION));
    let elsewhere = tempfile::tempdir().unwrap();
    let wal_dir = elsewhere.path().join("wal");
    let mut cluster = ClusterBuilder::new(VERSION)
        .flag(format!("--wal-dir={}", wal_dir.display()))
        .flag("--backend-batch-interval=1h")
        .flag("--backend-batch-limit=1000000")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    let client = cluster.client(0).unwrap();
    for i in 0..30 {
        cluster.block_on(client.put("key", format!("{i}"), 0)).unwrap();
    }
    cluster.kill(0).unwrap();
    let data_dir = cluster.data_dir(0);
    let path = data_dir.display().to_string();
    fails(&lifeboat(["inspect", &path]), 3, &["no write-ahead log"]);
    let log = ["--uncommitted", "--wal-dir", wal_dir.to_str().unwrap()];
    let verb = |verb: &str| lifeboat_json([&[verb, &path], log.as_slice()].concat());
    assert_eq!(verb("inspect")["revision"], 31);
    fails(&lifeboat(["inspect", "--raft", &path]), 3, &["no write-ahead log", "if etcd ran with --wal-dir"]);
    let raft = &lifeboat_json(["inspect", "--raft", &path, "--wal-dir", log[2]])["raft"];
    assert_eq!(raft["memberId"], verb("inspect")["raft"]["memberId"]);
    assert_eq!(verb("check")["ok"], true);
    let hash = &verb("hash")["hash"];
    let read = lifeboat_ok([&["get", &path, "--key", "key"], log.as_slice()].concat());
    assert_eq!(read, "key\n29\n");
    let saved = elsewhere.path().join("saved.db").display().to_string();
    assert_eq!(&lifeboat_json([&["save", &path, &saved], log.as_slice()].concat())["hash"], hash);
    let log = ["--uncommitted", "--source-wal-dir", log[2], "--bump-revision", "0"];
    let layout = ClusterLayout::new(1).unwrap();
    let (_, report) = restore_all(data_dir, &layout, &elsewhere.path().join("restored"), &log);
    assert_eq!(&report["hash"], hash);
    fails(&lifeboat(["inspect", &saved, "--wal-dir", "x"]), 2, &["a WAL dir requires a data dir"]);
    fails(&lifeboat(["save", "http://127.0.0.1:1", "x.db", "--wal-dir", "x"]), 2, &["require a data dir"]);
}

/// A log that was cut says nothing of what its db has; and a member that waits for the others has both open.
#[test]
fn a_db_that_goes_further_than_its_log_is_seen_while_etcd_runs() {
    lab::or_skip!(peers::etcd(VERSION));
    let mut cluster = ClusterBuilder::new(VERSION).unsafe_no_fsync().start().unwrap();
    let client = cluster.client(0).unwrap();
    for i in 0..50 {
        cluster.block_on(client.put(format!("k{i}"), "v".repeat(1000), 0)).unwrap();
    }
    let path = cluster.data_dir(0).to_str().unwrap().to_owned();
    let ends = || {
        let raft = lifeboat_json(["inspect", "--raft", &path])["raft"].clone();
        ["lastIndex", "dbIndex", "dbTerm"].map(|end| raft[end].as_u64().unwrap())
    };
    let [last, ..] = ends();
    cluster.stop(0).unwrap();
    assert_eq!(ends()[1], last);
    let wal = fs_err::read_dir(cluster.data_dir(0).join("member/wal")).unwrap();
    let segment =
        wal.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "wal"));
    fs_err::OpenOptions::new().write(true).open(segment.unwrap()).unwrap().set_len(30_000).unwrap();
    let [cut, db, term] = ends();
    assert!(cut < last && db == last && term == 2, "{cut} of {last}, db at {db} of term {term}");
}

#[test]
fn a_corrupt_alarm_for_the_member_itself_is_reported() {
    lab::or_skip!(peers::etcd(VERSION));
    // Another member's says nothing against this one's data; that of 0 is raised where etcd cannot tell.
    let of: [fn(u64) -> u64; 3] = [|own| own, |_| 0, |own| own ^ 1];
    for (of, is_said) in of.into_iter().zip([true, true, false]) {
        let mut cluster = ClusterBuilder::new(VERSION).unsafe_no_fsync().start().unwrap();
        let client = cluster.client(0).unwrap();
        let own = cluster.block_on(client.status()).unwrap().header.member_id;
        let path = cluster.data_dir(0).to_str().unwrap().to_owned();
        let alarm = AlarmMember { member_id: of(own), alarm: AlarmType::Corrupt.into() };
        cluster.block_on(client.activate(alarm)).unwrap();
        cluster.kill(0).unwrap();
        let target = tempfile::tempdir().unwrap();
        let snapshot = target.path().join("saved.db").display().to_string();
        for verb in [&["inspect", &path][..], &["hash", &path], &["save", &path, &snapshot]] {
            let output = lifeboat(verb);
            let stderr = text(&output.stderr);
            assert!(output.status.success(), "{verb:?}: {stderr}");
            assert_eq!(stderr.contains("a CORRUPT alarm is raised"), is_said, "{verb:?}: {stderr}");
        }
    }
}

/// A removed member has nothing of what its cluster did since: every verb that reads it warns about that.
#[test]
fn a_removed_member_is_reported() {
    lab::or_skip!(peers::etcd(VERSION));
    let mut cluster = ClusterBuilder::new(VERSION).members(3).unsafe_no_fsync().start().unwrap();
    let removed = cluster.client(2).unwrap();
    let [kept, removed] = [cluster.client(0).unwrap(), removed];
    let id = cluster.block_on(removed.status()).unwrap().header.member_id;
    cluster.block_on(kept.put("k", "v", 0)).unwrap();
    // Not before its members have known each other for five seconds.
    eventually("the member is removed", || cluster.block_on(kept.member_remove(id)).ok());
    // It notices, and exits; a failed request may be due to a busy machine.
    let log = || fs_err::read_to_string(cluster.log(2)).unwrap();
    eventually("the member ends", || log().contains("has been permanently removed").then_some(()));
    cluster.kill(2).unwrap();
    let path = cluster.data_dir(2).to_str().unwrap().to_owned();
    for verb in [["inspect", &path], ["hash", &path]] {
        let output = lifeboat(verb);
        let stderr = text(&output.stderr);
        assert!(
            output.status.success() && stderr.contains("was removed from its cluster"),
            "{verb:?}: {stderr}"
        );
    }
    let output = lifeboat(["check", &path]);
    assert_eq!(
        (text(&output.stdout).matches("etcd.member-removed").count(), text(&output.stderr)),
        (1, String::new())
    );
    let target = tempfile::tempdir().unwrap();
    let output = lifeboat(["salvage", &path, target.path().join("out.db").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("was removed from its cluster"));
}
