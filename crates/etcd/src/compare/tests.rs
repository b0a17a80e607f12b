//! Comparisons of made histories with what is true of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::finding::Finding;
use crate::key_value::KeyValue;
use crate::member::{ClusterId, MemberId};
use crate::origin::{Integrity, Origin};
use crate::revision::{BucketKey, Revision};
use crate::schema::{Bucket, meta};
use crate::source::{CommitBasis, RaftPosition, VisitAll, VisitPair, VisitRevision};
use crate::wal::LogStatus;

/// What one main revision does: keys with new values, or deleted.
type Txn = Vec<(u8, Option<u8>)>;

type Revisions = BTreeMap<Revision, (bool, Vec<u8>)>;

/// The revisions of a history, as etcd stores them.
fn stored(history: &[Txn]) -> Revisions {
    let mut alive: BTreeMap<u8, (i64, i64)> = BTreeMap::new();
    let mut stored = BTreeMap::new();
    for (main, txn) in (2..).zip(history) {
        for (sub, (key, value)) in (0..).zip(txn) {
            let key_bytes = [b'k', *key];
            let kv = match value {
                Some(value) => {
                    let (create_revision, version) = alive.get(key).map_or((main, 1), |(c, v)| (*c, v + 1));
                    alive.insert(*key, (create_revision, version));
                    let value = std::slice::from_ref(value);
                    KeyValue {
                        key: &key_bytes,
                        create_revision,
                        mod_revision: main,
                        version,
                        value,
                        lease: 0,
                    }
                    .encode()
                }
                None => {
                    alive.remove(key);
                    KeyValue { key: &key_bytes, ..KeyValue::default() }.encode()
                }
            };
            stored.insert(Revision { main, sub }, (value.is_none(), kv));
        }
    }
    stored
}

/// What is alive at a revision.
fn alive(stored: &Revisions, at: i64) -> Revisions {
    let mut alive: BTreeMap<Vec<u8>, Revision> = BTreeMap::new();
    for (revision, (tombstone, value)) in stored.iter().filter(|(revision, _)| revision.main <= at) {
        let key = KeyValue::decode(value).unwrap().key.to_vec();
        match tombstone {
            true => alive.remove(&key),
            false => alive.insert(key, *revision),
        };
    }
    alive.values().map(|revision| (*revision, stored[revision].clone())).collect()
}

/// A member that has applied a history.
#[derive(Debug)]
struct Member {
    revisions: Revisions,
    compact: i64,
    /// Raft index of the last entry it has applied.
    index: u64,
    /// Of a data dir: whose it is.
    id: Option<u64>,
}

impl Member {
    /// `pending`: the compaction was asked for and has not begun.
    fn new(history: &[Txn], compact: i64, pending: bool) -> Self {
        let all = stored(history);
        let mut revisions = alive(&all, compact);
        revisions
            .extend(all.iter().filter(|(r, _)| pending || r.main > compact).map(|(r, v)| (*r, v.clone())));
        Self { revisions, compact, index: 0, id: None }
    }
}

impl Source for Member {
    fn origin(&self) -> Origin {
        Origin { path: PathBuf::from("member"), kind: "db", size: 0, size_in_use: 0, base: None }
    }

    fn raft(&self) -> Option<RaftPosition> {
        let member_id = MemberId(self.id?);
        Some(RaftPosition {
            log: LogStatus {
                cluster_id: ClusterId(1),
                member_id,
                term: 1,
                commit: 1,
                last_index: 1,
                last_term: 1,
            },
            consistent_index: 1,
            replayed_to: 1,
            basis: CommitBasis::CommitIndex,
        })
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        self.revisions.iter().try_for_each(|(revision, (tombstone, value))| {
            visit(BucketKey { revision: *revision, tombstone: *tombstone }, value)
        })
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        if bucket != Bucket::Meta {
            return Ok(());
        }
        visit(meta::CONSISTENT_INDEX.as_bytes(), &self.index.to_be_bytes())?;
        if self.compact >= 0 {
            visit(meta::SCHEDULED_COMPACT.as_bytes(), &Revision::main(self.compact).to_bytes())?;
        }
        Ok(())
    }

    fn verify_integrity(&self, _: &dyn Progress) -> Result<Integrity> {
        Ok(Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        Ok(())
    }

    fn check_container(&self, _: &mut dyn FnMut(Finding), _: VisitAll<'_>) -> Result<()> {
        Ok(())
    }
}

fn compared(members: &[&Member]) -> Comparison {
    let sources: Vec<_> = members.iter().map(|member| Ok(*member as &dyn Source)).collect();
    compare(&sources, &NoProgress).unwrap()
}

fn relation(one: &Member, other: &Member) -> Relation {
    compared(&[one, other]).relation(0, 1).expect("both are fit").clone()
}

fn txn() -> impl Strategy<Value = Txn> {
    let change = (0..4u8, prop::option::weighted(0.8, 0..3u8));
    // etcd refuses to put a key twice in a transaction.
    prop::collection::vec(change, 1..3).prop_map(|mut txn| {
        txn.dedup_by_key(|(key, _)| *key);
        txn
    })
}

/// A history that one member has so far of it, and how far it is compacted.
fn member(history: &[Txn], end: usize, compact: usize, pending: bool) -> (Member, i64, i64) {
    let end = end % history.len() + 1;
    let revision = end as i64 + 1;
    let compact = (compact % (end + 2)) as i64;
    let compact = if compact < 2 { -1 } else { compact };
    (Member::new(&history[..end], compact, pending), revision, compact)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However compacted, members of one log are never said to diverge, and what can be known of them is.
    #[test]
    fn members_of_one_log_agree(
        history in prop::collection::vec(txn(), 1..20),
        ends: [usize; 2], compacts: [usize; 2], pending: [bool; 2],
    ) {
        let [(one, r1, c1), (other, r2, c2)] =
            [0, 1].map(|i| member(&history, ends[i], compacts[i], pending[i]));
        let comparison = compared(&[&one, &other]);
        let Some(relation) = comparison.relation(0, 1) else { return Ok(()) };
        if c1.max(c2) <= r1.min(r2) {
            prop_assert_eq!(relation, &Relation::Agree { whole: true });
        } else {
            let as_far_as_told = matches!(relation, Relation::Agree { whole: false } | Relation::Unknown);
            prop_assert!(as_far_as_told, "{:?}", relation);
        }
        let difference = &comparison.differences[0];
        prop_assert_eq!(difference.alone.revisions, 0);
        let expected: usize = history[..r1.max(r2) as usize - 1].iter().skip(r1.min(r2) as usize - 1).map(Vec::len).sum();
        match difference.lacks.complete {
            true => prop_assert_eq!(difference.lacks.revisions, expected as u64),
            false => prop_assert!(difference.lacks.revisions <= expected as u64),
        }
        prop_assert_eq!(comparison.hashes[0].map(|h| h.hash), comparison.hashes[1].map(|h| h.hash));
    }

    /// Where all that two have in common can be compared, they diverge just when it differs, and where it does first.
    #[test]
    fn members_of_two_logs_diverge_where_they_do(
        shared in prop::collection::vec(txn(), 1..10),
        own in [prop::collection::vec(txn(), 1..8), prop::collection::vec(txn(), 1..8)],
        compacts: [usize; 2], pending: [bool; 2],
    ) {
        let histories = own.map(|own| [shared.clone(), own].concat());
        let [(one, r1, c1), (other, r2, c2)] = [0, 1].map(|i| {
            let history: &[Txn] = &histories[i];
            member(history, history.len() - 1, compacts[i], pending[i])
        });
        let comparison = compared(&[&one, &other]);
        let Some(relation) = comparison.relation(0, 1) else { return Ok(()) };
        let (compacted, top) = (c1.max(c2), r1.min(r2));
        prop_assume!(compacted <= top);
        let all = histories.map(|history| stored(&history));
        let freshest = comparison.ranking[0];
        let missing = |of: usize, above: i64| {
            let has = all[of].iter().filter(|(revision, _)| revision.main > above);
            has.filter(|(revision, stored)| all[1 - of].get(revision) != Some(stored)).count() as u64
        };
        let Difference { lacks, alone, .. } = &comparison.differences[0];
        for (changes, of) in [(lacks, freshest), (alone, 1 - freshest)] {
            prop_assert!(changes.revisions <= missing(of, -1));
            prop_assert!(!changes.complete || changes.revisions == missing(of, compacted));
        }
        let beyond = |stored: &Revisions| -> Revisions {
            let beyond = stored.iter().filter(|(r, _)| r.main > compacted && r.main <= top);
            beyond.map(|(r, v)| (*r, v.clone())).collect()
        };
        let [alive_one, alive_other] = all.each_ref().map(|stored| alive(stored, compacted));
        let [beyond_one, beyond_other] = all.each_ref().map(beyond);
        if alive_one == alive_other {
            let first = beyond_one.keys().chain(beyond_other.keys())
                .filter(|r| beyond_one.get(r) != beyond_other.get(r)).min();
            match (relation, first) {
                (Relation::Diverged(divergence), Some(first)) => {
                    prop_assert_eq!((divergence.revision, divergence.exact), (first.main, true));
                }
                (Relation::Agree { whole: true }, None) => {}
                _ => prop_assert!(false, "{:?} but first {:?}", relation, first),
            }
        } else {
            let diverged = matches!(relation, Relation::Diverged(Divergence { exact: false, .. }));
            prop_assert!(diverged, "{:?}", relation);
        }
    }
}

fn puts(keys: &[u8]) -> Vec<Txn> {
    keys.iter().map(|key| vec![(*key, Some(1))]).collect()
}

/// A cluster restored from an old snapshot starts above all revisions and is compacted there: nothing in common can be
/// compared revision by revision, and still it has not seen what the old cluster wrote since.
#[test]
fn a_restored_cluster_does_not_go_on_from_what_was_written_since_its_snapshot() {
    let old = puts(&[1, 2, 3, 1]);
    let mut restored = Member::new(&puts(&[1, 2]), -1, false);
    restored.compact = 1000;
    let survivor = Member::new(&old, -1, false);
    let Relation::Diverged(divergence) = relation(&restored, &survivor) else {
        panic!("key 1 was changed since")
    };
    assert_eq!((divergence.revision, divergence.exact), (2, false));
    let snapshot = Member::new(&puts(&[1, 2]), -1, false);
    assert_eq!(relation(&restored, &snapshot), Relation::Agree { whole: false });
    // Nothing shows that they are of one cluster, so nobody takes the one for the other's successor unasked.
    let comparison = compared(&[&restored, &snapshot]);
    assert_eq!(comparison.choose(), Err(NoChoice::Unknown { freshest: 0, from: vec![1] }));
}

/// A compaction loses a key that its very revision deletes and puts again, in releases since 3.4.34 and 3.5.16 (etcd issue
/// 22376): a member that has not compacted yet is no other history.
#[test]
fn what_a_compaction_loses_by_mistake_is_no_divergence() {
    let history = vec![vec![(1, Some(1))], vec![(1, None), (1, Some(2))], vec![(2, Some(1))]];
    let whole = Member::new(&history, -1, false);
    let mut compacted = Member::new(&history, 3, false);
    assert!(compacted.revisions.remove(&Revision { main: 3, sub: 1 }).is_some());
    assert_eq!(relation(&compacted, &whole), Relation::Agree { whole: true });
}

#[test]
fn the_freshest_is_chosen_where_it_goes_on_from_all_others() {
    let history = puts(&[1, 2, 3, 4, 5]);
    let [newest, older, oldest] = [5, 4, 2].map(|end| Member::new(&history[..end], -1, false));
    let comparison = compared(&[&oldest, &newest, &older]);
    assert_eq!(comparison.ranking, [1, 2, 0]);
    assert_eq!(comparison.choose(), Ok(1));
    let lacks = |place: usize| {
        let found = comparison.differences.iter().find(|difference| difference.source == place).unwrap();
        found.lacks.keys.keys().map(|key| key[1]).collect::<Vec<_>>()
    };
    assert_eq!((lacks(2), lacks(0)), (vec![5], vec![3, 4, 5]));

    let empty = Member::new(&[], -1, false);
    let comparison = compared(&[&empty, &older]);
    assert_eq!(comparison.sources[0].ineligible, Some(Ineligible::Empty));
    assert_eq!((comparison.ranking.as_slice(), comparison.choose()), (&[1][..], Ok(1)));
    assert_eq!(compared(&[&empty]).choose(), Err(NoChoice::NoneEligible));
}

/// Where histories diverge, only members count, each of them once, and only those that parted from the stray.
#[test]
fn a_stray_is_left_out_only_where_more_members_stand_by_the_freshest() {
    let member = |keys: &[u8], id| Member { id, ..Member::new(&puts(keys), -1, false) };
    let newest = member(&[1, 2, 3, 4, 5], Some(1));
    let stray = member(&[1, 2, 9, 8], Some(2));
    let diverged = Err(NoChoice::Diverged { freshest: 0, from: vec![1] });
    for (other, choice) in [
        (member(&[1, 2, 3], Some(3)), Ok(0)),
        // A copy of the freshest, or an earlier state of it.
        (member(&[1, 2, 3], Some(1)), diverged.clone()),
        // Lagging: an earlier state of both.
        (member(&[1, 2], Some(3)), diverged.clone()),
        // A snapshot, of whichever member.
        (member(&[1, 2, 3], None), diverged.clone()),
        // A second stray.
        (member(&[1, 7], Some(3)), Err(NoChoice::Diverged { freshest: 0, from: vec![1, 2] })),
    ] {
        assert_eq!(compared(&[&newest, &stray, &other]).choose(), choice);
    }
    assert_eq!(compared(&[&newest, &stray]).choose(), diverged);
}

/// A snapshot of long ago has no revision in common with members that are compacted beyond it, and these have.
#[test]
fn hashes_are_compared_at_a_revision_that_most_have() {
    let history = puts(&[1, 2, 3, 4, 5]);
    let [one, other] = [4, 5].map(|end| Member::new(&history[..end], 4, false));
    let old = Member::new(&history[..2], -1, false);
    let hashes = compared(&[&one, &old, &other]).hashes;
    assert!(hashes[0].is_some_and(|hash| hash.hash_revision == 5), "{hashes:?}");
    assert_eq!((hashes[0], hashes[1]), (hashes[2], None));
    assert_eq!(compared(&[&old, &other]).hashes, [None, None]);
}

/// A cluster that was restored counts raft's entries again; of what holds the same, raft decides.
#[test]
fn revisions_rank_before_raft() {
    let history = puts(&[1, 2, 3]);
    let at = |end: usize, index: u64| Member { index, ..Member::new(&history[..end], -1, false) };
    assert_eq!(compared(&[&at(2, 9000), &at(3, 10), &at(3, 11)]).ranking, [2, 1, 0]);
}

/// The list is bounded, and the counts are not.
#[test]
fn more_keys_than_are_listed_are_counted() {
    let change = |key: usize| {
        let key = key.to_string().into_bytes();
        let kv =
            KeyValue { key: &key, create_revision: 3, mod_revision: 3, version: 1, ..KeyValue::default() };
        kv.encode()
    };
    let first = stored(&puts(&[1]));
    let mut many = Member { revisions: first.clone(), compact: -1, index: 0, id: None };
    let revisions = (0..3000).map(|sub| (Revision { main: 3, sub }, (false, change(sub as usize))));
    many.revisions.extend(revisions);
    let comparison = compared(&[&many, &Member { revisions: first, compact: -1, index: 0, id: None }]);
    let Changes { revisions, keys, further_revisions, complete } = &comparison.differences[0].lacks;
    assert_eq!((*revisions, keys.len(), *further_revisions, *complete), (3000, 1000, 2000, true));
}

/// Damage met on the way ends all threads.
#[test]
fn an_error_ends_the_merge() {
    let member = Member::new(&vec![vec![(1, Some(1))]; 100_000], -1, false);
    let mut seen = 0;
    let error = merge::merge(&[&member, &member], &NoProgress, &mut |_, _| {
        seen += 1;
        if seen == 10 { Err(Error::Changed) } else { Ok(()) }
    });
    assert!(matches!(error, Err(Error::Changed)), "{error:?}");
}
