//! Shared by the tests of the binary: running it, and querying a real cluster.
#![expect(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lab::cluster::{Cluster, ClusterLayout};
use lab::peers;
use lifeboat_client::messages::{HashKvResponse, RangeRequest};
use lifeboat_client::{Client, Code, ConnectOptions};
use lifeboat_etcd::{Bucket, BucketKey, Source};

/// Runs `lifeboat`.
pub fn lifeboat<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    lifeboat_with(args, &[])
}

/// Runs `lifeboat` with more in its environment.
pub fn lifeboat_with<S: AsRef<std::ffi::OsStr>>(
    args: impl IntoIterator<Item = S>,
    env: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    command.args(args).envs(env.iter().copied()).output().expect("run lifeboat")
}

/// Expects a failure with this exit code: nothing on stdout, and an error with all of `words`.
pub fn fails(output: &Output, code: i32, words: &[&str]) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    assert_eq!(stdout, "");
    words.iter().for_each(|word| assert!(stderr.contains(word), "no {word:?} in: {stderr}"));
    stderr
}

/// Runs `lifeboat` and expects it to succeed.
pub fn lifeboat_ok<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = lifeboat(args);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Runs `lifeboat ... -o json` and expects it to succeed.
pub fn lifeboat_json<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> serde_json::Value {
    let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).chain(["-o".into(), "json".into()]);
    serde_json::from_str(&lifeboat_ok(args)).expect("JSON")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Saves a snapshot of member 0 with `lifeboat save`.
pub fn save(cluster: &Cluster, path: &Path) -> serde_json::Value {
    lifeboat_json(save_args(cluster, 0, path, &[]))
}

/// The arguments that save a snapshot of a member, and more.
pub fn save_args(cluster: &Cluster, member: usize, path: &Path, more: &[&str]) -> Vec<String> {
    let mut args =
        vec!["save".into(), cluster.client_endpoint(member).to_owned(), path.display().to_string()];
    if let Some(tls) = cluster.tls() {
        let file = |path: &Path| path.display().to_string();
        args.extend(["--cacert".into(), file(&tls.ca)]);
        args.extend(["--cert".into(), file(&tls.client.cert), "--key".into(), file(&tls.client.key)]);
    }
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args
}

/// Everything in a directory; to see that nothing was left.
pub fn entries(dir: &Path) -> Vec<String> {
    let names = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Keys and values of a bucket other than `key`.
pub fn pairs(source: &dyn Source, bucket: Bucket) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    source
        .metadata_bucket(bucket, &mut |key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok(())
        })
        .unwrap();
    pairs
}

/// Keys and values of the buckets other than `key`, by their names.
pub type MetadataBuckets = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;
/// What the bucket `key` holds.
pub type Revisions = BTreeMap<BucketKey, Vec<u8>>;

/// All revisions.
pub fn revisions(source: &dyn Source) -> Revisions {
    let mut revisions = Revisions::new();
    source
        .revisions(&mut |key, value| {
            revisions.insert(key, value.to_vec());
            Ok(())
        })
        .unwrap();
    revisions
}

/// All buckets other than `key`.
pub fn metadata_buckets(source: &dyn Source) -> MetadataBuckets {
    let small = Bucket::ALL.into_iter().filter(|bucket| *bucket != Bucket::Key);
    small.map(|bucket| (bucket.name(), pairs(source, bucket))).collect()
}

/// Stops a member and copies the db file it leaves.
pub fn stop_and_copy_db(cluster: &mut Cluster, member: usize, to: &Path) {
    cluster.stop(member).unwrap();
    fs_err::copy(cluster.data_dir(member).join("member/snap/db"), to).unwrap();
}

/// Retries until the question returns `Some`.
pub fn eventually<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Restores every member of `layout` below `dir`; returns the data dirs in the layout's order, and the report.
pub fn restore_all(
    source: &Path,
    layout: &ClusterLayout,
    dir: &Path,
    more: &[&str],
) -> (Vec<PathBuf>, serde_json::Value) {
    let mut args: Vec<String> = vec!["restore".into(), source.display().to_string()];
    args.extend(["--all-members".into(), dir.display().to_string()]);
    args.extend(["--initial-cluster".into(), layout.initial_cluster()]);
    args.extend(["--initial-cluster-token".into(), layout.token().into()]);
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let report = lifeboat_json(args);
    (layout.members().iter().map(|member| dir.join(&member.name)).collect(), report)
}

/// Expects `bbolt check` of the real tool to find nothing.
pub fn bbolt_check(data_dir: &Path) {
    let bbolt = lab::or_skip!(peers::bbolt());
    let db = data_dir.join("member/snap/db");
    let output = Command::new(bbolt).arg("check").arg(&db).output().expect("run bbolt");
    assert!(output.status.success(), "{}: {}{}", db.display(), text(&output.stdout), text(&output.stderr));
}

/// Every key a member serves, with its value.
pub fn served(cluster: &Cluster, member: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let client = cluster.client(member).unwrap();
    let response = cluster.block_on(client.range(RangeRequest::all())).unwrap();
    response.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// HashKV at `revision` (0: the current one) as a member answers it: hash and compact revision.
pub fn server_hash(cluster: &Cluster, member: usize, revision: i64) -> (u32, i64) {
    let client = cluster.client(member).unwrap();
    let response = cluster.block_on(client.hash_kv(revision)).unwrap();
    (response.hash, response.compact_revision)
}

/// The revision a member is at.
pub fn revision(cluster: &Cluster, member: usize) -> i64 {
    let client = cluster.client(member).unwrap();
    cluster.block_on(client.status()).unwrap().header.revision
}

/// Expects the same HashKV of every member at the same revision, and returns it.
///
/// Asks at the current revision by asking for none: etcd 3.4 refuses to hash at its compact revision.
pub fn same_hash(cluster: &Cluster) -> u32 {
    let clients: Vec<_> = (0..cluster.size()).map(|member| cluster.client(member).unwrap()).collect();
    for _ in 0..50 {
        let answers: Vec<_> =
            clients.iter().map(|client| cluster.block_on(client.hash_kv(0)).unwrap()).collect();
        let first = &answers[0];
        // A member may be about to apply what the others have.
        if answers.iter().all(|answer| answer.header.revision == first.header.revision) {
            let same = |answer: &HashKvResponse| {
                (answer.hash, answer.compact_revision) == (first.hash, first.compact_revision)
            };
            assert!(answers.iter().all(same), "{answers:?}");
            return first.hash;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the members do not reach the same revision");
}

/// The password of every user in these tests; nothing may ever print it.
pub const PASSWORD: &str = "correct-horse-battery";

/// Runs etcdctl with JSON output as root, in a cluster that has authentication on.
pub fn etcdctl_as_root(cluster: &Cluster, args: &[&str]) -> serde_json::Value {
    let root = format!("root:{PASSWORD}");
    let args = [&["--user", &root, "-w", "json"], args].concat();
    serde_json::from_str(&cluster.etcdctl_ok(0, args).unwrap()).expect("JSON")
}

/// Makes the users `root` and `app`, who may only touch keys under `app/`, and turns authentication on.
pub fn enable_auth(cluster: &Cluster) {
    for args in [
        ["user", "add", "root", "--new-user-password", PASSWORD].as_slice(),
        &["user", "grant-role", "root", "root"],
        &["role", "add", "app-owner"],
        &["role", "grant-permission", "--prefix", "app-owner", "readwrite", "app/"],
        &["user", "add", "app", "--new-user-password", PASSWORD],
        &["user", "grant-role", "app", "app-owner"],
        &["auth", "enable"],
    ] {
        cluster.etcdctl_ok(0, args).unwrap();
    }
}

/// A connection to a member as a user.
pub fn login(cluster: &Cluster, member: usize, user: &str) -> lifeboat_client::Result<Client> {
    let user = Some((user.to_owned(), PASSWORD.to_owned()));
    let options = ConnectOptions { user, ..ConnectOptions::default() };
    cluster.block_on(Client::connect(&options, cluster.client_endpoint(member)))
}

/// For a member to be used up by [`exhaust_quota`].
pub const SMALL_QUOTA: &str = "--quota-backend-bytes=500000";

/// Puts until the member refuses, which raises the NOSPACE alarm.
pub fn exhaust_quota(cluster: &Cluster) {
    let client = cluster.client(0).unwrap();
    // The member learns the size of its db only when it commits, every 100 ms.
    eventually("the quota is exceeded", || {
        let error = cluster.block_on(client.put("big", vec![7; 100_000], 0)).err()?;
        assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
        Some(())
    });
}
