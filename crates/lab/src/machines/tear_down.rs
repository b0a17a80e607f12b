//! Takes a lab down, whatever state it is in: its parts are found by name, not in a list that may be wrong.

use anyhow::Result;
use fs_err as fs;

use super::state::State;
use super::{cgroup, cloud, disk, network, power, requirements};

pub(super) fn down(keep_disks: bool) -> Result<()> {
    requirements::check()?;
    let state = State::new()?;
    let _lock = state.lock()?;
    state.check_owner()?;

    cloud::stop(&state)?;
    let mut names = Vec::new();
    if let Ok(entries) = fs::read_dir(state.machines()) {
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    std::thread::scope(|scope| -> Result<()> {
        let off = |name: &String| {
            let dir = state.machine(name);
            // Disks that are removed need no clean shutdown.
            if keep_disks { power::off(name, &dir) } else { power::kill(name, &dir) }
        };
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(move || off(name))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| anyhow::bail!("the thread of a machine panicked"))
        })
    })?;
    for namespace in network::machine_namespaces()? {
        network::delete_namespace(&namespace)?;
    }
    let network = network::down();
    disk::unmount_below(state.dir())?;
    cgroup::remove_all()?;
    state.remove(keep_disks)?;
    state.release()?;
    network
}
