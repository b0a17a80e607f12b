//! The random campaign: faults drawn from a seed, `lifeboat recover --yes`, and what must hold whatever the faults
//! were.
//!
//! `make chaos ROUNDS=n` runs new rounds; a few of fixed seeds are part of `make lab-test`. A round that fails keeps
//! its outputs and observations in `target/tmp/chaos/SEED`; `make chaos SEED=n` repeats it.

pub mod baseline;
pub mod faults;
mod observe;
mod round;
mod verdict;

use std::path::Path;

use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::harness::Harness;
use faults::{Fault, Injection};
use round::Draw;

pub const SCENARIOS: &[Scenario] = &[
    ("random_faults", Topology::Small, Layout::Systemd, random_faults),
    ("no_replacement_without_a_quorum", Topology::Small, Layout::Systemd, no_replacement_without_a_quorum),
    ("all_data_dirs_were_moved", Topology::Small, Layout::Systemd, all_data_dirs_were_moved),
    ("linked_data_dirs_are_restored_behind_the_link", Topology::Small, Layout::Systemd, linked_data_dirs),
    ("logs_on_disks_of_their_own", Topology::Small, Layout::Systemd, logs_on_disks_of_their_own),
    ("no_room_for_a_restore", Topology::Small, Layout::Systemd, no_room_for_a_restore),
    ("a_unit_has_an_unknown_flag", Topology::Small, Layout::Systemd, a_unit_has_an_unknown_flag),
];

/// The rounds of `make lab-test`.
const FIXED: [u64; 2] = [1, 2];

fn random_faults(harness: &Harness) {
    let machines = harness.etcd_machines();
    let rounds = seeds().into_iter().map(|seed| (seed.to_string(), Draw::of(seed, &machines)));
    run_all(harness, rounds.collect());
}

/// Runs rounds one after the other, and leaves a healthy cluster for the next scenario.
fn run_all(harness: &Harness, rounds: Vec<(String, Draw)>) {
    baseline::keep(harness).expect("keep what rounds begin with");
    let (mut table, mut failed) = (String::new(), Vec::new());
    for (name, draw) in rounds {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(name);
        let outcome = round::run(harness, draw, &dir);
        let verdict = if outcome.violations.is_empty() { "held" } else { "VIOLATED" };
        table.push_str(&format!("{verdict}  {}\n      {}\n", outcome.draw, outcome.summary));
        if !outcome.violations.is_empty() {
            failed.push(format!("{} ({}): {}", outcome.draw, dir.display(), outcome.violations.join("; ")));
        }
    }
    eprintln!("--- rounds\n{table}");
    baseline::restore(harness).expect("put the lab back");
    assert!(failed.is_empty(), "{} rounds failed:\n{}", failed.len(), failed.join("\n"));
}

/// Runs a round with given faults on m1, m2 and m3, which once did harm.
fn run_known(harness: &Harness, name: &str, layout: Option<faults::Layout>, faults: &[(&str, Fault)]) {
    let injections = faults.iter().map(|(machine, fault)| Injection::of(machine, *fault)).collect();
    let layout = layout.map(|layout| (layout, harness.etcd_machines()));
    let reboot = layout.is_some();
    let draw = Draw { seed: 0, layout, injections, snapshot: true, reboot };
    run_all(harness, vec![(name.into(), draw)]);
}

/// The alarm calls for m2 to be replaced, which m1 alone cannot decide while m3 is away.
fn no_replacement_without_a_quorum(harness: &Harness) {
    let faults = [("m3", Fault::CableUnplugged), ("m2", Fault::CorruptAlarm)];
    run_known(harness, "no-quorum", None, &faults);
}

/// Units name another data dir than the inventory, all data is there and sound, and there is an older snapshot.
fn all_data_dirs_were_moved(harness: &Harness) {
    let faults = [("m1", Fault::Killed), ("m2", Fault::Killed), ("m3", Fault::Killed)];
    run_known(harness, "moved", Some(faults::Layout::Moved), &faults);
}

fn linked_data_dirs(harness: &Harness) {
    let faults = [("m1", Fault::DbPages), ("m2", Fault::DbPages), ("m3", Fault::DbPages)];
    run_known(harness, "linked", Some(faults::Layout::Symlink), &faults);
}

/// They come back at the next boot: a restore must not put its logs under them.
fn logs_on_disks_of_their_own(harness: &Harness) {
    let faults = [("m1", Fault::DbPages), ("m2", Fault::DbPages), ("m3", Fault::DbPages)];
    run_known(harness, "wal-mounts", Some(faults::Layout::WalMount), &faults);
}

/// It is seen before anything is fenced.
fn no_room_for_a_restore(harness: &Harness) {
    let damaged = [("m1", Fault::DbPages), ("m2", Fault::DbPages), ("m3", Fault::DbPages)];
    run_known(harness, "no-room", None, &[&damaged[..], &[("m2", Fault::DiskFull)]].concat());
}

/// A new member could not start with it, once the old one is taken out.
fn a_unit_has_an_unknown_flag(harness: &Harness) {
    run_known(harness, "unknown-flag", None, &[("m2", Fault::DataDeleted), ("m2", Fault::UnitBadFlag)]);
}

/// `LIFEBOAT_CHAOS_SEED` is where seeds begin, `LIFEBOAT_CHAOS_ROUNDS` how many there are.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("LIFEBOAT_CHAOS_SEED"), number("LIFEBOAT_CHAOS_ROUNDS")) {
        (None, None) => FIXED.to_vec(),
        (seed, rounds) => {
            let first = seed.unwrap_or_else(|| fastrand::u64(1000..1_000_000));
            (first..first + rounds.unwrap_or(1)).collect()
        }
    }
}
