//! A workload of random operations on keys and values of random bytes.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Op, Write};

/// Keys per `DeletePrefix` group; small, so that a range delete leaves most keys alone.
const GROUP: usize = 8;
/// Writes in one transaction; etcd's own limit is 128.
const TXN_WRITES: usize = 8;

/// Random operations on a fixed set of keys.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Seed of all random choices.
    pub seed: u64,
    /// How many different keys there are; with fewer keys, more are overwritten and deleted.
    pub keys: usize,
    /// How many requests to send.
    pub operations: usize,
    /// The longest value, in bytes.
    pub value_bytes: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self { seed: 1, keys: 200, operations: 1000, value_bytes: 512 }
    }
}

impl Plain {
    /// The requests, in order.
    pub fn ops(&self) -> impl Iterator<Item = Op> + use<> {
        let mut generator = Generator { rng: Rng::with_seed(self.seed), workload: self.clone() };
        (0..self.operations).map(move |_| generator.op())
    }
}

struct Generator {
    rng: Rng,
    workload: Plain,
}

impl Generator {
    fn op(&mut self) -> Op {
        match self.rng.u8(0..100) {
            0..=84 => Op::Single(self.write()),
            85..=86 => Op::DeletePrefix(group(self.rng.usize(0..self.workload.keys.max(1)))),
            _ => Op::Txn(self.txn()),
        }
    }

    fn txn(&mut self) -> Vec<Write> {
        let mut seen = BTreeSet::new();
        let count = self.rng.usize(1..=TXN_WRITES);
        let mut writes: Vec<Write> = (0..count).map(|_| self.write()).collect();
        writes.retain(|write| seen.insert(write.key().to_vec()));
        writes
    }

    fn write(&mut self) -> Write {
        let key = key(self.rng.usize(0..self.workload.keys.max(1)));
        match self.rng.u8(0..100) {
            0..=17 => Write::Delete { key },
            roll => {
                let value = self.value();
                Write::Put { key, value, leased: roll < 30 }
            }
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = vec![0; self.rng.usize(0..=self.workload.value_bytes)];
        self.rng.fill(&mut value);
        value
    }
}

/// A key that starts with text, to be readable in a dump; some end with bytes that are not text.
fn key(n: usize) -> Vec<u8> {
    let mut key = group(n);
    key.extend_from_slice(format!("{n:06}").as_bytes());
    if n.is_multiple_of(5) {
        key.extend_from_slice(&[0x00, 0xff]);
    }
    key
}

fn group(n: usize) -> Vec<u8> {
    format!("lab/{:05}/", n / GROUP).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let ops = |seed| Plain { seed, ..Plain::default() }.ops().collect::<Vec<_>>();
        assert_eq!(ops(7), ops(7));
        assert_ne!(ops(7), ops(8));
    }

    #[test]
    fn no_transaction_writes_a_key_twice() {
        for op in (Plain { keys: 4, ..Plain::default() }).ops() {
            if let Op::Txn(writes) = op {
                let keys: BTreeSet<_> = writes.iter().map(Write::key).collect();
                assert_eq!(keys.len(), writes.len());
            }
        }
    }
}
