//! A data dir: the log on top of its db, where it fits, and only there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use lab::cluster::{Cluster, ClusterBuilder};
use lab::copy_dir;
use lab::peers::{self, EtcdVersion};
use lifeboat_bbolt::{Db, PageId};
use lifeboat_etcd::salvage::{Report, RootKind};
use lifeboat_etcd::wal::{Record, RecordKind, decode, encode};
use lifeboat_etcd::{Base, Replay, Source, open_with};

use crate::sample::killed;
use crate::support::{MetadataBuckets, Revisions, metadata_buckets, revisions};
use crate::truth::{Outcome, PAGE, Truth, live, salvage_as};

/// A copy of the killed member with something changed.
struct Damaged {
    dir: tempfile::TempDir,
    /// With the log on top.
    whole: Truth,
}

impl Damaged {
    /// As if of a restored member: its log does not begin with an empty store, and is nothing by itself.
    fn new() -> Self {
        Self::with(|log| {
            let mut records = decode(log).unwrap();
            let behind = records.iter().rposition(|record| record.kind == RecordKind::Snapshot).unwrap() + 2;
            // Index 1, term 1.
            let noted = Record { kind: RecordKind::Snapshot, data: vec![8, 1, 16, 1].into() };
            records.insert(behind, noted);
            let (size, encoded) = (log.len(), encode(&records));
            *log = encoded;
            log.resize(size.max(log.len() + 8), 0);
        })
    }

    fn with(change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("m1");
        copy_dir(&killed().data_dir(), &data_dir).unwrap();
        change_file(&log_of(&data_dir), change);
        let source = open_with(&data_dir, Replay::WholeLog, None).unwrap();
        let mut whole = Truth::of(&data_dir.join("member/snap/db"));
        let of_db = whole.revisions.len();
        whole.revisions = revisions(source.as_ref());
        whole.small = metadata_buckets(source.as_ref());
        assert!(whole.revisions.len() > of_db, "the log adds nothing");
        Self { dir, whole }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("m1")
    }

    fn change_db(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change_file(&self.data_dir().join("member/snap/db"), change);
    }

    fn change_log(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change_file(&log_of(&self.data_dir()), change);
    }

    fn salvage(&self) -> Outcome {
        salvage_as(&self.data_dir(), Replay::WholeLog)
    }

    fn is_whole(&self, outcome: &Outcome) {
        assert!(outcome.account.is_complete, "{:?}", outcome.account);
        assert!(outcome.revisions == self.whole.revisions);
        // Neither that a compaction is finished nor the storage version is in the log: the state before may not know.
        let without_mark = |mut small: MetadataBuckets| {
            for key in ["finishedCompactRev", "storageVersion"] {
                small.get_mut("meta").unwrap().remove(key.as_bytes());
            }
            small
        };
        assert_eq!(without_mark(metadata_buckets(&outcome.salvaged)), without_mark(self.whole.small.clone()));
    }
}

fn log_of(data_dir: &Path) -> PathBuf {
    data_dir.join("member/wal/0000000000000000-0000000000000000.wal")
}

fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs_err::read(path).unwrap();
    change(&mut bytes);
    fs_err::write(path, bytes).unwrap();
}

fn noise(bytes: &mut [u8], page: u64) {
    let at = usize::try_from(page).unwrap() * PAGE;
    Rng::with_seed(page).fill(&mut bytes[at..at + PAGE]);
}

/// Root pages of the newest state and of the one before.
fn roots(bytes: &[u8]) -> (PageId, PageId) {
    let bytes = bytes.to_vec();
    let db = Db::open(&bytes).unwrap();
    (db.meta().root, db.older().unwrap().meta().root)
}

#[test]
fn a_sound_data_dir_is_complete() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::new();
    let outcome = damaged.salvage();
    damaged.is_whole(&outcome);
    assert!(outcome.account.log.unwrap().replayed > 0);
}

/// What the newest commit of the db had, the log has too.
#[test]
fn the_log_makes_up_for_a_broken_newest_state() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::new();
    damaged.change_db(|bytes| {
        let (newest, _) = roots(bytes);
        noise(bytes, newest.0);
    });
    let outcome = damaged.salvage();
    assert_eq!(outcome.account.root, Some(RootKind::Older));
    damaged.is_whole(&outcome);
}

#[test]
fn the_log_makes_up_for_a_broken_meta_page() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    for page in [0, 1] {
        let damaged = Damaged::new();
        damaged.change_db(|bytes| noise(bytes, page));
        let outcome = damaged.salvage();
        assert_eq!(outcome.account.root, Some(RootKind::Newest));
        damaged.is_whole(&outcome);
    }
}

/// A commit that was cut short may have written over the older state, and nothing in the tree would show it.
#[test]
fn a_log_is_not_replayed_over_a_state_that_has_some_of_it() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::new();
    let last_leaf = |bytes: &Vec<u8>, db: &Db<&Vec<u8>>| {
        let path = damaged.dir.path().join("state");
        // As if this state's meta page were the only one.
        let mut alone = bytes.clone();
        let other = usize::from(db.meta().txid.0.is_multiple_of(2));
        alone[other * PAGE..(other + 1) * PAGE].fill(0);
        fs_err::write(&path, alone).unwrap();
        let leaf = Truth::of(&path).leaves.into_iter().max_by_key(|leaf| leaf.revisions.last().copied());
        leaf.unwrap().pages
    };
    let mut overwritten = false;
    damaged.change_db(|bytes| {
        let copy = bytes.clone();
        let db = Db::open(&copy).unwrap();
        let (newest, older) = (last_leaf(&copy, &db), last_leaf(&copy, &db.older().unwrap()));
        overwritten = newest.len() == 1 && older.len() == 1 && newest != older;
        bytes.copy_within(newest.start * PAGE..newest.end * PAGE, older.start * PAGE);
        bytes[older.start * PAGE..][..8].copy_from_slice(&(older.start as u64).to_le_bytes());
        noise(bytes, db.meta().root.0);
    });
    assert!(overwritten, "the sample does not show it");
    let outcome = damaged.salvage();
    assert_eq!(outcome.account.log.unwrap().replayed, 0);
    assert!(!outcome.account.is_complete);
    outcome.expect_correct_report(&damaged.whole, "overwritten");
}

#[test]
fn no_log_is_replayed_over_a_broken_leaf_and_the_report_says_so() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut in_both_states = 0;
    for place in 0..12 {
        let damaged = Damaged::new();
        let leaf = damaged.whole.leaves[place * 3].pages.start;
        damaged.change_db(|bytes| noise(bytes, leaf as u64));
        let outcome = damaged.salvage();
        let log = outcome.account.log.unwrap();
        if log.replayed > 0 {
            damaged.is_whole(&outcome);
            continue;
        }
        in_both_states += 1;
        assert!(log.not_replayed.is_some() && !outcome.account.is_complete);
        outcome.has_all_on_intact_leaves(&damaged.whole, &[leaf], "leaf");
        outcome.expect_correct_report(&damaged.whole, "leaf");
    }
    assert!(in_both_states > 0);
}

/// A log that begins with its cluster makes up for any damage of the db, and for a db that is not there.
#[test]
fn a_log_that_begins_with_its_cluster_makes_up_for_everything() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::with(|_| ());
    let leaf = damaged.whole.leaves[damaged.whole.leaves.len() / 2].pages.start;
    for change in ["leaf", "noise", "missing"] {
        match change {
            "leaf" => damaged.change_db(|bytes| noise(bytes, leaf as u64)),
            "noise" => damaged.change_db(|bytes| Rng::with_seed(1).fill(bytes)),
            _ => fs_err::remove_file(damaged.data_dir().join("member/snap/db")).unwrap(),
        }
        let outcome = damaged.salvage();
        assert_eq!(outcome.salvaged.origin().base, Some(Base::Nothing), "{change}");
        assert!(outcome.account.is_complete, "{change}: {:?}", outcome.account);
        // What a compaction took out of the db is in the log still, and waits to be taken out again.
        let (is, was) = (live(&outcome.revisions), damaged.whole.live());
        assert!(is == was, "{change}");
    }
}

/// The log up to where it is damaged: never anything else than what was.
#[test]
fn a_damaged_log_is_replayed_as_far_as_it_goes() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut rng = Rng::with_seed(5);
    let mut replayed = 0;
    for round in 0..30 {
        let damaged = Damaged::new();
        damaged.change_log(|bytes| {
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            // Mostly where the db does not reach.
            let at = if round % 3 == 0 { rng.usize(0..used) } else { used - rng.usize(1..6000) };
            bytes[at] ^= 1 << rng.u8(0..8);
        });
        let outcome = damaged.salvage();
        let what = format!("round {round}");
        replayed += outcome.account.log.unwrap().replayed;
        assert!(is_start_of(&outcome.revisions, &damaged.whole.revisions), "{what}");
        outcome.expect_correct_report(&damaged.whole, &what);
        if outcome.revisions != damaged.whole.revisions {
            assert!(!outcome.account.is_complete, "{what}");
        }
    }
    assert!(replayed > 0);
}

/// The newest state's root is broken, and the log goes on from the state before, but not as far as the newest had come:
/// what lies on its leaf pages beyond that is found there.
#[test]
fn pages_continue_where_the_log_ends() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::new();
    damaged.change_db(|bytes| {
        let (newest, _) = roots(bytes);
        noise(bytes, newest.0);
    });
    // Of the changes that only the newest state has, the log has the first.
    damaged.change_log(|bytes| {
        let at = bytes.windows(8).position(|bytes| bytes == b"second 1").unwrap();
        bytes[at] ^= 1;
    });
    let outcome = damaged.salvage();
    let Report { log, from_pages, is_complete, .. } = &outcome.account;
    assert_eq!((log.unwrap().replayed, *from_pages, *is_complete), (1, 2, false));
    outcome.expect_correct_report(&damaged.whole, "pages");
    outcome.has_all_on_intact_leaves(&damaged.whole, &[], "pages");
}

/// A db that went back to what it was before the newest raft snapshot, as a disk does that lied about its writes: etcd
/// does not start, and the log has all that the db lacks.
#[test]
fn the_log_leads_from_an_older_db_to_the_raft_snapshot_and_on() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6)
        .flag("--snapshot-count=10")
        .flag("--backend-batch-interval=20ms")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    let put = |cluster: &Cluster, what: &str| {
        let client = cluster.client(0).unwrap();
        for i in 0..40 {
            cluster.block_on(client.put(format!("{what}/{}", i % 7), format!("{i}"), 0)).unwrap();
        }
    };
    put(&cluster, "early");
    cluster.stop(0).unwrap();
    let db = cluster.data_dir(0).join("member/snap/db");
    let early = fs_err::read(&db).unwrap();
    cluster.restart(0).unwrap();
    cluster.wait_healthy(Duration::from_secs(60)).unwrap();
    put(&cluster, "late");
    cluster.stop(0).unwrap();
    let whole = Truth::of(&db);
    fs_err::write(&db, early).unwrap();

    let source = open_with(cluster.data_dir(0), Replay::WholeLog, None).unwrap();
    assert!(revisions(source.as_ref()) == whole.revisions);
    drop(source);
    let salvaged = salvage_as(cluster.data_dir(0), Replay::WholeLog);
    assert!(salvaged.account.is_complete && salvaged.revisions == whole.revisions, "{:?}", salvaged.account);
}

/// The only voter has committed its whole log, whatever its commit index.
#[test]
fn the_whole_log_of_an_only_voter_is_committed() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let data_dir = killed().data_dir();
    let [committed, by_index] =
        [Replay::Committed, Replay::CommitIndex].map(|how_far| salvage_as(&data_dir, how_far));
    assert!(by_index.account.log.unwrap().uncommitted > 0, "the sample does not show it");
    assert!(!by_index.account.is_complete && committed.account.is_complete);
    assert!(
        is_start_of(&by_index.revisions, &committed.revisions) && by_index.revisions != committed.revisions
    );
}

#[test]
fn without_a_log_the_db_is_salvaged() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let damaged = Damaged::new();
    fs_err::remove_dir_all(damaged.data_dir().join("member/wal")).unwrap();
    let outcome = damaged.salvage();
    assert!(!outcome.account.is_complete);
    assert!(is_start_of(&outcome.revisions, &damaged.whole.revisions));
    outcome.expect_correct_report(&damaged.whole, "no log");
}

fn is_start_of(start: &Revisions, whole: &Revisions) -> bool {
    start.iter().zip(whole).all(|(a, b)| a == b) && start.len() <= whole.len()
}
