//! Every committed seed, and some thousand changes of them, through all targets: what `make fuzz` does at length.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;
use lifeboat_fuzz::{TARGETS, Target};

/// Changes of the seeds of a target. A restore writes and syncs files, so it gets less.
const CHANGES: [(&str, usize); 7] = [
    ("bbolt", 3000),
    ("wal", 3000),
    ("raft_snapshot", 3000),
    ("key_value", 20_000),
    ("requests", 3000),
    ("restore", 300),
    ("salvage", 2000),
];
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, u32::MAX as u64, u64::MAX];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut paths: Vec<_> = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs_err::read(path).unwrap()).collect()
}

/// One to eight changes at random places.
fn changed(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.choice(seeds).unwrap().clone();
    for _ in 0..rng.usize(1..=8) {
        let at = rng.usize(0..=bytes.len());
        let end = (at + rng.usize(0..64)).min(bytes.len());
        match rng.u8(0..10) {
            0..=2 => bytes[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << rng.u8(0..8)),
            3..=4 => bytes[at..end].iter_mut().take(1).for_each(|byte| *byte = rng.u8(..)),
            5 => {
                let number = rng.choice(EDGES).unwrap().to_le_bytes();
                bytes[at..end].iter_mut().take(8).zip(number).for_each(|(byte, edge)| *byte = edge);
            }
            6 => drop(bytes.drain(at..end)),
            7 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.usize(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            8 => {
                let other = rng.choice(seeds).unwrap();
                let from = rng.usize(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Runs a target; an input that it fails on is kept.
fn run(name: &str, target: Target, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        let file = tempfile::Builder::new().prefix(name).tempfile().unwrap();
        fs_err::write(file.path(), bytes).unwrap();
        let (_, path) = file.keep().unwrap();
        eprintln!("{name} fails on {}", path.display());
        std::panic::resume_unwind(panic);
    }
}

fn seeds_and_changes(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(other, _)| *other == name).unwrap();
    let (_, changes) = CHANGES.into_iter().find(|(other, _)| *other == name).unwrap();
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| run(name, target, seed));
    // LIFEBOAT_FUZZ_SEED gives other changes.
    let seed = std::env::var("LIFEBOAT_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut rng = Rng::with_seed(seed);
    for _ in 0..changes {
        run(name, target, &changed(&mut rng, &seeds));
    }
}

#[test]
fn bbolt() {
    seeds_and_changes("bbolt");
}

#[test]
fn wal() {
    seeds_and_changes("wal");
}

#[test]
fn raft_snapshot() {
    seeds_and_changes("raft_snapshot");
}

#[test]
fn key_value() {
    seeds_and_changes("key_value");
}

#[test]
fn requests() {
    seeds_and_changes("requests");
}

#[test]
fn restore() {
    seeds_and_changes("restore");
}

#[test]
fn salvage() {
    seeds_and_changes("salvage");
}
