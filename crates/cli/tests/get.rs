//! `lifeboat get` reads from a snapshot what `etcdctl get` reads from the member it was taken of, at every
//! revision the member still has, whatever bytes keys and values are made of.

mod support;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use lab::cluster::{Cluster, ClusterBuilder};
use lab::fill::{self, Plain};
use lab::peers::{self, EtcdVersion};
use serde_json::{Value, json};
use support::{fails, lifeboat, save, text};

/// A member with history, and its snapshot.
struct Pair {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Pair {
    fn new(version: EtcdVersion) -> (Self, fill::Model) {
        let cluster = ClusterBuilder::new(version).unsafe_no_fsync().start().unwrap();
        let workload = Plain { seed: 11, keys: 60, operations: 150, value_bytes: 80 };
        let mut model = fill::plain(&cluster, 0, &workload).unwrap();
        let client = cluster.client(0).unwrap();
        cluster.block_on(async {
            client.put("empty", "", 0).await.unwrap();
            client.put(b"\xff\xfe\x80".as_slice(), b"\x00\xff\n\x1b[2J".as_slice(), 0).await.unwrap();
            client.put(b"\xff\xff".as_slice(), "under the last prefix", 0).await.unwrap();
        });
        model.revision += 3;
        cluster.block_on(client.compact(model.revision / 3, true)).unwrap();
        let pair = Self { cluster, dir: tempfile::tempdir().unwrap() };
        save(&pair.cluster, &pair.snapshot());
        (pair, model)
    }

    fn snapshot(&self) -> PathBuf {
        self.dir.path().join("backup.db")
    }

    /// Asks both, the member with `etcdctl get`; `format` is each one's flag for JSON, if wanted.
    fn both(&self, which: &Which<'_>, more: &[&str], format: Option<[&str; 2]>) -> [Output; 2] {
        let key = which.bytes();
        let prefix = OsString::from("--prefix");
        let mut theirs: Vec<OsString> = vec!["get".into(), key.clone()];
        let mut ours: Vec<OsString> = vec!["get".into(), self.snapshot().into()];
        match which {
            Which::Key(_) => ours.extend(["--key".into(), key]),
            Which::Prefix(_) => {
                theirs.push(prefix.clone());
                ours.extend([prefix, key]);
            }
        }
        for (i, args) in [&mut theirs, &mut ours].into_iter().enumerate() {
            args.extend(more.iter().map(OsString::from));
            args.extend(format.iter().flat_map(|flags| [flags[i].into(), "json".into()]));
        }
        let outputs = [self.cluster.etcdctl(0, theirs).unwrap(), lifeboat(ours)];
        outputs.iter().for_each(|output| assert!(output.status.success(), "{}", text(&output.stderr)));
        outputs
    }

    fn assert_same(&self, which: &Which<'_>, more: &[&str]) {
        let [mut theirs, mut ours] =
            self.both(which, more, Some(["-w", "-o"])).map(|output| kvs(&output.stdout));
        if more.contains(&"--keys-only") {
            // From 3.7 on, a member answers this from its index, which does not know of leases.
            let pairs = theirs.iter_mut().chain(&mut ours);
            pairs.for_each(|pair| assert!(std::mem::take(&mut pair["lease"]).is_i64()));
        }
        assert_eq!(ours, theirs, "{which:?} {more:?}");
    }
}

#[derive(Debug)]
enum Which<'a> {
    Key(&'a [u8]),
    Prefix(&'a [u8]),
}

impl Which<'_> {
    fn bytes(&self) -> OsString {
        match self {
            Self::Key(bytes) | Self::Prefix(bytes) => OsString::from_vec(bytes.to_vec()),
        }
    }
}

/// The keys in one shape: etcdctl leaves out what is empty or 0.
fn kvs(stdout: &[u8]) -> Vec<Value> {
    let answer: Value = serde_json::from_slice(stdout).expect("JSON");
    let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
    assert_eq!(answer["count"].as_u64().unwrap_or_default(), kvs.len() as u64);
    let fields = |kv: &Value| {
        json!({
            "key": kv["key"],
            "create_revision": kv["create_revision"],
            "mod_revision": kv["mod_revision"],
            "version": kv["version"],
            "value": kv["value"].as_str().unwrap_or_default(),
            "lease": kv["lease"].as_i64().unwrap_or_default(),
        })
    };
    kvs.iter().map(fields).collect()
}

fn reads_what_etcdctl_reads(version: EtcdVersion) {
    lab::or_skip!(peers::etcd(version));
    let (pair, model) = Pair::new(version);
    let everything = Which::Prefix(b"");
    let oldest = model.revision / 3;
    for revision in [oldest, oldest + 1, model.revision / 2, model.revision - 2, model.revision] {
        pair.assert_same(&everything, &["--rev", &revision.to_string()]);
    }
    for which in [
        everything,
        Which::Prefix(b"lab/00002/"),
        Which::Prefix(b"\xff"),
        Which::Prefix(b"\xff\xff"),
        Which::Prefix(b"nothing starts so"),
        Which::Key(b"\xff\xfe\x80"),
        Which::Key(b"empty"),
        Which::Key(b"lab/00002/"),
    ] {
        pair.assert_same(&which, &[]);
        pair.assert_same(&which, &["--keys-only"]);
        let [theirs, ours] = pair.both(&which, &[], None);
        assert_eq!(ours.stdout, theirs.stdout, "{which:?}");
    }
    keys_only_prints_no_empty_lines(&pair);
    outside_is_refused(&pair.snapshot(), oldest, model.revision);
}

/// etcdctl prints an empty value under each key; without them the output is a list of keys, ready for use.
fn keys_only_prints_no_empty_lines(pair: &Pair) {
    let [theirs, ours] = pair.both(&Which::Prefix(b"e"), &["--keys-only"], None);
    assert_eq!((text(&theirs.stdout).as_str(), text(&ours.stdout).as_str()), ("empty\n\n", "empty\n"));
}

/// What the member would refuse is refused, in the caller's terms.
fn outside_is_refused(snapshot: &Path, oldest: i64, current: i64) {
    for (revision, word) in [(oldest - 1, "has been compacted"), (current + 1, "is above")] {
        let rev = revision.to_string();
        let args = [OsStr::new("get"), snapshot.as_os_str(), "--prefix".as_ref(), "".as_ref()];
        let output = lifeboat(args.into_iter().chain(["--rev".as_ref(), rev.as_ref()]));
        fails(&output, 2, &[&format!("revision {revision} {word}")]);
    }
}

#[test]
fn reads_what_etcdctl_reads_3_4() {
    reads_what_etcdctl_reads(EtcdVersion::V3_4);
}

#[test]
fn reads_what_etcdctl_reads_3_5() {
    reads_what_etcdctl_reads(EtcdVersion::V3_5);
}

#[test]
fn reads_what_etcdctl_reads_3_6() {
    reads_what_etcdctl_reads(EtcdVersion::V3_6);
}

#[test]
fn reads_what_etcdctl_reads_3_7() {
    reads_what_etcdctl_reads(EtcdVersion::V3_7);
}
