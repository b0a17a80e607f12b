//! The log of a cluster, and the state after each of its entries: every state holds what it claims, and none that claims
//! more is believed.

use fastrand::Rng;
use prost::Message;

use super::super::messages::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TargetUnion, TxnRequest,
};
use super::super::replay;
use super::*;
use crate::apply::Overlay;
use crate::finding::Finding;
use crate::key_value::KeyValue;
use crate::origin::{Integrity, Origin};
use crate::progress::Progress;
use crate::proto::Entry;
use crate::revision::BucketKey;
use crate::schema::{Bucket, meta};
use crate::source::{VisitAll, VisitPair, VisitRevision};
use crate::wal::{Record, RecordKind, WalDir, encode, segment_name};

const KEYS: [&str; 6] = ["a", "b", "b/1", "b/2", "c", "d"];
const TARGET_MOD: i32 = 2;

/// A state that some entries led to.
#[derive(Debug, Default)]
struct Built {
    overlay: Overlay,
    claimed: u64,
    is_compacted: bool,
    /// Whether the compaction kept deletions of its own revision, and removed what the same transaction put again.
    loses_put_again: bool,
}

impl Built {
    fn compact_revision(&self) -> i64 {
        let mark =
            self.overlay.pairs(Bucket::Meta).find(|(key, _)| *key == meta::SCHEDULED_COMPACT.as_bytes());
        let revision = mark.and_then(|(_, mark)| crate::revision::Revision::from_bytes(mark));
        revision.filter(|_| self.is_compacted).map_or(0, |revision| revision.main)
    }

    /// The newest revision of a key, if it is alive.
    fn modified(&self, key: &str) -> i64 {
        let of_key =
            |(_, value): &&(BucketKey, Vec<u8>)| KeyValue::decode(value).unwrap().key == key.as_bytes();
        let newest = self.overlay.revisions().iter().rfind(of_key);
        newest.filter(|(key, _)| !key.tombstone).map_or(0, |(key, _)| key.revision.main)
    }

    fn leases(&self) -> Vec<Vec<u8>> {
        self.overlay.pairs(Bucket::Lease).map(|(key, _)| key.to_vec()).collect()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.overlay.revisions() == other.overlay.revisions() && self.leases() == other.leases()
    }
}

impl Source for Built {
    fn origin(&self) -> Origin {
        Origin { path: "built".into(), kind: "db", size: 0, size_in_use: 0, base: None }
    }

    fn revisions(&self, visit: VisitRevision<'_>) -> Result<()> {
        let compacted = self.compact_revision();
        let revisions = self.overlay.revisions();
        for (place, (key, value)) in revisions.iter().enumerate() {
            let same_key = |(_, other): &(BucketKey, Vec<u8>)| {
                KeyValue::decode(other).unwrap().key == KeyValue::decode(value).unwrap().key
            };
            let later = revisions[place + 1..].iter().find(|other| same_key(other));
            let mut is_superseded =
                key.tombstone || later.is_some_and(|(key, _)| key.revision.main <= compacted);
            if self.loses_put_again && key.revision.main == compacted {
                let earlier = revisions[..place].iter().rfind(|other| same_key(other));
                is_superseded = !key.tombstone && earlier.is_some_and(|(key, _)| key.tombstone);
            }
            if key.revision.main > compacted || !is_superseded {
                visit(*key, value)?;
            }
        }
        Ok(())
    }

    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        for (key, value) in self.overlay.pairs(bucket) {
            match (bucket, key) {
                (Bucket::Meta, key) if key == meta::CONSISTENT_INDEX.as_bytes() => {
                    visit(key, &self.claimed.to_be_bytes())?;
                }
                (Bucket::Meta, key) if key == meta::SCHEDULED_COMPACT.as_bytes() && !self.is_compacted => {}
                _ => visit(key, value)?,
            }
        }
        Ok(())
    }

    fn verify_integrity(&self, _progress: &dyn Progress) -> Result<Integrity> {
        Ok(Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        Ok(())
    }

    fn check_container(&self, _found: &mut dyn FnMut(Finding), _visit: VisitAll<'_>) -> Result<()> {
        Ok(())
    }
}

fn put(key: &str, value: u8, lease: i64) -> PutRequest {
    PutRequest { key: key.into(), value: vec![value], lease, ..PutRequest::default() }
}

fn delete(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false }
}

fn operation(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// As Kubernetes writes: only if the key is as it was last seen, else it is read.
fn if_unchanged(key: &str, seen: i64, then: Op) -> TxnRequest {
    let compare = Compare {
        result: 0,
        target: TARGET_MOD,
        key: key.into(),
        target_union: Some(TargetUnion::ModRevision(seen)),
        range_end: Vec::new(),
    };
    let read = RangeRequest { key: key.into(), ..RangeRequest::default() };
    TxnRequest {
        compare: vec![compare],
        success: vec![operation(then)],
        failure: vec![operation(Op::Range(read))],
    }
}

/// What a client may send next, who looks at the state first, or has looked at an older one.
fn request(rng: &mut Rng, now: &Built) -> InternalRaftRequest {
    let key = KEYS[rng.usize(0..KEYS.len())];
    let seen = if rng.u8(0..6) == 0 { rng.i64(0..30) } else { now.modified(key) };
    // An id is granted once, as clients take random ones.
    let fresh = i64::try_from(now.claimed).unwrap() + 1;
    let there: Vec<i64> =
        now.leases().iter().map(|id| i64::from_be_bytes(id[..].try_into().unwrap())).collect();
    let is_there = !there.is_empty() && rng.u8(0..4) > 0;
    let lease = if is_there { there[rng.usize(0..there.len())] } else { rng.i64(1..=fresh) };
    let empty = InternalRaftRequest { id: 1, ..InternalRaftRequest::default() };
    match rng.u8(0..20) {
        0..5 => InternalRaftRequest { put: Some(put(key, rng.u8(0..2), 0)), ..empty },
        5 => InternalRaftRequest { put: Some(put(key, rng.u8(0..2), lease)), ..empty },
        6 => InternalRaftRequest { delete_range: Some(delete(key, "")), ..empty },
        7 => InternalRaftRequest { delete_range: Some(delete("b", "c")), ..empty },
        8..14 => {
            let then = Op::Put(put(key, rng.u8(0..3), 0));
            InternalRaftRequest { txn: Some(if_unchanged(key, seen, then)), ..empty }
        }
        14 => {
            let then = Op::DeleteRange(delete(key, ""));
            InternalRaftRequest { txn: Some(if_unchanged(key, seen, then)), ..empty }
        }
        15 => InternalRaftRequest { lease_grant: Some(LeaseGrantRequest { ttl: 60, id: fresh }), ..empty },
        16 => InternalRaftRequest { lease_revoke: Some(LeaseRevokeRequest { id: lease }), ..empty },
        17 => {
            let compaction = CompactionRequest { revision: rng.i64(1..40), physical: false };
            InternalRaftRequest { compaction: Some(compaction), ..empty }
        }
        _ => {
            let get = AlarmRequest { action: 0, member_id: 0, alarm: 0 };
            InternalRaftRequest { alarm: Some(get), ..empty }
        }
    }
}

struct Cluster {
    _dir: tempfile::TempDir,
    wal: WalDir,
    /// After no entry, after the first, and so on.
    states: Vec<Built>,
}

impl Cluster {
    fn new(mut next: impl FnMut(&Built) -> InternalRaftRequest, entries: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(segment_name(0, 0));
        let mut records = Vec::new();
        let mut states = vec![Built::default()];
        for index in 1..=entries {
            let data = next(states.last().unwrap()).encode_to_vec().into();
            let entry = Entry { kind: Some(NORMAL), term: Some(2), index: Some(index), data: Some(data) };
            records.push(Record { kind: RecordKind::Entry, data: entry.encode_to_vec().into() });
            fs_err::write(&path, encode(&records)).unwrap();
            let wal = WalDir::open(dir.path()).unwrap();
            let entries = Entries::find(&wal, 0, index).unwrap();
            let empty = Built::default();
            let overlay = replay(&empty, &State::read(&empty).unwrap(), &entries).unwrap();
            states.push(Built { overlay, claimed: index, ..Built::default() });
        }
        let wal = WalDir::open(dir.path()).unwrap();
        Self { _dir: dir, wal, states }
    }

    fn overlap(&self, state: &Built) -> Result<u64> {
        let entries = Entries::find(&self.wal, 0, state.claimed).unwrap();
        Ok(overlap(state, &State::read(state).unwrap(), &entries)?.writes)
    }
}

fn is_refused(result: Result<u64>) -> bool {
    match result {
        Ok(_) => false,
        Err(Error::Damaged(FindingKind::BaseContent { .. })) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_state_is_believed_up_to_what_it_holds() {
    let (mut refused, mut believed) = (0, 0);
    for seed in 0..30 {
        let mut rng = Rng::with_seed(seed);
        let mut cluster = Cluster::new(|now| request(&mut rng, now), 40);
        for is_compacted in [false, true] {
            for held in 1..cluster.states.len() {
                let what = format!("seed {seed}, entry {held}, compacted {is_compacted}");
                cluster.states[held].is_compacted = is_compacted;
                let seen = cluster.overlap(&cluster.states[held]);
                let seen = seen.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(
                    is_compacted || seen > 0 || cluster.states[held].overlay.revisions().is_empty(),
                    "{what}"
                );
                for claimed in held + 1..cluster.states.len().min(held + 6) {
                    let is_like = cluster.states[held].is_like(&cluster.states[claimed]);
                    cluster.states[held].claimed = claimed as u64;
                    match is_refused(cluster.overlap(&cluster.states[held])) {
                        true => refused += 1,
                        false if is_like => {}
                        false => {
                            eprintln!("{what}: believed to have entry {claimed}");
                            believed += 1;
                        }
                    }
                }
                cluster.states[held].claimed = held as u64;
            }
        }
    }
    eprintln!("{refused} refused, {believed} believed");
    assert!(refused > 0 && believed == 0);
}

/// etcd does not find out that a deletion to the end of all keys overlaps a put of the same transaction, and its compaction
/// at that revision loses the put.
#[test]
fn a_key_that_a_compaction_lost_is_unknown() {
    let everything = || DeleteRangeRequest { key: vec![0], range_end: vec![0], prev_kv: false };
    let again = |key| {
        let success = vec![operation(Op::DeleteRange(everything())), operation(Op::Put(put(key, 2, 0)))];
        TxnRequest { success, ..TxnRequest::default() }
    };
    let empty = || InternalRaftRequest { id: 1, ..InternalRaftRequest::default() };
    let requests = [
        InternalRaftRequest { put: Some(put("a", 1, 0)), ..empty() },
        InternalRaftRequest { put: Some(put("b", 1, 0)), ..empty() },
        InternalRaftRequest { txn: Some(again("b")), ..empty() },
        InternalRaftRequest {
            compaction: Some(CompactionRequest { revision: 4, physical: false }),
            ..empty()
        },
        InternalRaftRequest { put: Some(put("a", 2, 0)), ..empty() },
        InternalRaftRequest { txn: Some(if_unchanged("b", 4, Op::DeleteRange(delete("b", "")))), ..empty() },
        InternalRaftRequest { put: Some(put("b", 1, 0)), ..empty() },
        InternalRaftRequest { txn: Some(if_unchanged("b", 7, Op::Put(put("b", 3, 0)))), ..empty() },
        InternalRaftRequest { txn: Some(if_unchanged("b", 8, Op::Put(put("b", 4, 0)))), ..empty() },
    ];
    let entries = requests.len() as u64;
    let mut requests = requests.into_iter();
    let mut cluster = Cluster::new(|_| requests.next().unwrap(), entries);
    for held in 4..=entries {
        let state = &mut cluster.states[usize::try_from(held).unwrap()];
        state.loses_put_again = true;
        state.is_compacted = true;
    }
    for held in 4..=entries {
        let seen = cluster.overlap(&cluster.states[usize::try_from(held).unwrap()]);
        assert!(seen.is_ok(), "entry {held}: {seen:?}");
    }
    // From the next put on, the key is known: what comes after it has to be there.
    let before_last = &mut cluster.states[usize::try_from(entries - 1).unwrap()];
    before_last.claimed = entries;
    let before_last = &cluster.states[usize::try_from(entries - 1).unwrap()];
    assert!(is_refused(cluster.overlap(before_last)));
}
