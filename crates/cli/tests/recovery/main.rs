//! Recoveries of a real cluster on real machines: `make lab-test`. Needs root, and the lab's programs in the cache.
//!
//! Every scenario breaks the cluster in its own way and recovers it with `lifeboat`, so that the next one starts with
//! a healthy cluster; after a failed one, a new lab is made. Names on the command line choose scenarios, as in any
//! test. With `LIFEBOAT_KEEP_LAB` set the lab stays up at the end, to be looked at.

mod chaos;
mod control_plane;
mod etcd;
mod fences;
mod harness;
mod hidden_failures;
mod incident;
mod interrupted;
mod machines;
mod nodes;
mod rollback;
mod transcript;
mod wal_dirs;
mod writer;

use std::path::Path;
use std::process::ExitCode;

use lab::machines::{Layout, Topology};
use libtest_mimic::{Arguments, Trial};

use harness::Harness;

/// A scenario: its name, its lab, and its function.
type Scenario = (&'static str, Topology, Layout, fn(&Harness));

/// Recorded facts of scenarios, which the tests of rules and planner read.
const FACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../recovery/tests/facts");

/// The scenarios of CI, with a lab made three times; `LIFEBOAT_CORE_SCENARIOS` chooses these.
const CORE: &[&[Scenario]] = &[
    incident::SCENARIOS,
    etcd::SCENARIOS,
    control_plane::SCENARIOS,
    machines::SCENARIOS,
    interrupted::SCENARIOS,
    incident::STATIC_PODS,
    etcd::STATIC_PODS,
];

/// What `make lab-test` runs after these.
const MORE: &[&[Scenario]] = &[
    fences::STATIC_PODS,
    rollback::STATIC_PODS,
    hidden_failures::SCENARIOS,
    nodes::SCENARIOS,
    fences::SCENARIOS,
    rollback::SCENARIOS,
    wal_dirs::SCENARIOS,
    chaos::SCENARIOS,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one lab on a host.
    arguments.test_threads = Some(1);
    let more = if only_core() { &[] } else { MORE };
    let trials = CORE.iter().chain(more).copied().flatten().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if harness::any_started() && std::env::var_os("LIFEBOAT_KEEP_LAB").is_none() {
        harness::tear_down();
    }
    conclusion.exit_code()
}

/// Whether the long forms are left out, as in CI.
fn only_core() -> bool {
    std::env::var_os("LIFEBOAT_CORE_SCENARIOS").is_some()
}

fn trial(&(name, topology, layout, run): &Scenario) -> Trial {
    Trial::test(format!("{layout}::{name}"), move || {
        lab::or_skip!(lab::machines::available(), Ok(()));
        let harness = Harness::on(topology, layout);
        if std::env::var_os("LIFEBOAT_RECORD").is_some() {
            harness.record_facts(Path::new(FACTS).join(format!("lab-{layout}-{name}.json")));
        }
        run(&harness);
        Ok(())
    })
    .with_ignored_flag(true)
}
