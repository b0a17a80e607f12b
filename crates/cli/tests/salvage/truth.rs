//! The store before it was damaged, and what may be made of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use lifeboat_bbolt::{Db, Error as BboltError, Salvage, SalvageItem};
use lifeboat_etcd::salvage::{Report, Salvaged};
use lifeboat_etcd::{BucketKey, KeyValue, NoProgress, Ranges, Replay, Revision, State, open, salvage};

use crate::support::{MetadataBuckets, Revisions, metadata_buckets, revisions};

pub const PAGE: usize = 4096;

/// A leaf page of the tree: the pages it takes, and the revisions on it.
pub struct LeafPages {
    pub pages: Range<usize>,
    pub revisions: Vec<BucketKey>,
}

/// A store as it was.
pub struct Truth {
    pub revisions: Revisions,
    /// 0 when never compacted.
    pub compact: i64,
    pub leaves: Vec<LeafPages>,
    /// Pages of all trees but the leaves of `key`.
    pub other_pages: Vec<usize>,
    pub small: MetadataBuckets,
}

impl Truth {
    pub fn of(path: &Path) -> Self {
        let source = open(path).unwrap();
        let state = State::read(source.as_ref()).unwrap();
        let bytes = fs_err::read(path).unwrap();
        let (leaves, other_pages) = pages(&bytes);
        Self {
            revisions: revisions(source.as_ref()),
            compact: state.compact_revision().unwrap_or(0),
            leaves,
            other_pages,
            small: metadata_buckets(source.as_ref()),
        }
    }

    /// Live keys with the revision that made them what they are.
    pub fn live(&self) -> BTreeMap<Vec<u8>, BucketKey> {
        live(&self.revisions)
    }
}

pub fn live(revisions: &Revisions) -> BTreeMap<Vec<u8>, BucketKey> {
    let mut live = BTreeMap::new();
    for (key, value) in revisions {
        let kv = KeyValue::decode(value).unwrap();
        if key.tombstone {
            live.remove(kv.key);
        } else {
            live.insert(kv.key.to_vec(), *key);
        }
    }
    live
}

/// The leaf pages of the bucket `key`, and all other pages that the newest state uses.
fn pages(bytes: &[u8]) -> (Vec<LeafPages>, Vec<usize>) {
    let bytes = bytes.to_vec();
    let db = Db::open(&bytes).unwrap();
    let mut walk = Salvage::new(&db);
    let mut buckets = Vec::new();
    walk.bucket::<BboltError>(&db.root(), |item| {
        let SalvageItem::Bucket { bucket, .. } = item else { panic!("{item:?}") };
        buckets.push(bucket.clone());
        Ok(())
    })
    .unwrap();
    for bucket in buckets {
        walk.bucket::<BboltError>(&bucket, |item| match item {
            SalvageItem::Value { .. } => Ok(()),
            item => panic!("{item:?}"),
        })
        .unwrap();
    }
    let used = walk.into_valid_pages();
    let (mut leaves, mut others, mut buf) = (Vec::new(), Vec::new(), Vec::new());
    let mut until = 0;
    for page in used.range().filter(|page| used.contains(*page)) {
        let at = page.0 as usize;
        if at < until {
            continue;
        }
        let overflow = u32::from_le_bytes(bytes[at * PAGE + 12..at * PAGE + 16].try_into().unwrap());
        until = at + 1 + overflow as usize;
        let is_leaf = bytes[at * PAGE + 8] == 2;
        let leaf = db.leaf(page, &mut buf).unwrap();
        let revisions = leaf.elements().map(|element| BucketKey::from_bytes(element.key)).collect();
        match revisions {
            Some(revisions) if is_leaf => leaves.push(LeafPages { pages: at..until, revisions }),
            _ => others.extend(at..until),
        }
    }
    (leaves, others)
}

/// What a salvage made of a damaged store.
pub struct Outcome {
    pub salvaged: Salvaged,
    pub account: Report,
    pub revisions: Revisions,
}

pub fn salvage_of(path: &Path) -> Outcome {
    salvage_as(path, Replay::Committed)
}

pub fn salvage_as(path: &Path, how_far: Replay) -> Outcome {
    let (salvaged, account) = salvage(path, how_far, None, &NoProgress).unwrap();
    let revisions = revisions(&salvaged);
    Outcome { salvaged, account, revisions }
}

pub fn contains(ranges: &Ranges, main: i64) -> bool {
    ranges.listed.iter().any(|(first, last)| *first <= main && last.is_none_or(|last| main <= last))
}

impl Outcome {
    /// Expects every revision that lies wholly on a leaf page outside the damage, as it was.
    pub fn has_all_on_intact_leaves(&self, truth: &Truth, damaged: &[usize], what: &str) {
        for leaf in &truth.leaves {
            if damaged.iter().any(|page| leaf.pages.contains(page)) {
                continue;
            }
            // Which of two copies is damaged may be unknown; that they differ is not.
            let conflicts = &self.account.conflicts.listed;
            for key in leaf.revisions.iter().filter(|key| !conflicts.contains(&key.revision)) {
                assert_eq!(
                    self.revisions.get(key),
                    truth.revisions.get(key),
                    "{what}: {key:?} on intact {:?}",
                    leaf.pages
                );
            }
        }
    }

    /// Expects the account to be true. Values that rotted on an overflow page are not told from others.
    pub fn expect_correct_report(&self, truth: &Truth, what: &str) {
        let Report { lost, possibly_lost, doubtful_keys, .. } = &self.account;
        assert_eq!(doubtful_keys.count, doubtful_keys.listed.len() as u64, "{what}: for this test, list all");
        // Whatever is missing is reported as lost or possibly lost.
        let missing = truth.revisions.keys().filter(|key| !self.revisions.contains_key(key));
        for key in missing {
            let main = key.revision.main;
            // A bit of a sub number that flipped is seen above the compact revision alone.
            let under_another_sub = || {
                let mut same = self.revisions.iter().filter(|(other, _)| other.revision.main == main);
                same.any(|(_, value)| value == &truth.revisions[key])
            };
            let reported = contains(lost, main)
                || contains(possibly_lost, main)
                || main <= truth.compact && under_another_sub();
            assert!(reported, "{what}: {key:?} is missing, not reported: {lost:?} {possibly_lost:?}");
        }
        // What is said to be lost is; but a tombstone's main, which a flipped bit may raise, says that more was there.
        let newest = truth.revisions.keys().map(|key| key.revision.main).max().unwrap_or(0);
        for (first, last) in &lost.listed {
            for main in *first..=last.expect("the end of what is lost").min(newest) {
                let all = |revisions: &Revisions| {
                    revisions.keys().filter(|key| key.revision.main == main).copied().collect::<Vec<_>>()
                };
                assert_ne!(all(&self.revisions), all(&truth.revisions), "{what}: {main} is not lost");
            }
        }
        // A key that is live again, or has an older value, is told of; but for what a flipped bit made of a key within
        // a value that still decodes.
        let (is, was) = (live(&self.revisions), truth.live());
        let rotted = self.keys_that_rotted(truth);
        for (key, revision) in is {
            let same = was.get(&key).is_some_and(|was| was.revision.main == revision.revision.main);
            assert!(
                same || rotted.contains(&key) || doubtful_keys.listed.contains(&key),
                "{what}: {} at {revision:?}, was {:?}",
                key.escape_ascii(),
                was.get(&key)
            );
        }
        self.expect_complete_if_reported(truth, what);
    }

    /// Expects every key of every bucket, if none is reported as missing.
    pub fn expect_complete_if_reported(&self, truth: &Truth, what: &str) {
        if self.account.is_complete {
            // Sub numbers are vouched for above the compact revision alone.
            let seen = |revisions: &Revisions| {
                let seen = revisions.keys().map(|key| {
                    let Revision { main, sub } = key.revision;
                    (main, (main > truth.compact).then_some(sub), key.tombstone)
                });
                seen.collect::<Vec<_>>()
            };
            assert_eq!(seen(&self.revisions), seen(&truth.revisions), "{what}: not complete");
            let small = metadata_buckets(&self.salvaged);
            for (bucket, pairs) in &truth.small {
                assert!(small[bucket].keys().eq(pairs.keys()), "{what}: {bucket}");
            }
        }
    }

    /// Keys in revisions that are there with other bytes.
    fn keys_that_rotted(&self, truth: &Truth) -> Vec<Vec<u8>> {
        let key = |value: &[u8]| KeyValue::decode(value).unwrap().key.to_vec();
        let both = self.revisions.iter().filter_map(|(at, value)| Some((value, truth.revisions.get(at)?)));
        both.filter(|(is, was)| is != was).flat_map(|(is, was)| [key(is), key(was)]).collect()
    }
}
