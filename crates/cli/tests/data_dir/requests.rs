//! Random requests of every kind, also such as the API would not let through: they must be refused as a server
//! refuses them.

use fastrand::Rng;
use lab::peers::EtcdVersion;

use crate::raft::{Entry, Proto, request};

/// Leases that the base has, and two that it has not.
pub const LEASES: [i64; 4] = [0x1001, 0x1002, 0x1003, 0x7fff_0000_0000_0001];
const KEYS: [&str; 9] = ["a", "a/1", "a/2", "b", "b/1", "base", "c", "c\u{ff}", "z"];

/// Makes requests from a seed.
pub struct Requests {
    pub rng: Rng,
    pub version: EtcdVersion,
    /// Own id of the member.
    pub member: u64,
}

impl Requests {
    /// The next entry.
    pub fn entry(&mut self) -> Entry {
        let data = match self.rng.u8(0..100) {
            0..=34 => request(4, self.put(true)),
            35..=44 => request(5, self.delete()),
            45..=74 => request(6, self.txn(0)),
            75..=79 => {
                // Not at 0: a server keeps the hash of such a one, and answers it to whoever asks for the current.
                let revision = if self.rng.u8(0..20) == 0 { -1 } else { self.rng.i64(1..120) };
                request(7, Proto::default().nonzero(1, revision).nonzero(2, self.rng.i64(0..2)))
            }
            80..=84 => {
                let ttl = *self.choose(&[0, 1, 3600, 7200, 9_000_000_000, 9_000_000_001]);
                request(8, Proto::default().nonzero(1, ttl).nonzero(2, self.lease()))
            }
            85..=88 => request(9, Proto::default().nonzero(1, self.lease())),
            89..=90 => {
                let checkpoint = Proto::default().nonzero(1, self.lease()).nonzero(2, self.rng.i64(0..3000));
                request(11, Proto::default().bytes(1, checkpoint))
            }
            91..=93 => self.alarm(),
            94 => self.attributes(),
            95 => self.cluster_version(),
            96 => return self.conf_change(),
            97 => Vec::new(),
            98 => request(3, Proto::default().bytes(1, "a")),
            _ => self.downgrade(),
        };
        Entry::normal(data)
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
        let lease = if self.rng.u8(0..3) == 0 { self.lease() } else { 0 };
        let ignore = if keep { self.rng.u8(0..12) } else { 9 };
        let (value, ignore_value) = if ignore == 0 { (Vec::new(), 1) } else { (value, 0) };
        let (lease, ignore_lease) = if ignore == 1 { (0, 1) } else { (lease, 0) };
        Proto::default()
            .bytes(1, key)
            .nonempty(2, value)
            .nonzero(3, lease)
            .nonzero(4, self.rng.i64(0..2))
            .nonzero(5, ignore_value)
            .nonzero(6, ignore_lease)
    }

    /// Nothing, all from the key on, all, a range, or a range that ends before it begins.
    fn range_end(&mut self) -> Vec<u8> {
        match self.rng.u8(0..10) {
            0..=4 => Vec::new(),
            5 => b"\0".to_vec(),
            _ => self.key().into(),
        }
    }

    fn delete(&mut self) -> Proto {
        let key = if self.rng.u8(0..12) == 0 { "\0" } else { self.key() };
        Proto::default().bytes(1, key).nonempty(2, self.range_end()).nonzero(3, self.rng.i64(0..2))
    }

    fn compare(&mut self) -> Proto {
        let target = self.rng.i64(0..5);
        let compare = Proto::default().nonzero(1, self.rng.i64(0..4)).nonzero(2, target).bytes(3, self.key());
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
        compare.nonempty(64, if self.rng.bool() { Vec::new() } else { self.range_end() })
    }

    fn txn(&mut self, depth: u8) -> Proto {
        let mut txn = Proto::default();
        for _ in 0..self.rng.u8(0..3) {
            txn = txn.bytes(1, self.compare());
        }
        for branch in [2, 3] {
            for place in 0..self.rng.u8(0..4) {
                txn = txn.bytes(branch, self.op(depth, place == 0 && depth == 0));
            }
        }
        txn
    }

    fn op(&mut self, depth: u8, first: bool) -> Proto {
        match self.rng.u8(0..10) {
            0..=4 => Proto::default().bytes(2, self.put(first)),
            5..=6 => Proto::default().bytes(3, self.delete()),
            7 => {
                let revision = *self.choose(&[0, 0, 0, 5, 60, 100_000]);
                Proto::default().bytes(1, Proto::default().bytes(1, self.key()).nonzero(4, revision))
            }
            _ if depth < 2 => Proto::default().bytes(4, self.txn(depth + 1)),
            _ => Proto::default().bytes(2, self.put(false)),
        }
    }

    fn alarm(&mut self) -> Vec<u8> {
        let action = *self.choose(&[0, 1, 2, 2, 2]);
        let member = *self.choose(&[self.member as i64, 5]);
        // CORRUPT is rare: it refuses nearly all that follows.
        let alarm = *self.choose(&[0, 1, 1, 1, 1, 2]);
        // 3.4 raises one of no kind.
        let action = if self.version == EtcdVersion::V3_4 && alarm == 0 { 0 } else { action };
        request(10, Proto::default().nonzero(1, action).nonzero(2, member).nonzero(3, alarm))
    }

    fn attributes(&mut self) -> Vec<u8> {
        if self.version == EtcdVersion::V3_4 {
            let path = format!("/0/members/{:x}/attributes", self.member);
            return v2(&path, r#"{"name":"m1","clientURLs":["http://127.0.0.1:1"]}"#);
        }
        let attributes = Proto::default().bytes(1, "m1").bytes(2, "http://127.0.0.1:1");
        request(1301, Proto::default().number(1, self.member as i64).bytes(2, attributes))
    }

    fn cluster_version(&mut self) -> Vec<u8> {
        let version = format!("{}.0", self.version);
        if self.version == EtcdVersion::V3_4 {
            return v2("/0/version", &version);
        }
        request(1300, Proto::default().bytes(1, version))
    }

    fn downgrade(&mut self) -> Vec<u8> {
        // 3.4 knows of none. One that is under way keeps servers of this version from starting.
        if self.version == EtcdVersion::V3_4 { Vec::new() } else { request(1302, Proto::default()) }
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
