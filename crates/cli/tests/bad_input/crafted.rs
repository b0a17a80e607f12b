//! Files no bit rot makes, each with the right digest behind it: a bug of whatever wrote them, or somebody who
//! wants to bring the reader down. Every one is damage with its place, and none is restored.

use lifeboat_etcd::{FindingKind, Severity};

use crate::craft::{self, BRANCH, BUCKET, Buckets, LEAF, PAGE_SIZE, VALUE, branch, file, header, leaf};
use crate::{findings, refuses_to_restore, worst};

/// A store whose `key` bucket has its root at page 3; `pages` are what lies from there on.
fn key_tree(pages: Vec<Vec<u8>>) -> Vec<u8> {
    let count = 3 + pages.iter().map(|page| page.len().div_ceil(PAGE_SIZE) as u64).sum::<u64>();
    let mut next = 3;
    let mut given = vec![(2, root(BUCKET, &craft::bucket_at(3)))];
    for page in pages {
        let id = next;
        next += page.len().div_ceil(PAGE_SIZE) as u64;
        given.push((id, page));
    }
    file(count, &given)
}

/// The root page: bucket `key` as given, an empty bucket `meta`.
fn root(flags: u32, key: &[u8]) -> Vec<u8> {
    leaf(2, &[(flags, b"key", key), (BUCKET, b"meta", &craft::bucket_inline(&leaf(0, &[])))])
}

/// A leaf page of two sound revisions.
fn sound_leaf(id: u64) -> Vec<u8> {
    let [first, second] = [2, 3].map(|main| (craft::revision(main, 0), craft::key_value("/k", main, 0)));
    leaf(id, &[(VALUE, &first.0, &first.1), (VALUE, &second.0, &second.1)])
}

fn with_bytes(mut page: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    page[at..at + bytes.len()].copy_from_slice(bytes);
    page
}

/// A sound store but for one revision.
fn with_revision(key: Vec<u8>, value: Vec<u8>) -> Vec<u8> {
    let mut buckets: Buckets = craft::contents();
    buckets.get_mut("key").unwrap().push((key, value));
    craft::db(&buckets, 4096)
}

#[track_caller]
fn is_found(case: &str, db: Vec<u8>, message: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    fs_err::write(&path, craft::snapshot(db)).unwrap();
    let found: Vec<_> = findings(&path).iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|found| found.contains(message)), "{case}: {found:#?}");
    assert_eq!(worst(&path), Some(Severity::Error), "{case}");
    refuses_to_restore(&path, &case);
}

#[test]
fn crafted_pages_are_otherwise_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    for db in [key_tree(vec![sound_leaf(3)]), craft::db(&craft::contents(), 4096)] {
        fs_err::write(&path, craft::snapshot(db)).unwrap();
        assert_eq!(findings(&path), []);
    }
}

/// A cycle followed is a stack overflow, which aborts the process and cannot be reported.
#[test]
fn invalid_trees_are_found() {
    let found = |case, pages, message| is_found(case, key_tree(pages), message);
    found("a page its own child", vec![branch(3, &[3])], "page 3: referred to more than once");
    found("a cycle", vec![branch(3, &[4]), branch(4, &[3])], "page 3: referred to more than once");
    found("a page twice", vec![branch(3, &[4, 4]), sound_leaf(4)], "page 4: referred to more than once");
    let chain = (3..60).map(|id| branch(id, &[id + 1])).collect();
    found("a chain of branches", chain, "more than 48 levels");
    found("the root as a child", vec![branch(3, &[2])], "page 2: referred to more than once");
}

#[test]
fn references_to_the_wrong_pages_are_found() {
    let found = |case, pages, message| is_found(case, key_tree(pages), message);
    found("past the end", vec![branch(3, &[u64::MAX])], "outside the file's pages");
    found("a meta page", vec![branch(3, &[1])], "page 1: referred to, but outside");
    found("a page that says it is another", vec![sound_leaf(4)], "its header says page 4");
    found("zeros", vec![vec![0; PAGE_SIZE]], "its header says page 0");
    found("a page of no known type", vec![with_bytes(sound_leaf(3), 8, &[0x40, 0])], "its type is 0x0040");
    found("no children", vec![header(3, BRANCH, 0, 0)], "a page without elements");
    found("no keys below a branch", vec![branch(3, &[4]), header(4, LEAF, 0, 0)], "a page without elements");
}

/// A number that is believed is an allocation, a loop, or a revision that is silently left out.
#[test]
fn wrong_counts_and_sizes_are_found() {
    let found = |case, at, bytes: &[u8], message| {
        is_found(case, key_tree(vec![with_bytes(sound_leaf(3), at, bytes)]), message);
    };
    found("a count too high", 10, &u16::MAX.to_le_bytes(), "element 300 lies outside the page");
    found("a count one too high", 10, &[3], "the bytes of element 0 do not follow");
    found("a count one too low", 10, &[1], "the bytes of element 0 do not follow");
    found("a huge overflow", 12, &u32::MAX.to_le_bytes(), "it claims 4294967296 pages");
    found("an overflow of one page too many", 12, &[1], "it claims 2 pages");
    found("a position outside", 16 + 4, &u32::MAX.to_le_bytes(), "element 0 lies outside the page");
    found("an empty key", 16 + 8, &[0], "key of element 0 has 0 bytes");
    found("a key size outside", 16 + 8, &u32::MAX.to_le_bytes(), "element 0 lies outside the page");
    found("a value size outside", 16 + 12, &u32::MAX.to_le_bytes(), "element 0 lies outside the page");
    found("a value one byte short", 16 + 12, &[16], "the bytes of element 1 do not follow");
    found("unknown flags", 16, &[8], "element 0 has unknown flags 0x8");
    let long = leaf(3, &[(VALUE, &[7; 40_000], b"")]);
    is_found("a key longer than bbolt takes", key_tree(vec![long]), "key of element 0 has 40000 bytes");
}

#[test]
fn keys_out_of_order_are_found() {
    let (key, value) = (craft::revision(2, 0), craft::key_value("/k", 2, 0));
    let (later, later_value) = (craft::revision(3, 0), craft::key_value("/k", 3, 0));
    let page = leaf(3, &[(VALUE, &later, &later_value), (VALUE, &key, &value)]);
    is_found("descending", key_tree(vec![page]), "key of element 1 is out of order");
    let page = leaf(3, &[(VALUE, &key, &value), (VALUE, &key, &value)]);
    is_found("twice", key_tree(vec![page]), "key of element 1 is out of order");
    // The branch page says that no key below it is under 00 00 00 01.
    let pages = vec![branch(3, &[4]), sound_leaf(4)];
    is_found("below the parent's key", key_tree(pages), "page 4: key of element 0 is out of order");
}

/// Buckets where values belong, and the other way round, are how a revision or a whole bucket drops out of what
/// is read without a word.
#[test]
fn buckets_in_wrong_places_are_found() {
    let inline = craft::bucket_inline(&leaf(0, &[(VALUE, b"a", b"b")]));
    let nested = leaf(3, &[(BUCKET, &craft::revision(2, 0), &inline)]);
    is_found("a bucket among revisions", key_tree(vec![nested]), "is a bucket, expected a value");
    let value = file(3, &[(2, root(VALUE, b"not a bucket"))]);
    is_found("a value among buckets", value, "\"key\" in the root bucket is not a bucket");
    let twice = craft::bucket_inline(&leaf(0, &[(BUCKET, b"a", &inline)]));
    let twice = file(3, &[(2, root(BUCKET, &twice))]);
    is_found("a bucket in an inline one", twice, "element 0 is a bucket within an inline page");
    for (case, bucket) in [
        ("a short bucket header", vec![3; 12]),
        ("an inline branch page", craft::bucket_inline(&header(0, BRANCH, 0, 0))),
        ("an inline page with an id", craft::bucket_inline(&header(9, LEAF, 0, 0))),
    ] {
        is_found(case, file(3, &[(2, root(BUCKET, &bucket))]), "element 0: not a bucket's header");
    }
    let short = [inline, vec![0; 4]].concat();
    is_found("bytes behind an inline page", file(3, &[(2, root(BUCKET, &short))]), "do not follow");
}

#[test]
fn invalid_revisions_are_found() {
    let sound = craft::key_value("/k", 30, 0);
    let key = craft::revision(30, 0);
    let found = |case, key: &[u8], message| is_found(case, with_revision(key.into(), sound.clone()), message);
    found("a short key", &key[..16], "in bucket \"key\" is not a revision");
    found("a wrong separator", &with_bytes(key.clone(), 8, b"-"), "is not a revision");
    found("a negative revision", &[0xff; 17], "is not a revision");
    found("a wrong mark", &[&key[..], b"x"].concat(), "is not a revision");

    let found = |case, value: Vec<u8>, message| is_found(case, with_revision(key.clone(), value), message);
    found("a cut value", sound[..sound.len() - 3].to_vec(), "revision 30.0: not a KeyValue message");
    found("a length past the end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "not a KeyValue message");
    found("no key", craft::key_value("", 30, 0), "revision 30.0: a KeyValue without a key");
    found("another revision's value", craft::key_value("/k", 29, 0), "mod_revision contradicts");
    found("zeros", vec![0; 40], "not a KeyValue message");
}

/// Above the compact revision, 3. A revision that is there with a broken value is not missing.
#[test]
fn missing_revisions_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let missing = |buckets: &Buckets| {
        fs_err::write(&path, craft::db(buckets, 4096)).unwrap();
        let is_gap = |kind: &FindingKind| matches!(kind, FindingKind::RevisionsMissing { .. });
        findings(&path).into_iter().filter(is_gap).map(|kind| kind.to_string()).collect::<Vec<_>>()
    };
    let without = |mains: &[i64]| {
        let mut buckets = craft::contents();
        let is_one = |key: &[u8]| mains.iter().any(|main| key.starts_with(&main.to_be_bytes()));
        buckets.get_mut("key").unwrap().retain(|(key, _)| !is_one(key));
        missing(&buckets)
    };
    let [one] = without(&[10]).try_into().unwrap();
    assert!(one.starts_with("revision 10 is missing"), "{one}");
    assert_eq!(worst(&path), Some(Severity::Warning));
    let [two] = without(&[10, 11, 14]).try_into().unwrap();
    assert!(two.starts_with("revisions 10 to 11 and others, in 2 ranges, are missing"), "{two}");
    assert!(without(&[2, 3]).is_empty(), "compacted");
    let mut broken = craft::contents();
    broken.get_mut("key").unwrap()[8].1.clear();
    assert!(missing(&broken).is_empty(), "a broken value");
}

#[test]
fn a_damaged_name_among_a_few_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for (bucket, name) in
        [("meta", &b"scheduledCompactRev"[..]), ("cluster", b"clusterVersion"), ("auth", b"authEnabled")]
    {
        let mut buckets = craft::contents();
        let pairs = buckets.get_mut(bucket).unwrap();
        let key = pairs.iter_mut().map(|(key, _)| key).find(|key| *key == name).unwrap();
        *key.last_mut().unwrap() ^= 1;
        fs_err::write(&path, craft::db(&buckets, 4096)).unwrap();
        let found = findings(&path);
        assert!(
            found.iter().any(|kind| matches!(kind, FindingKind::UnknownKey { .. })),
            "{bucket}: {found:?}"
        );
        assert!(worst(&path) >= Some(Severity::Warning));
    }
}

#[test]
fn metadata_buckets_that_do_not_decode_are_found() {
    for (bucket, key, value) in [
        ("lease", &b"short"[..], &b"\x08\x07"[..]),
        ("meta", b"scheduledCompactRev", b"7"),
        ("authUsers", b"root", b"\xff"),
    ] {
        let mut buckets = craft::contents();
        let pairs = buckets.get_mut(bucket).unwrap();
        pairs.retain(|(name, _)| name != key);
        pairs.push((key.into(), value.into()));
        pairs.sort();
        is_found(bucket, craft::db(&buckets, 4096), &format!("bucket \"{bucket}\": the value of key"));
    }
}

/// What belongs to the old members is rewritten: damage in it does not keep the rest from being restored.
#[test]
fn undecodable_old_members_do_not_stop_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    for (bucket, key, value) in [("members", &b"ff"[..], &b"{\"id\":1}"[..]), ("meta", b"confState", b"{")] {
        let mut buckets = craft::contents();
        let pairs = buckets.get_mut(bucket).unwrap();
        pairs.retain(|(name, _)| name != key);
        pairs.push((key.into(), value.into()));
        pairs.sort();
        let path = dir.path().join(bucket);
        fs_err::write(&path, craft::snapshot(craft::db(&buckets, 4096))).unwrap();
        crate::restore_into(&path, &dir.path().join(format!("{bucket}-restored"))).unwrap();
    }
}

/// A damaged name hides a bucket: restored without a word, all leases or all of auth would be gone.
#[test]
fn a_db_with_an_unknown_bucket_is_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut buckets = craft::contents();
    let leases = buckets.remove("lease").unwrap();
    buckets.insert("leasf", leases);
    fs_err::write(&path, craft::db(&buckets, 4096)).unwrap();
    refuses_to_restore(&path, &"as it is");
    let (code, stderr) = {
        let data_dir = dir.path().join("etcd");
        crate::targets::restore_from(&path, &["--skip-hash-check", "--data-dir", data_dir.to_str().unwrap()])
    };
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("leasf"), "{stderr}");
}
