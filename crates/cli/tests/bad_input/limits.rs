//! Files that ask for more than they hold: the binary reads them within limits that the kernel keeps, on memory
//! and processor time. Past them it would be killed, and the exit code here says so.

use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use lifeboat_bbolt::{Writer, WriterOptions};

use crate::craft::{self, BUCKET, PAGE_SIZE, VALUE, branch, file, leaf};
use crate::support::text;

/// Address space, in KiB. Most of it is what threads and libraries reserve; files here hold up to 80 MB.
const ADDRESS_SPACE: u32 = 400 << 10;
/// What the work on a well-formed file of the same size takes is a second or two, in any profile.
const PROCESSOR_SECONDS: u32 = 30;

/// Runs every verb on a file within the limits, and expects `check` to end in findings and `restore` to be
/// refused without a trace. Tells what `check` printed.
#[track_caller]
fn ends_within_limits(case: &str, path: &Path) -> String {
    let restored = path.with_extension("restored");
    let target = restored.display().to_string();
    let run = |verb: &[&str]| {
        let output = Command::new("bash")
            .args(["-c", &format!("ulimit -v {ADDRESS_SPACE} -t {PROCESSOR_SECONDS}; exec \"$0\" \"$@\"")])
            .args([env!("CARGO_BIN_EXE_lifeboat"), verb[0]])
            .arg(path)
            .args(&verb[1..])
            .env("MALLOC_ARENA_MAX", "1")
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        assert!(!stderr.contains("panicked"), "{case}: {verb:?}: {stderr}");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{case}: {verb:?}: {:?} {stderr}", output.status);
        (code, text(&output.stdout))
    };
    let (code, checked) = run(&["check"]);
    assert_eq!(code, Some(3), "{case}: {checked}");
    for verb in [&["inspect"][..], &["hash"], &["get", "--prefix", "x"]] {
        run(verb);
    }
    let restore = ["restore", "--all-members", &target, "--initial-cluster", crate::CLUSTER];
    assert_eq!(run(&restore).0, Some(3), "{case}");
    assert!(!restored.exists(), "{case}");
    checked
}

#[track_caller]
fn bytes_end_within_limits(case: &str, bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs_err::write(&path, bytes).unwrap();
    ends_within_limits(case, &path)
}

/// A store with the given bucket, and those that every etcd has, empty.
fn store(pages: u64, bucket: &str, value: &[u8], rest: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let empty = craft::bucket_inline(&leaf(0, &[]));
    let mut buckets = vec![(BUCKET, bucket.as_bytes(), value)];
    buckets.extend(
        ["key", "meta"].iter().filter(|name| **name != bucket).map(|name| (BUCKET, name.as_bytes(), &*empty)),
    );
    let root = leaf(2, &buckets);
    let given: Vec<_> = [(2, root)].into_iter().chain(rest.iter().cloned()).collect();
    file(pages, &given)
}

/// One long page, referred to by as many elements as a branch page holds: read for each, a terabyte of reads
/// out of twenty megabytes.
#[test]
fn a_long_page_referred_to_many_times_is_read_once() {
    const LONG: usize = 16 << 20;
    let branch = branch(3, &[600; 60_000]);
    let value = vec![1; LONG];
    let long = leaf(600, &[(VALUE, b"\xff", &value)]);
    let pages = 600 + long.len().div_ceil(PAGE_SIZE) as u64;
    let found = bytes_end_within_limits(
        "long page",
        &store(pages, "key", &craft::bucket_at(3), &[(3, branch), (600, long)]),
    );
    assert!(found.contains("referred to more than once"), "{found}");

    // The same backwards: each page claims all pages up to the one before, none starts where another does.
    let children: Vec<u64> = (600..8600).rev().collect();
    let rest: Vec<_> = [(3, craft::branch(3, &children))]
        .into_iter()
        .chain((600..8600).map(|id| (id, craft::header(id, craft::LEAF, 0, (8600 - id - 1) as u32))))
        .collect();
    let found =
        bytes_end_within_limits("overlapping pages", &store(8600, "key", &craft::bucket_at(3), &rest));
    assert!(found.contains("referred to more than once"), "{found}");
}

/// Elements that share their bytes: a restore would write the square of the page's size.
#[test]
fn elements_that_overlap_are_read_once() {
    const COUNT: usize = 30_000;
    let keys: Vec<_> = (0..COUNT as u32).map(|number| (number | 0x0101_0101).to_be_bytes()).collect();
    let elements: Vec<_> = keys.iter().map(|key| (VALUE, &key[..], &b""[..])).collect();
    let mut page = leaf(3, &elements);
    let end = page.len();
    for index in 0..COUNT {
        let key_end = 16 + COUNT * 16 + (index + 1) * 4;
        page[16 + index * 16 + 12..][..4].copy_from_slice(&((end - key_end) as u32).to_le_bytes());
    }
    let pages = 3 + end.div_ceil(PAGE_SIZE) as u64;
    let found = bytes_end_within_limits("overlap", &store(pages, "auth", &craft::bucket_at(3), &[(3, page)]));
    assert!(found.contains("do not follow those before"), "{found}");
}

/// Buckets within inline buckets: a level of recursion, and a copy of the rest, for every 50 bytes.
#[test]
fn inline_buckets_are_not_nested() {
    // From the innermost out, each level in front of the last, with the size of what follows it.
    let mut levels = vec![craft::bucket_inline(&leaf(0, &[]))];
    let mut size = levels[0].len();
    while size < 4 << 20 {
        let mut level = craft::bucket_inline(&leaf(0, &[(BUCKET, b"b", b"")]));
        let value_size = level.len() - 5;
        level[value_size..value_size + 4].copy_from_slice(&(size as u32).to_le_bytes());
        size += level.len();
        levels.push(level);
    }
    let nested: Vec<u8> = levels.into_iter().rev().flatten().collect();
    let pages = 4 + (nested.len() / PAGE_SIZE) as u64;
    let found = bytes_end_within_limits("nested", &store(pages, "alarm", &nested, &[]));
    assert!(found.contains("element 0 is a bucket within an inline page"), "{found}");
}

/// Few bytes on disk that claim to be a huge file, as a copy made with holes would.
#[test]
fn a_file_of_holes_ends_within_limits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let pages = (64 << 30) / PAGE_SIZE as u64;
    let root = leaf(2, &[(BUCKET, b"key", &craft::bucket_at(3)), (BUCKET, b"meta", &craft::bucket_at(4))]);
    let metas = file(3, &[]);
    let mut out = std::fs::File::create(&path).unwrap();
    out.write_all(&metas).unwrap();
    for index in 0..2 {
        out.seek(SeekFrom::Start(index * PAGE_SIZE as u64)).unwrap();
        out.write_all(&craft::meta(index, pages)).unwrap();
    }
    out.write_all(&vec![0; PAGE_SIZE - 80]).unwrap();
    out.write_all(&root).unwrap();
    out.set_len(pages * PAGE_SIZE as u64).unwrap();
    assert!(ends_within_limits("holes", &path).contains("page 3: its header says page 0"));
}

#[test]
fn a_million_buckets_are_passed_over() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), WriterOptions::default()).unwrap();
    for number in 0..1_000_000 {
        writer.start_bucket(format!("bucket-{number:07}").as_bytes()).unwrap();
    }
    let found = bytes_end_within_limits("buckets", &writer.finish().unwrap().0.into_inner());
    assert!(found.contains("no bucket \"key\""), "{found}");
    assert!(found.contains("more findings"), "{found}");
}

/// Everything that could be listed is wrong: a finding for each would be a hundred times the file.
#[test]
fn a_million_bad_entries_are_counted_not_kept() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), WriterOptions::default()).unwrap();
    for bucket in ["key", "lease", "meta"] {
        writer.start_bucket(bucket.as_bytes()).unwrap();
        if bucket != "meta" {
            (0..1_000_000u32).for_each(|number| writer.put(&number.to_be_bytes(), b"bad").unwrap());
        }
    }
    let found = bytes_end_within_limits("entries", &writer.finish().unwrap().0.into_inner());
    // Two million, and the note that there is no digest; a thousand are listed.
    assert!(found.contains("and 1999001 more findings"), "{found}");
}

#[test]
fn a_bucket_of_values_that_do_not_decode_is_listed_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut buckets = craft::contents();
    buckets.insert(
        "lease",
        (0..5000u32).map(|number| (number.to_be_bytes().to_vec(), b"bad".to_vec())).collect(),
    );
    fs_err::write(&path, craft::db(&buckets, 4096)).unwrap();
    let source = lifeboat_etcd::open(&path).unwrap();
    assert_eq!(lifeboat_etcd::State::read(source.as_ref()).unwrap().undecodable.len(), 1000);
}
