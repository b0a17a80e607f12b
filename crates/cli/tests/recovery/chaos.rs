//! The random campaign: faults drawn from a seed, `lifeboat recover --yes`, and what must hold whatever the faults were.
//!
//! `make chaos ROUNDS=n` runs new rounds; a few of fixed seeds are part of `make lab-test`. A round that fails keeps what was
//! seen and said in `target/tmp/chaos/SEED`, and is run again with `make chaos SEED=n`.

mod baseline;
mod faults;
mod observe;
mod round;
mod verdict;

use std::path::Path;

use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::scene::Scene;
use round::Draw;

pub const SCENARIOS: &[Scenario] = &[("random_faults", Topology::Small, Layout::Systemd, random_faults)];

/// The rounds of `make lab-test`.
const FIXED: [u64; 2] = [1, 2];

fn random_faults(scene: &Scene) {
    let machines = scene.etcd_machines();
    let rounds = seeds().into_iter().map(|seed| (seed.to_string(), Draw::of(seed, &machines)));
    run_all(scene, rounds.collect());
}

/// Runs rounds one after the other, and leaves the cluster well for the next scenario.
fn run_all(scene: &Scene, rounds: Vec<(String, Draw)>) {
    baseline::keep(scene).expect("keep what rounds begin with");
    let (mut table, mut failed) = (String::new(), Vec::new());
    for (name, draw) in rounds {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(name);
        let outcome = round::run(scene, draw, &dir);
        let verdict = if outcome.violations.is_empty() { "held" } else { "VIOLATED" };
        table.push_str(&format!("{verdict}  {}\n      {}\n", outcome.draw, outcome.how));
        if !outcome.violations.is_empty() {
            failed.push(format!("{} ({}): {}", outcome.draw, dir.display(), outcome.violations.join("; ")));
        }
    }
    eprintln!("--- rounds\n{table}");
    baseline::restore(scene).expect("put the lab back");
    assert!(failed.is_empty(), "{} rounds failed:\n{}", failed.len(), failed.join("\n"));
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
