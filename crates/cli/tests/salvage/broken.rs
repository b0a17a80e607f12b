//! One thing broken at a time.

use std::io::Cursor;

use fastrand::Rng;
use lifeboat_bbolt::{Db, PageSet, Writer, WriterOptions};
use lifeboat_etcd::salvage::{BucketOrigin, RootKind};
use lifeboat_etcd::{Bucket, Error, FindingKind, Integrity, NoProgress, Replay, salvage};
use sha2::{Digest, Sha256};

use crate::sample::sample;
use crate::support::metadata_buckets;
use crate::truth::{Outcome, PAGE, Truth, salvage_of};

const BRANCH: u8 = 1;

/// A copy of the sample with something changed in it.
struct Damaged {
    truth: Truth,
    outcome: Outcome,
    _dir: tempfile::TempDir,
}

impl Damaged {
    fn by(change: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::of(sample().db.clone(), change)
    }

    fn of(sound: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        fs_err::write(&path, &sound).unwrap();
        let truth = Truth::of(&path);
        let mut bytes = sound;
        change(&mut bytes);
        fs_err::write(&path, bytes).unwrap();
        Self { truth, outcome: salvage_of(&path), _dir: dir }
    }

    fn has_all(&self) -> bool {
        self.outcome.revisions == self.truth.revisions
    }
}

fn noise(bytes: &mut [u8], page: usize) {
    Rng::with_seed(page as u64).fill(&mut bytes[page * PAGE..(page + 1) * PAGE]);
}

fn root_page(bytes: &[u8]) -> usize {
    Db::open(bytes.to_vec()).unwrap().meta().root.0 as usize
}

/// Every page that looks like a root, of any state.
fn root_pages(bytes: &[u8]) -> Vec<usize> {
    let bytes = bytes.to_vec();
    let db = Db::open(&bytes).unwrap();
    let mut roots = Vec::new();
    db.for_each_leaf::<lifeboat_bbolt::Error>(&PageSet::new(0), |leaf| {
        if leaf.elements().any(|element| element.is_bucket) {
            roots.push(leaf.id().0 as usize);
        }
        Ok(())
    })
    .unwrap();
    roots
}

macro_rules! needs_etcd {
    () => {
        lab::or_skip!(lab::peers::etcd(lab::peers::EtcdVersion::V3_6))
    };
}

#[test]
fn a_sound_db_is_complete() {
    needs_etcd!();
    let damaged = Damaged::by(|_| {});
    let account = &damaged.outcome.account;
    assert!(damaged.has_all() && account.is_complete, "{account:?}");
    assert_eq!(metadata_buckets(&damaged.outcome.salvaged), damaged.truth.small);
    assert_eq!(account.integrity, Some(Integrity::None));
    assert!(damaged.truth.compact > 0 && damaged.truth.leaves.len() > 50);
}

/// What no tree leads to is not missed.
#[test]
fn noise_on_unused_pages_is_no_loss() {
    needs_etcd!();
    let damaged = Damaged::by(|bytes| {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(path.path(), &bytes).unwrap();
        let truth = Truth::of(path.path());
        let leaves = truth.leaves.into_iter().flat_map(|leaf| leaf.pages);
        let used: std::collections::HashSet<_> = leaves.chain(truth.other_pages).chain([0, 1]).collect();
        let unused: Vec<_> = (0..bytes.len() / PAGE).filter(|page| !used.contains(page)).collect();
        assert!(!unused.is_empty());
        unused.into_iter().for_each(|page| noise(bytes, page));
    });
    assert!(damaged.has_all() && damaged.outcome.account.is_complete);
}

#[test]
fn one_broken_meta_page_loses_one_commit_at_most() {
    needs_etcd!();
    for page in [0, 1] {
        let damaged = Damaged::by(|bytes| noise(bytes, page));
        let account = &damaged.outcome.account;
        assert_eq!(account.root, Some(RootKind::Newest));
        // It may have been the newest.
        assert!(!account.is_complete && account.possibly_lost.listed.last().unwrap().1.is_none());
        damaged.outcome.expect_correct_report(&damaged.truth, &format!("meta {page}"));
    }
}

#[test]
fn with_both_meta_pages_broken_the_newest_root_is_found() {
    needs_etcd!();
    let damaged = Damaged::by(|bytes| [0, 1].into_iter().for_each(|page| noise(bytes, page)));
    let account = &damaged.outcome.account;
    assert_eq!(account.root, Some(RootKind::Found));
    assert!(damaged.has_all() && !account.is_complete);
    assert_eq!(metadata_buckets(&damaged.outcome.salvaged), damaged.truth.small);
}

#[test]
fn with_every_root_broken_leaves_are_found_page_by_page() {
    needs_etcd!();
    let damaged = Damaged::by(|bytes| {
        let roots = root_pages(bytes);
        roots.into_iter().chain([0, 1]).for_each(|page| noise(bytes, page));
    });
    let account = &damaged.outcome.account;
    assert_eq!(account.root, None);
    damaged.outcome.has_all_on_intact_leaves(&damaged.truth, &[], "no root");
    damaged.outcome.expect_correct_report(&damaged.truth, "no root");
    let lease = account.buckets.iter().find(|bucket| bucket.bucket == Bucket::Lease).unwrap();
    assert!(!lease.is_whole, "{lease:?}");
    let auth = account.buckets.iter().find(|bucket| bucket.bucket == Bucket::AuthUsers).unwrap();
    assert_eq!(auth.origin, BucketOrigin::Lost);
}

#[test]
fn with_the_root_broken_the_state_before_counts() {
    needs_etcd!();
    let damaged = Damaged::by(|bytes| {
        let root = root_page(bytes);
        noise(bytes, root);
    });
    let account = &damaged.outcome.account;
    assert_eq!(account.root, Some(RootKind::Older));
    assert!(!account.is_complete);
    damaged.outcome.has_all_on_intact_leaves(&damaged.truth, &[], "root");
    damaged.outcome.expect_correct_report(&damaged.truth, "root");
}

/// Each page of the trees in turn, branches and leaves, first pages and overflow.
#[test]
fn a_broken_page_loses_no_other_page() {
    needs_etcd!();
    let sound = Damaged::by(|_| {}).truth;
    let leaves = sound.leaves.iter().flat_map(|leaf| leaf.pages.clone());
    let mut branches = 0;
    for page in leaves.chain(sound.other_pages.iter().copied()) {
        branches += usize::from(sample().db[page * PAGE + 8] == BRANCH);
        let damaged = Damaged::by(|bytes| noise(bytes, page));
        let what = format!("page {page}");
        damaged.outcome.has_all_on_intact_leaves(&damaged.truth, &[page], &what);
        damaged.outcome.expect_correct_report(&damaged.truth, &what);
    }
    assert!(branches > 0);
}

/// The pages of a value carry nothing that could be verified. A digest does.
#[test]
fn a_broken_overflow_page_is_seen_only_by_a_digest() {
    needs_etcd!();
    let large =
        |truth: &Truth| truth.leaves.iter().find(|leaf| leaf.pages.len() > 4).unwrap().pages.start + 2;
    let page = large(&Damaged::by(|_| {}).truth);
    let raw = Damaged::by(|bytes| noise(bytes, page));
    assert!(raw.outcome.account.is_complete && !raw.has_all());
    assert_eq!(raw.outcome.account.integrity, Some(Integrity::None));
    let mut snapshot = sample().db.clone();
    snapshot.extend_from_slice(&Sha256::digest(&sample().db));
    let snapshot = Damaged::of(snapshot, |bytes| noise(bytes, page));
    assert!(!snapshot.outcome.account.is_complete);
    assert_eq!(snapshot.outcome.account.integrity, None);
}

/// A file that the bulk writer made of the sample's contents.
fn rewritten(page_size: u32) -> Vec<u8> {
    let truth = Damaged::by(|_| {}).truth;
    let options = WriterOptions { page_size, ..WriterOptions::default() };
    let mut writer = Writer::new(Cursor::new(Vec::new()), options).unwrap();
    for bucket in Bucket::ALL {
        writer.start_bucket(bucket.name().as_bytes()).unwrap();
        if bucket == Bucket::Key {
            truth.revisions.iter().for_each(|(key, value)| writer.put(&key.to_bytes(), value).unwrap());
        } else {
            let pairs = &truth.small[bucket.name()];
            pairs.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
        }
    }
    writer.finish().unwrap().0.into_inner()
}

#[test]
fn the_page_size_is_found_without_a_meta_page() {
    needs_etcd!();
    let truth = Damaged::by(|_| {}).truth;
    for page_size in [512, 1024, 4096, 16384, 65536] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut bytes = rewritten(page_size);
        Rng::with_seed(1).fill(&mut bytes[..2 * page_size as usize]);
        fs_err::write(&path, bytes).unwrap();
        let outcome = salvage_of(&path);
        assert_eq!(outcome.account.page_size, page_size);
        assert!(outcome.revisions == truth.revisions, "{page_size}");
    }
}

#[test]
fn a_broken_freelist_is_no_loss() {
    needs_etcd!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut bytes = rewritten(4096);
    noise(&mut bytes, 2);
    fs_err::write(&path, bytes).unwrap();
    assert!(salvage_of(&path).account.is_complete);
}

#[test]
fn a_truncated_file_gives_what_is_left() {
    needs_etcd!();
    let pages = sample().db.len() / PAGE;
    for part in [3, 10, 30, 50, 70, 90, 99] {
        let left = (pages * part / 100).max(3);
        let damaged = Damaged::by(|bytes| bytes.truncate(left * PAGE - 100));
        let cut: Vec<_> = (left - 1..pages).collect();
        let what = format!("{left} of {pages} pages");
        damaged.outcome.has_all_on_intact_leaves(&damaged.truth, &cut, &what);
        damaged.outcome.expect_correct_report(&damaged.truth, &what);
        assert!(!damaged.outcome.account.is_complete);
    }
}

#[test]
fn a_file_that_is_not_a_db_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut random = vec![0; 1 << 20];
    Rng::with_seed(3).fill(&mut random);
    for bytes in [random, vec![0; 1 << 16], b"apiVersion: v1\n".repeat(1000), vec![7; 100]] {
        fs_err::write(&path, bytes).unwrap();
        let result = salvage(&path, Replay::Committed, None, &NoProgress);
        assert!(matches!(result, Err(Error::Damaged(FindingKind::Bbolt(_)))), "{result:?}");
    }
}
