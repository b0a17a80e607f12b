//! The real bbolt tool agrees: what we write it checks and rewrites, and what it rewrote we read the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Output};

use lifeboat_bbolt::{Db, Error, Writer, WriterOptions};

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn write(path: &Path, buckets: &Buckets, options: WriterOptions) {
    let mut writer = Writer::new(BufWriter::new(File::create(path).unwrap()), options).unwrap();
    for (name, pairs) in buckets {
        writer.start_bucket(name).unwrap();
        pairs.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
    }
    writer.finish().unwrap();
}

fn read(path: &Path) -> Buckets {
    let db = Db::open(File::open(path).unwrap()).unwrap();
    let mut all = Buckets::new();
    for (name, bucket) in db.buckets().unwrap() {
        let pairs = all.entry(name).or_default();
        db.for_each::<Error>(&bucket, |key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok(())
        })
        .unwrap();
    }
    all
}

fn bbolt(tool: &Path, args: &[&str]) -> Output {
    let output = Command::new(tool).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "bbolt {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Deterministic pairs whose values lie around `size` bytes.
fn pairs(seed: u64, count: u64, size: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count)
        .map(|_| {
            let key = format!("key-{:08}", next() % 100_000_000).into_bytes();
            let length = if size == 0 { 0 } else { next() % (2 * size) };
            (key, (0..length).map(|_| (next() % 256) as u8).collect())
        })
        .collect()
}

fn cases() -> Vec<Buckets> {
    let bucket = |name: &str, pairs| (name.as_bytes().to_vec(), pairs);
    let mut cases = vec![
        Buckets::new(),
        Buckets::from([bucket("empty", BTreeMap::new()), bucket("one", pairs(1, 1, 10))]),
    ];
    for (seed, count, size) in
        [(2, 20, 5), (3, 500, 0), (4, 3000, 100), (5, 700, 3000), (6, 20, 100_000), (7, 40_000, 8)]
    {
        cases.push(Buckets::from([
            bucket("alarm", BTreeMap::new()),
            bucket("key", pairs(seed, count, size)),
            bucket("meta", pairs(seed + 100, 6, 12)),
        ]));
    }
    cases
}

#[test]
fn what_we_write_bbolt_checks_and_rewrites_and_we_read_back() {
    let tool = lab::or_skip!(lab::peers::bbolt());
    let dir = tempfile::tempdir().unwrap();
    for (case, buckets) in cases().iter().enumerate() {
        for fill_percent in [50, 100] {
            let [ours, theirs] =
                ["ours", "theirs"].map(|name| dir.path().join(format!("{name}-{case}-{fill_percent}")));
            let path = |path: &Path| path.display().to_string();
            write(&ours, buckets, WriterOptions { fill_percent, ..Default::default() });
            bbolt(&tool, &["check", &path(&ours)]);
            bbolt(&tool, &["compact", "-o", &path(&theirs), &path(&ours)]);
            bbolt(&tool, &["check", &path(&theirs)]);
            assert!(read(&ours) == *buckets, "case {case}: ours");
            assert!(read(&theirs) == *buckets, "case {case}: theirs");
        }
    }
}

/// The tool's own listing of a file, bucket by bucket, key by key, value by value.
#[test]
fn bbolt_lists_what_we_read() {
    let tool = lab::or_skip!(lab::peers::bbolt());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let buckets =
        Buckets::from([(b"first".to_vec(), pairs(8, 40, 900)), (b"second".to_vec(), pairs(9, 3, 5))]);
    write(&path, &buckets, WriterOptions::default());
    let path = path.display().to_string();
    let lines = |output: Output| -> Vec<String> {
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let names: Vec<_> = buckets.keys().map(|name| text(name)).collect();
    assert_eq!(lines(bbolt(&tool, &["buckets", &path])), names);
    for (name, pairs) in &buckets {
        let keys: Vec<_> = pairs.keys().map(|key| text(key)).collect();
        assert_eq!(lines(bbolt(&tool, &["keys", &path, &text(name)])), keys);
        for (key, value) in pairs {
            let output = bbolt(&tool, &["get", "--format=hex", &path, &text(name), &text(key)]);
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(lines(output).join(""), hex);
        }
    }
}
