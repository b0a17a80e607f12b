//! States of data dirs that were reported from the field.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lab::cluster::{Cluster, ClusterBuilder, ClusterLayout};
use lab::fixture::FieldInput;
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::{Replay, open, open_with};
use serde_json::Value;

use crate::peer::serve;
use crate::support::{lifeboat, lifeboat_json, lifeboat_ok, restore_all, served, text};

fn unpacked(input: FieldInput) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    input.unpack(dir.path());
    dir
}

/// Expects every verb to read this many keys from a data dir; returns the warnings.
fn every_verb_has(data_dir: &Path, keys: usize, version: EtcdVersion) -> String {
    let to = tempfile::tempdir().unwrap();
    let path = data_dir.to_str().unwrap();
    let output = lifeboat(["inspect", path, "-o", "json"]);
    let inspected: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!((output.status.code(), &inspected["liveKeys"]), (Some(0), &keys.into()), "inspect");
    let got = lifeboat_json(["get", path, "--prefix", "", "--keys-only"]);
    assert_eq!(got["count"], keys, "get: {got}");
    let checked = lifeboat(["check", path]);
    assert!(!text(&checked.stdout).contains("DAMAGED"), "{}", text(&checked.stdout));
    let hash = &lifeboat_json(["hash", path])["hash"];
    let saved = to.path().join("saved.db");
    assert_eq!(&lifeboat_json(["save", path, saved.to_str().unwrap()])["hash"], hash, "save");
    assert_eq!(lifeboat_json(["inspect", saved.to_str().unwrap()])["liveKeys"], keys, "save");
    let salvaged = to.path().join("salvaged.db");
    lifeboat(["salvage", path, salvaged.to_str().unwrap()]);
    assert_eq!(lifeboat_json(["inspect", salvaged.to_str().unwrap()])["liveKeys"], keys, "salvage");
    let layout = ClusterLayout::new(1).unwrap();
    let more = ["--etcd-version", &version.to_string()];
    let (dirs, report) = restore_all(data_dir, &layout, &to.path().join("restored"), &more);
    assert_eq!(report["liveKeys"], keys, "restore");
    let new = ClusterBuilder::new(version).layout(layout).restored(dirs).unsafe_no_fsync().start().unwrap();
    assert_eq!(served(&new, 0).len(), keys, "what the restored cluster serves");
    text(&output.stderr)
}

/// etcd 3.4 answers `/health` with a quorum read of the v2 API, which is in the log then, as every request is.
#[test]
fn health_probes_of_3_4_change_nothing() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_4));
    let dir = unpacked(FieldInput::HEALTH_PROBE);
    let printed = every_verb_has(&dir.path().join("h-3.4"), 8, EtcdVersion::V3_4);
    assert_eq!(printed, "");
}

/// Puts keys, with a request of the v2 API after each.
fn put_between_v2(cluster: &Cluster, v2: impl Fn(&str)) {
    let client = cluster.client(0).unwrap();
    for key in 0..8 {
        cluster.block_on(client.put(format!("k{key}"), "v", 0)).unwrap();
        (0..cluster.size()).for_each(|member| v2(cluster.client_endpoint(member)));
    }
}

/// A request of the v2 API, or of `/health`.
fn http(endpoint: &str, method: &str, path: &str, form: &str) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = form.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    let kind = "Content-Type: application/x-www-form-urlencoded";
    stream.write_all(format!("{head}{kind}\r\n\r\n{form}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
}

fn lagging(version: EtcdVersion, members: usize) -> ClusterBuilder {
    let builder = ClusterBuilder::new(version).members(members).unsafe_no_fsync();
    builder.flag("--backend-batch-interval=1h").flag("--backend-batch-limit=1000000")
}

/// A health probe of a running member, killed and after a clean stop, alone and of three.
#[test]
fn reads_of_the_v2_api_change_nothing() {
    for version in [EtcdVersion::V3_4, EtcdVersion::V3_5] {
        lab::or_skip!(peers::etcd(version));
        for (members, clean) in [(1, false), (3, false), (3, true)] {
            let mut cluster = lagging(version, members).flag("--enable-v2=true").start().unwrap();
            put_between_v2(&cluster, |endpoint| {
                http(endpoint, "GET", "/health", "");
                http(endpoint, "GET", "/v2/keys/?quorum=true", "");
            });
            for member in 0..members {
                if clean { cluster.stop(member) } else { cluster.kill(member) }.unwrap();
            }
            let dirs: Vec<PathBuf> = (0..members).map(|member| cluster.data_dir(member).into()).collect();
            let printed = every_verb_has(&dirs[0], 8, version);
            assert!(!printed.contains("v2"), "{version}: {printed}");
            if members > 1 {
                let body = lifeboat_json(
                    ["inspect".as_ref()].into_iter().chain(dirs.iter().map(|dir| dir.as_os_str())),
                );
                assert!(body["chosen"].is_string(), "{version}, clean: {clean}: {body:#}");
            }
        }
    }
}

/// The v3 store is read, and every verb warns about v2 keys that it leaves out.
#[test]
fn keys_of_the_v2_api_are_left_out_with_a_warning() {
    let version = EtcdVersion::V3_5;
    lab::or_skip!(peers::etcd(version));
    let dir = unpacked(FieldInput::V2_CONTENT);
    for (name, words) in
        [("j-old", "1 in the raft snapshot, 0 changes"), ("j-wal", "1 in the raft snapshot, 1 changes")]
    {
        let data_dir = dir.path().join(name);
        let path = data_dir.to_str().unwrap();
        let keys = serve(version, &data_dir, &["--enable-v2=true"]).values().len();
        let printed = every_verb_has(&data_dir, keys, version);
        assert!(printed.contains(words), "{name}: {printed}");
        let to = tempfile::tempdir().unwrap();
        let file = |name: &str| to.path().join(name).display().to_string();
        let restore = ["--all-members", &file("restored"), "--initial-cluster", "m1=http://127.0.0.1:1"];
        for verb in [
            vec!["inspect", path],
            vec!["hash", path],
            vec!["save", path, &file("saved.db")],
            [&["restore", path], restore.as_slice()].concat(),
        ] {
            let output = lifeboat(&verb);
            assert!(output.status.success() && text(&output.stderr).contains(words), "{verb:?}: {output:?}");
        }
        for verb in [vec!["check", path], vec!["salvage", path, &file("salvaged.db")]] {
            let output = lifeboat(&verb);
            let found = text(&output.stdout);
            assert!(found.contains(words), "{verb:?}: {found}");
            assert_eq!(output.status.code(), Some(3), "{verb:?}: {found}");
        }
    }
}

/// A client's v2 keys, alone in the log and then in a raft snapshot, change nothing of the v3 store.
#[test]
fn changes_of_v2_keys_change_nothing_of_v3() {
    for version in [EtcdVersion::V3_4, EtcdVersion::V3_5] {
        lab::or_skip!(peers::etcd(version));
        for snapshots in ["--snapshot-count=100000", "--snapshot-count=10"] {
            let mut cluster = lagging(version, 1).flag("--enable-v2=true").flag(snapshots).start().unwrap();
            put_between_v2(&cluster, |endpoint| {
                http(endpoint, "PUT", "/v2/keys/dir/key", "value=v");
                http(endpoint, "PUT", "/v2/keys/dir/key", "value=w&prevExist=true");
                http(endpoint, "PUT", "/v2/keys/other", "value=v&ttl=1");
                http(endpoint, "POST", "/v2/keys/queue", "value=v");
                http(endpoint, "DELETE", "/v2/keys/dir/key", "");
            });
            cluster.kill(0).unwrap();
            let data_dir = cluster.data_dir(0);
            serve(version, data_dir, &["--enable-v2=true"])
                .expect(open(data_dir).unwrap().as_ref(), &format!("{version}, {snapshots}"));
            let printed = every_verb_has(data_dir, 8, version);
            assert!(printed.contains("keys of the v2 API"), "{version}, {snapshots}: {printed}");
        }
    }
}

/// The only voter of a cluster has committed its whole log; an etcd started on it serves that.
#[test]
fn the_last_write_of_a_single_member_is_applied() {
    let version = EtcdVersion::V3_6;
    lab::or_skip!(peers::etcd(version));
    let dir = unpacked(FieldInput::LAST_WRITE);
    let data_dir = dir.path().join("y-3.6-4");
    let path = data_dir.to_str().unwrap();
    assert_eq!(serve(version, &data_dir, &[]).values().len(), 6);
    let printed = every_verb_has(&data_dir, 6, version);
    assert_eq!(printed, "");
    let raft = &lifeboat_json(["inspect", path])["raft"];
    assert_eq!((&raft["countedBy"], &raft["uncommittedEntries"]), (&"only-voter".into(), &0.into()));

    let forced = open_with(&data_dir, Replay::CommitIndex, None).unwrap();
    serve(version, &data_dir, &["--force-new-cluster"]).expect(forced.as_ref(), "--force-new-cluster");
    let found = lifeboat_ok(["check", path]);
    assert!(found.contains("started on this data dir serves them"), "{found}");
    assert!(found.contains("--force-new-cluster, it drops them"), "{found}");
}

/// etcd 3.5.1 to 3.5.19 did not store in the db that a learner was promoted.
#[test]
fn voters_that_the_db_calls_learners_are_members() {
    let dir = unpacked(FieldInput::LEARNER_FLAG);
    for source in ["t-1", "t-s.db"] {
        let path = dir.path().join(source);
        let path = path.to_str().unwrap();
        let inspected = lifeboat_json(["inspect", path]);
        let members = inspected["members"].as_array().unwrap();
        let learners = members.iter().filter(|member| member["isLearner"] == true).count();
        assert_eq!((members.len(), learners), (3, 0), "{source}: {members:?}");
        let suggested = inspected["initialCluster"].as_str().unwrap();
        assert_eq!(suggested.matches("=http").count(), 3, "{source}: {suggested}");
        let to = dir.path().join("never");
        let output = lifeboat(["restore", path, "--all-members", to.to_str().unwrap()]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        for name in ["k1=http", "k2=http", "k3=http"] {
            assert!(stderr.contains(name), "{source}: {stderr}");
        }
    }
}

/// Restored with a token of its own on each node: the same keys, and clusters that refuse each other.
#[test]
fn sources_of_several_clusters_are_reported() {
    let dir = unpacked(FieldInput::THREE_CLUSTERS);
    let paths = ["c-1", "c-2", "c-3"].map(|name| dir.path().join(name).display().to_string());
    let sources: Vec<&str> = paths.iter().map(String::as_str).collect();
    let words = "belong to 3 clusters and cannot join each other";

    let stdout = text(&lifeboat([&["inspect"], &sources[..]].concat()).stdout);
    assert!(stdout.contains(words) && stdout.contains("holds the same keys as"), "{stdout}");
    assert!(!stdout.contains("holds the same data as"), "{stdout}");
    let body = lifeboat_json([&["inspect"], &sources[..]].concat());
    let clusters = body["clusters"].as_object().unwrap();
    assert_eq!(clusters.len(), 3);
    for path in &paths {
        let raft = &lifeboat_json(["inspect", path])["raft"];
        assert_eq!(clusters[raft["clusterId"].as_str().unwrap()], serde_json::json!([path]));
    }
    let to = dir.path().join("restored").display().to_string();
    let layout = ClusterLayout::new(1).unwrap().initial_cluster();
    let to = ["--all-members", &to, "--initial-cluster", &layout];
    let stdout = text(&lifeboat([&["restore"], &sources[..], &to].concat()).stdout);
    assert!(stdout.contains(words), "{stdout}");
}
