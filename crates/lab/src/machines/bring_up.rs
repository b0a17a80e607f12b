//! Creates a lab, or what is missing of it. Every step can be interrupted and repeated.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use super::binaries::Binaries;
use super::guest::Guest;
use super::image::Images;
use super::ssh::SshFiles;
use super::state::State;
use super::topology::{Blueprint, Layout, MachineSpec, Role, Topology};
use super::{Lab, base, disk, install, network, power, requirements};
use crate::kubernetes::{self, Pki};
use crate::process;

/// A machine boots within seconds; seven at once on two cores take longer.
const SSH_LIMIT: Duration = Duration::from_secs(120);

/// The lab to create.
#[derive(Clone, Copy, Debug)]
pub struct UpOptions {
    /// Which machines.
    pub topology: Topology,
    /// How their control plane is run.
    pub layout: Layout,
}

pub(super) fn up(options: &UpOptions, progress: &mut dyn FnMut(&str)) -> Result<Lab> {
    requirements::check()?;
    let state = State::new()?;
    let _lock = state.lock()?;
    let begin = Instant::now();
    let mut lap = |what: &str| progress(&format!("{:6.1} s  {what}", begin.elapsed().as_secs_f64()));

    let blueprint = blueprint(&state, options)?;
    let binaries = Binaries::get()?;
    let base = base::rootfs()?;
    let images = Images::get(&binaries, &base)?;
    lap("programs, root file system and images are in the cache");

    state.claim()?;
    state.keep(&blueprint)?;
    let ssh = SshFiles::new(state.dir());
    ssh.make(&blueprint)?;
    let pki = Pki::make(state.pki(), &blueprint)?;
    network::up()?;
    let parts = Parts {
        state: &state,
        blueprint: &blueprint,
        ssh: &ssh,
        pki: &pki,
        binaries: &binaries,
        images: &images,
        base: &base,
    };
    each(&blueprint.machines, |machine| parts.install(machine))?;
    lap("machines are installed and switched on");

    let lab = Lab::open()?;
    each(&blueprint.machines, |machine| wait_for_ssh(&lab, machine))?;
    lap("every machine accepts SSH");
    kubernetes::apiservers(&lab)?;
    lap("every apiserver is ready");
    let has_nodes = blueprint.with_role(Role::Node).next().is_some();
    if has_nodes {
        kubernetes::apply_addons(&lab, state.dir())?;
    }
    kubernetes::nodes(&lab)?;
    lap("every node is Ready");
    if has_nodes {
        kubernetes::coredns(&lab)?;
        lap("CoreDNS is available");
        kubernetes::web(&lab)?;
        lap("the workload answers through its Service");
    }
    Ok(lab)
}

/// The blueprint of the present lab, which must match the options, or a new one.
fn blueprint(state: &State, options: &UpOptions) -> Result<Blueprint> {
    state.check_owner()?;
    let Some(present) = state.blueprint()? else {
        return Ok(Blueprint::new(options.topology, options.layout));
    };
    if (present.topology, present.layout) != (options.topology, options.layout) {
        bail!(
            "a lab with topology {:?} and layout {:?} is running; take it down first: make lab-down",
            present.topology,
            present.layout
        );
    }
    Ok(present)
}

/// What machines are installed from.
struct Parts<'a> {
    state: &'a State,
    blueprint: &'a Blueprint,
    ssh: &'a SshFiles,
    pki: &'a Pki,
    binaries: &'a Binaries,
    images: &'a Images,
    base: &'a Path,
}

impl Parts<'_> {
    /// Installs the machine and switches it on. A machine that was installed before keeps its files, changed or not.
    fn install(&self, machine: &MachineSpec) -> Result<()> {
        let name = &machine.name;
        let dir = self.state.machine(name);
        fs::create_dir_all(&dir)?;
        disk::attach(&dir, self.base).with_context(|| format!("attach the disk of {name}"))?;
        let installed = dir.join("installed");
        if !installed.exists() {
            let guest = Guest::new(dir.join("root"));
            install::install(self.blueprint, machine, self.ssh, &guest)
                .and_then(|()| kubernetes::install(self.blueprint, machine, self.pki, &guest))
                .with_context(|| format!("install {name}"))?;
            if self.blueprint.runs_kubelet(machine) {
                self.images.copy_databases(&dir.join("disk/containerd"))?;
            }
            fs::write(dir.join("nic"), network::nic_batch(name, &machine.mac))?;
            fs::write(installed, "")?;
        }
        let mut binds = self.binaries.in_machine();
        if self.blueprint.runs_kubelet(machine) {
            binds.extend(self.images.binds()?);
        }
        power::install(name, &dir, &binds)?;
        power::on(name, &dir)
    }
}

fn wait_for_ssh(lab: &Lab, machine: &MachineSpec) -> Result<()> {
    let deadline = Instant::now() + SSH_LIMIT;
    loop {
        let mut ssh = lab.ssh(&machine.name);
        match process::run_ok(ssh.arg("true"), Duration::from_secs(20)) {
            Ok(_) => return Ok(()),
            Err(error) => {
                ensure!(
                    Instant::now() < deadline,
                    "{} does not accept SSH: {error:#}; see its console in {}",
                    machine.name,
                    lab.machine(&machine.name)?.dir().join("console.log").display()
                );
                thread::sleep(Duration::from_millis(300));
            }
        }
    }
}

/// Runs `work` for all machines in parallel.
pub(super) fn each(machines: &[MachineSpec], work: impl Fn(&MachineSpec) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = machines.iter().map(|machine| scope.spawn(|| work(machine))).collect();
        // Wait for all of them, even if one fails.
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread of a machine panicked")))
            })
            .collect();
        results.into_iter().collect()
    })
}
