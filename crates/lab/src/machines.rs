//! A real cluster on real machines: systemd-nspawn containers with disks, NICs and power that tests can take away.
//!
//! A host has one lab at a time. [`Lab::up`] creates it, [`Lab::open`] opens the running one, [`Lab::down`] removes it
//! without a trace. `docs/lab.md` describes what is real about it and what is not.

mod base;
pub(crate) mod binaries;
mod bring_up;
mod cgroup;
mod cloud;
pub mod command;
mod disk;
mod faults;
pub(crate) mod guest;
pub(crate) mod image;
mod install;
mod machine;
pub(crate) mod network;
mod nfs;
mod power;
mod requirements;
mod ssh;
mod state;
mod tear_down;
pub(crate) mod topology;

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

pub use bring_up::UpOptions;
pub use machine::Machine;
pub use network::{CLOUD, GATEWAY};
pub use requirements::available;
pub use topology::{Blueprint, Layout, MachineSpec, Role, Topology, WEB_PORT};

use crate::hypervisor::{Hypervisor, MachineInfo};
use crate::kubernetes::Pki;
use ssh::SshFiles;
use state::State;

/// The lab on this host.
#[derive(Clone, Debug)]
pub struct Lab {
    state: State,
    blueprint: Blueprint,
    kubectl: PathBuf,
}

impl Lab {
    /// Creates a lab, or completes the present one, and waits until its cluster serves. Calls `progress` after each
    /// phase.
    pub fn up(options: &UpOptions, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        bring_up::up(options, progress)
    }

    /// Opens the running lab.
    pub fn open() -> Result<Self> {
        let state = State::new()?;
        let blueprint = state.blueprint()?.context("no lab is running; start one with: make lab-up")?;
        let kubectl = crate::peers::kubernetes()?.join("kubectl");
        Ok(Self { state, blueprint, kubectl })
    }

    /// Removes everything except the cache; with `keep_disks` also keeps the machines' disks, and the next [`Lab::up`]
    /// boots from them. It is not an error if no lab exists.
    pub fn down(keep_disks: bool) -> Result<()> {
        tear_down::down(keep_disks)
    }

    /// The lab's topology, layout and machines.
    #[must_use]
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// The directory with the lab's state.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.dir()
    }

    /// A machine by its name.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let spec = self.blueprint.machine(name)?;
        Ok(Machine::new(spec.clone(), self.state.machine(&spec.name)))
    }

    /// All machines, in order.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        let machine = |spec: &MachineSpec| Machine::new(spec.clone(), self.state.machine(&spec.name));
        self.blueprint.machines.iter().map(machine).collect()
    }

    /// A command inside the lab's network: machines can be reached only from there.
    pub fn ns_command(&self, program: impl AsRef<OsStr>) -> Command {
        network::command(program)
    }

    /// Runs `work` inside the lab's network, on its own thread.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        network::inside(work)
    }

    /// `kubectl` as the cluster's admin, against the first master unless `--server` is given.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut command = network::command(&self.kubectl);
        command.env("KUBECONFIG", self.admin_kubeconfig());
        command
    }

    /// `ssh` into a machine.
    pub fn ssh(&self, machine: &str) -> Command {
        let mut command = network::command("ssh");
        command.arg("-F").arg(self.ssh_config()).arg(machine);
        command
    }

    /// An `ssh_config` with every machine as a `Host`, and its host key in `known_hosts`.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        SshFiles::new(self.state.dir()).config()
    }

    /// The admin's kubeconfig.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.pki().file("admin", "kubeconfig")
    }

    /// The files that an etcd client needs: CA, client certificate and key.
    #[must_use]
    pub fn etcd_client_files(&self) -> (PathBuf, PathBuf, PathBuf) {
        let pki = self.pki();
        (pki.file("etcd-ca", "crt"), pki.file("etcd-client", "crt"), pki.file("etcd-client", "key"))
    }

    /// Where the cloud keeps its state and its credentials.
    #[must_use]
    pub fn cloud_dir(&self) -> PathBuf {
        cloud::state_dir(&self.state)
    }

    /// The URL of the cloud's API.
    #[must_use]
    pub fn cloud_endpoint(&self) -> String {
        format!("http://{CLOUD}:{}", cloud::PORT)
    }

    pub(crate) fn pki(&self) -> Pki {
        Pki::open(self.state.pki())
    }
}

impl Hypervisor for Lab {
    fn machines(&self) -> Vec<MachineInfo> {
        let info = |spec: &MachineSpec| MachineInfo {
            name: spec.name.clone(),
            uuid: spec.uuid.clone(),
            ip: spec.ip,
            mac: spec.mac.clone(),
            roles: spec.roles.iter().map(|role| role.as_str().into()).collect(),
        };
        self.blueprint.machines.iter().map(info).collect()
    }

    fn is_running(&self, machine: &str) -> Result<bool> {
        self.machine(machine)?.is_running()
    }

    fn detach_nic(&self, machine: &str) -> Result<()> {
        self.machine(machine)?.detach_nic()
    }

    fn attach_nic(&self, machine: &str, mac: &str, _ip: Ipv4Addr) -> Result<()> {
        self.machine(machine)?.attach_nic(mac)
    }

    fn start(&self, machine: &str) -> Result<()> {
        self.machine(machine)?.start()
    }

    fn stop(&self, machine: &str) -> Result<()> {
        self.machine(machine)?.power_off()
    }

    fn reboot(&self, machine: &str) -> Result<()> {
        self.machine(machine)?.reboot()
    }

    fn kill(&self, machine: &str) -> Result<()> {
        self.machine(machine)?.kill()
    }
}

/// Quotes `text` for a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
