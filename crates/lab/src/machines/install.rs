//! What every machine has at its first boot: name, address, keys.

use anyhow::Result;

use super::guest::Guest;
use super::network::GATEWAY;
use super::nfs;
use super::ssh::SshFiles;
use super::topology::{Blueprint, MachineSpec, Role};

/// Writes the machine's own files.
pub(crate) fn install(
    blueprint: &Blueprint,
    machine: &MachineSpec,
    ssh: &SshFiles,
    guest: &Guest,
) -> Result<()> {
    guest.write("/etc/hostname", format!("{}\n", machine.name))?;
    guest.write("/etc/machine-id", format!("{}\n", machine.machine_id))?;
    guest.write("/etc/hosts", hosts(blueprint))?;
    guest.write("/etc/systemd/network/10-eth0.network", network(blueprint, machine))?;
    if machine.is(Role::Nfs) {
        nfs::install(guest)?;
    }
    ssh.install(machine, guest)
}

fn hosts(blueprint: &Blueprint) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for machine in &blueprint.machines {
        text.push_str(&format!("{} {}\n", machine.ip, machine.name));
    }
    text
}

/// The network configuration. It matches the MAC: a NIC with another one has no address.
fn network(blueprint: &Blueprint, machine: &MachineSpec) -> String {
    let mut text = format!(
        "[Match]\nMACAddress={}\n\n[Network]\nAddress={}/24\nGateway={GATEWAY}\nIPv6AcceptRA=no\n\
         LinkLocalAddressing=no\nIPForward=ipv4\n",
        machine.mac, machine.ip
    );
    // Routes to the Pods of other machines.
    let others = blueprint.machines.iter().filter(|other| other.name != machine.name);
    for other in others.filter(|other| blueprint.is_kubernetes_node(other)) {
        text.push_str(&format!("\n[Route]\nDestination={}\nGateway={}\n", other.pod_cidr(), other.ip));
    }
    text
}
