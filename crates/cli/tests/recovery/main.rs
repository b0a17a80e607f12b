//! Recoveries of a real cluster on real machines: `make lab-test`. Needs root, and the lab's programs in the cache.
//!
//! Every scenario breaks the cluster in its own way and has `lifeboat` bring it back, so that the next one finds it
//! well; one that fails gets a new lab behind it. Names on the command line choose scenarios, as in any test. With
//! `LIFEBOAT_KEEP_LAB` set the lab stays up at the end, to be looked at.

mod chaos;
mod control_plane;
mod etcd;
mod fences;
mod incident;
mod interrupted;
mod machines;
mod nodes;
mod rollback;
mod scene;
mod transcript;
mod wal_dirs;
mod witness;
mod writer;

use std::process::ExitCode;

use lab::machines::{Layout, Topology};
use libtest_mimic::{Arguments, Trial};

use scene::Scene;

/// What a scenario is called, where it plays, and how it goes.
type Scenario = (&'static str, Topology, Layout, fn(&Scene));

/// What CI runs, with a lab made three times; `LIFEBOAT_CORE_SCENARIOS` chooses these.
const CORE: &[&[Scenario]] = &[
    incident::SCENARIOS,
    etcd::SCENARIOS,
    control_plane::SCENARIOS,
    machines::SCENARIOS,
    interrupted::SCENARIOS,
    incident::STATIC_PODS,
    etcd::STATIC_PODS,
];

/// What `make lab-test` runs behind them.
const MORE: &[&[Scenario]] = &[
    fences::STATIC_PODS,
    rollback::STATIC_PODS,
    witness::SCENARIOS,
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
    if scene::any_played() && std::env::var_os("LIFEBOAT_KEEP_LAB").is_none() {
        scene::end();
    }
    conclusion.exit_code()
}

/// Whether the long forms are left out, as in CI.
fn only_core() -> bool {
    std::env::var_os("LIFEBOAT_CORE_SCENARIOS").is_some()
}

fn trial(&(name, topology, layout, tell): &Scenario) -> Trial {
    Trial::test(format!("{layout}::{name}"), move || {
        lab::or_skip!(lab::machines::available(), Ok(()));
        tell(&Scene::on(topology, layout));
        Ok(())
    })
    .with_ignored_flag(true)
}
