//! The subcommands for the lab's machines.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

use super::{CLOUD, Lab, Layout, Topology, UpOptions, cloud, network, requirements};
use crate::kubernetes;

/// Subcommands for machines.
#[derive(Subcommand)]
pub enum MachinesCommand {
    /// Create the lab and wait until its cluster serves; completes a lab that exists in part.
    Up(Up),
    /// Remove the lab: machines, network, mounts and files.
    Down {
        /// Keep the machines' disks; the next `up` boots from them.
        #[arg(long)]
        keep_disks: bool,
    },
    /// Show the machines with address, roles, power and NIC, the apiservers and the nodes.
    Status,
    /// Run a command inside a machine, without its network.
    Exec {
        /// The machine.
        machine: String,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Log in to a machine with ssh.
    Ssh {
        /// The machine.
        machine: String,
        /// The command to run instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Run kubectl as the cluster's admin.
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command on this host, inside the lab's network.
    Ns {
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Switch a machine on or off, or cut its power.
    Power {
        /// What to do.
        action: PowerAction,
        /// The machine.
        machine: String,
    },
    /// Detach or attach a machine's NIC, or unplug or plug its cable.
    Nic {
        /// What to do.
        action: NicAction,
        /// The machine.
        machine: String,
        /// MAC of the NIC; with any but the machine's own, it gets no address.
        #[arg(long)]
        mac: Option<String>,
    },
    /// Run the lab's cloud in the foreground; `up` runs it in the background.
    Cloud {
        /// Directory for the cloud's state.
        #[arg(long)]
        state: PathBuf,
    },
}

/// The lab to create.
#[derive(Args)]
pub struct Up {
    /// Which machines.
    #[arg(long, default_value = "full")]
    topology: Topology,
    /// How the control plane is run.
    #[arg(long, default_value = "systemd")]
    layout: Layout,
}

/// A change of a machine's power.
#[derive(Clone, Copy, ValueEnum)]
pub enum PowerAction {
    /// Switch on.
    On,
    /// Shut down.
    Off,
    /// Cut the power.
    Kill,
    /// Shut down and switch on again.
    Reboot,
}

/// A change of a machine's NIC.
#[derive(Clone, Copy, ValueEnum)]
pub enum NicAction {
    /// Attach the NIC.
    Attach,
    /// Detach the NIC.
    Detach,
    /// Plug the cable in.
    Plug,
    /// Pull the cable.
    Unplug,
}

impl MachinesCommand {
    /// Runs the subcommand.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Up(up) => bring_up(&up),
            Self::Down { keep_disks } => Lab::down(keep_disks),
            Self::Status => status(),
            Self::Exec { machine, command } => {
                let machine = Lab::open()?.machine(&machine)?;
                let (program, arguments) = command.split_first().context("no command")?;
                replace(machine.command(&program.to_string_lossy())?.args(arguments))
            }
            Self::Ssh { machine, command } => {
                let lab = Lab::open()?;
                lab.machine(&machine)?;
                replace(lab.ssh(&machine).args(command))
            }
            Self::Kubectl { arguments } => replace(Lab::open()?.kubectl().args(arguments)),
            Self::Ns { command } => {
                let (program, arguments) = command.split_first().context("no command")?;
                replace(Lab::open()?.ns_command(program).args(arguments))
            }
            Self::Power { action, machine } => power(action, &machine),
            Self::Nic { action, machine, mac } => nic(action, &machine, mac),
            Self::Cloud { state } => network::inside(|| {
                crate::cloud::run(SocketAddr::from((CLOUD, cloud::PORT)), &state, Arc::new(Lab::open()?))
            })?,
        }
    }
}

fn bring_up(up: &Up) -> Result<()> {
    let options = UpOptions { topology: up.topology, layout: up.layout };
    let lab = Lab::up(&options, &mut |phase| eprintln!("{phase}"))?;
    // Not the path of this program: a build may have replaced the file in the meantime.
    cloud::start(&lab, &PathBuf::from(format!("/proc/{}/exe", std::process::id())))?;
    eprintln!("the cloud answers at http://{CLOUD}:{}; state in {}", cloud::PORT, lab.state_dir().display());
    Ok(())
}

fn status() -> Result<()> {
    use std::fmt::Write;

    let lab = Lab::open()?;
    let mut text = format!("{:<6}{:<15}{:<14}{:<7}NIC\n", "NAME", "ADDRESS", "ROLES", "POWER");
    for machine in lab.machines() {
        let spec = machine.spec();
        let roles: Vec<&str> = spec.roles.iter().map(|role| role.as_str()).collect();
        let power = if machine.is_running()? { "on" } else { "off" };
        let nic = machine.nic()?.unwrap_or_else(|| "none".into());
        writeln!(text, "{:<6}{:<15}{:<14}{power:<7}{nic}", spec.name, spec.ip, roles.join(","))?;
    }
    for (what, state) in kubernetes::summary(&lab) {
        writeln!(text, "{what}: {state}")?;
    }
    Ok(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?)
}

fn power(action: PowerAction, machine: &str) -> Result<()> {
    requirements::check()?;
    let machine = Lab::open()?.machine(machine)?;
    match action {
        PowerAction::On => machine.start(),
        PowerAction::Off => machine.power_off(),
        PowerAction::Kill => machine.kill(),
        PowerAction::Reboot => machine.reboot(),
    }
}

fn nic(action: NicAction, machine: &str, mac: Option<String>) -> Result<()> {
    requirements::check()?;
    let machine = Lab::open()?.machine(machine)?;
    match action {
        NicAction::Attach => machine.attach_nic(&mac.unwrap_or_else(|| machine.spec().mac.clone())),
        NicAction::Detach => machine.detach_nic(),
        NicAction::Plug => machine.plug(),
        NicAction::Unplug => machine.unplug(),
    }
}

/// Replaces this process with the command.
fn replace(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    Err(command.exec()).with_context(|| format!("run {program}"))
}
