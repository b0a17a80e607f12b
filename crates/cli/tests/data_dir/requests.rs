//! Random requests of every kind, also such as the API would not let through: they must be refused as a server
//! refuses them.

mod auth;

use fastrand::Rng;
use lab::peers::EtcdVersion;

use crate::raft::{Entry, Proto, request_of};

/// Leases that the base has, and two that it has not.
pub const LEASES: [i64; 4] = [0x1001, 0x1002, 0x1003, 0x7fff_0000_0000_0001];
/// No auth revision is newer.
const FRESH: i64 = 1_000_000;
const KEYS: [&str; 9] = ["a", "a/1", "a/2", "b", "b/1", "base", "c", "c\u{ff}", "z"];

/// Makes requests from a seed.
pub struct Requests {
    pub rng: Rng,
    pub version: EtcdVersion,
    /// Own id of the member.
    pub member: u64,
    /// Whether there are users.
    pub users: bool,
    /// Whether they go to a server that runs, not into a log.
    pub live: bool,
    /// Whether the next request is of a user who may not do everything, or of an old auth revision. It then is such
    /// that all patch releases of an etcd permit or refuse it alike.
    pub limited: bool,
}

/// A request, as the field of an InternalRaftRequest.
pub type Request = (u32, Proto);

impl Requests {
    pub fn new(seed: u64, version: EtcdVersion, member: u64) -> Self {
        Self { rng: Rng::with_seed(seed), version, member, users: false, live: false, limited: false }
    }

    /// The next entry of a log.
    pub fn entry(&mut self) -> Entry {
        let (user, revision) = self.sender();
        self.limited = user != "root" || (self.users && revision != FRESH);
        let (tag, message) = match self.rng.u8(0..100) {
            89..=90 => {
                let checkpoint = Proto::default().nonzero(1, self.lease()).nonzero(2, self.rng.i64(0..3000));
                (11, Proto::default().bytes(1, checkpoint))
            }
            94 => return Entry::normal(self.attributes()),
            95 => return Entry::normal(self.cluster_version()),
            96 => return self.conf_change(),
            97 => return Entry::normal(Vec::new()),
            98 => return Entry::normal(self.downgrade()),
            _ => self.request(),
        };
        // Whether one with the role root may revoke a lease with an old auth revision is a question of the patch
        // release.
        let revision = if tag == 9 { FRESH } else { revision };
        Entry::normal(request_of(user, revision, tag, message))
    }

    /// A request of `root` or of another user that a client may send.
    pub fn request_of(&mut self, user: Option<&str>) -> Request {
        self.limited = user != Some("root");
        self.request()
    }

    fn request(&mut self) -> Request {
        if self.users && self.rng.u8(0..5) == 0 {
            return self.auth();
        }
        match self.rng.u8(0..100) {
            0..=37 => (4, self.put(true)),
            38..=48 => (5, self.delete()),
            49..=80 => (6, self.txn(0)),
            81..=86 => {
                // Not at 0: a server keeps the hash of such a one, and answers it when asked for the current one.
                let revision = if self.rng.u8(0..20) == 0 { -1 } else { self.rng.i64(1..120) };
                (7, Proto::default().nonzero(1, revision).nonzero(2, self.rng.i64(0..2)))
            }
            87..=91 => {
                // The least that is granted depends on the election timeout; none ends while a server is looked at.
                let least = if self.live { 600 } else { 0 };
                let ttl = *self.choose(&[least, least + 1, 3600, 7200, 9_000_000_000, 9_000_000_001]);
                (8, Proto::default().nonzero(1, ttl).nonzero(2, self.lease()))
            }
            92..=95 => (9, Proto::default().nonzero(1, self.lease())),
            96 => (3, self.range()),
            _ => self.alarm(),
        }
    }

    /// Who sends the next entry, and the auth revision it was let in at: often the newest, or none.
    fn sender(&mut self) -> (&'static str, i64) {
        if !self.users {
            return ("root", 0);
        }
        let user = *self.choose(&["root", "root", "root", "app", "app", "u1", ""]);
        let revision = if self.rng.u8(0..6) == 0 { self.rng.i64(0..20) } else { FRESH };
        (user, revision)
    }

    fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.usize(0..choices.len())]
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.rng.usize(0..KEYS.len())]
    }

    fn lease(&mut self) -> i64 {
        if self.rng.u8(0..20) == 0 { 0 } else { *self.choose(&LEASES) }
    }

    fn value(&mut self) -> Vec<u8> {
        let length = *self.choose(&[0, 1, 1, 1, 2, 700]);
        (0..length).map(|_| self.rng.u8(b'a'..b'd')).collect()
    }

    /// A put; `keep`, whether it may keep the value or lease of the key that is there, at which servers panic when
    /// the transaction has deleted it before.
    fn put(&mut self, keep: bool) -> Proto {
        let (key, value) = (self.key(), self.value());
        // Of one in a transaction, patch releases ask for more or less.
        let more = keep || !self.limited;
        let lease = if more && self.rng.u8(0..3) == 0 { self.lease() } else { 0 };
        let ignore = if keep { self.rng.u8(0..12) } else { 9 };
        let (value, ignore_value) = if ignore == 0 { (Vec::new(), 1) } else { (value, 0) };
        let (lease, ignore_lease) = if ignore == 1 { (0, 1) } else { (lease, 0) };
        Proto::default()
            .bytes(1, key)
            .nonempty(2, value)
            .nonzero(3, lease)
            .nonzero(4, if more { self.rng.i64(0..2) } else { 0 })
            .nonzero(5, ignore_value)
            .nonzero(6, ignore_lease)
    }

    /// Nothing, all from the key on, a range, or a range that ends before it begins.
    fn range_end(&mut self, key: &str) -> Vec<u8> {
        match self.rng.u8(0..10) {
            0..=4 => Vec::new(),
            5 => b"\0".to_vec(),
            // With permissions, etcd's answer to a range without keys is unknown.
            _ => Some(self.key()).filter(|end| !self.limited || *end > key).unwrap_or_default().into(),
        }
    }

    /// A read, which no server logs; one that is found in a log changes nothing.
    fn range(&mut self) -> Proto {
        let key = self.key();
        let range =
            Proto::default().bytes(1, key).nonempty(2, self.range_end(key)).nonzero(3, self.rng.i64(0..3));
        range.nonzero(4, *self.choose(&[0, 0, 5, 60, 100_000])).nonzero(7, self.rng.i64(0..2))
    }

    fn delete(&mut self) -> Proto {
        let key = if self.rng.u8(0..12) == 0 { "\0" } else { self.key() };
        Proto::default().bytes(1, key).nonempty(2, self.range_end(key)).nonzero(3, self.rng.i64(0..2))
    }

    fn compare(&mut self) -> Proto {
        let target = self.rng.i64(0..5);
        let key = self.key();
        let compare = Proto::default().nonzero(1, self.rng.i64(0..4)).nonzero(2, target).bytes(3, key);
        // Now and then of another target, or none.
        let union = match self.rng.u8(0..12) {
            0 => self.rng.i64(0..5),
            1 => 9,
            _ => target,
        };
        let number = *self.choose(&[0, 1, 2, 3, 10, 30, 80]);
        let compare = match union {
            0 => compare.number(4, number),
            1 => compare.number(5, number),
            2 => compare.number(6, number),
            3 => compare.bytes(7, self.value()),
            4 => compare.number(8, self.lease()),
            _ => compare,
        };
        compare.nonempty(64, if self.rng.bool() { Vec::new() } else { self.range_end(key) })
    }

    fn txn(&mut self, depth: u8) -> Proto {
        let mut txn = Proto::default();
        for _ in 0..self.rng.u8(0..3) {
            txn = txn.bytes(1, self.compare());
        }
        for branch in [2, 3] {
            for place in 0..self.rng.u8(0..4) {
                txn = txn.bytes(branch, self.op(depth, place == 0 && depth == 0 && !self.limited));
            }
        }
        txn
    }

    fn op(&mut self, depth: u8, first: bool) -> Proto {
        match self.rng.u8(0..10) {
            0..=4 => Proto::default().bytes(2, self.put(first)),
            5..=6 => Proto::default().bytes(3, self.delete()),
            7 if !self.limited => {
                let revision = *self.choose(&[0, 0, 0, 5, 60, 100_000]);
                Proto::default().bytes(1, Proto::default().bytes(1, self.key()).nonzero(4, revision))
            }
            8..=9 if depth < 2 && !self.limited => Proto::default().bytes(4, self.txn(depth + 1)),
            _ => Proto::default().bytes(2, self.put(false)),
        }
    }

    fn alarm(&mut self) -> Request {
        let action = *self.choose(&[0, 1, 2, 2, 2]);
        let member = *self.choose(&[self.member as i64, 5]);
        // CORRUPT is rare: it refuses nearly all that follows.
        let alarm = *self.choose(&[0, 1, 1, 1, 1, 2]);
        (10, Proto::default().nonzero(1, action).nonzero(2, member).nonzero(3, alarm))
    }

    fn attributes(&mut self) -> Vec<u8> {
        if self.version == EtcdVersion::V3_4 {
            let path = format!("/0/members/{:x}/attributes", self.member);
            return v2(&path, r#"{"name":"m1","clientURLs":["http://127.0.0.1:1"]}"#);
        }
        let attributes = Proto::default().bytes(1, "m1").bytes(2, "http://127.0.0.1:1");
        request_of("", 0, 1301, Proto::default().number(1, self.member as i64).bytes(2, attributes))
    }

    fn cluster_version(&mut self) -> Vec<u8> {
        let version = format!("{}.0", self.version);
        if self.version == EtcdVersion::V3_4 {
            return v2("/0/version", &version);
        }
        request_of("", 0, 1300, Proto::default().bytes(1, version))
    }

    fn downgrade(&mut self) -> Vec<u8> {
        // 3.4 knows of none. One that is under way keeps servers of this version from starting.
        if self.version == EtcdVersion::V3_4 { Vec::new() } else { request_of("", 0, 1302, Proto::default()) }
    }

    /// Learners alone: a voter that is not there would keep the member from electing itself.
    fn conf_change(&mut self) -> Entry {
        let (id, port) = *self.choose(&[(0x51, 51), (0x52, 52), (0x53, 51)]);
        let other = *self.choose(&[port, 60]);
        let member =
            |port| format!(r#"{{"id":{id},"peerURLs":["http://127.0.0.1:{port}"],"isLearner":true}}"#);
        match self.rng.u8(0..6) {
            0..=2 => Entry::conf_change(3, id, &member(port).replace('}', r#","isPromote":false}"#)),
            3 => Entry::conf_change(1, id, ""),
            _ => Entry::conf_change(2, id, &member(other)),
        }
    }
}

/// A request of the v2 store, bare, as 3.4 sends it.
fn v2(path: &str, value: &str) -> Vec<u8> {
    Proto::default().number(1, 9).bytes(2, "PUT").bytes(3, path).bytes(4, value).0
}
