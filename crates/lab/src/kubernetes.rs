//! Kubernetes v1.34 and etcd 3.6 on the lab's machines: certificates, units or manifests, nodes, and workloads. The
//! files are written from outside before a machine boots.

mod addons;
mod control_plane;
mod etcd;
mod flags;
mod manifest;
mod node;
mod pki;
mod ready;

use anyhow::Result;

pub(crate) use addons::apply as apply_addons;
pub(crate) use control_plane::apiserver_files;
pub(crate) use pki::Pki;
pub(crate) use ready::{apiservers, coredns, nodes, summary, web};

use crate::machines::guest::Guest;
use crate::machines::topology::{Blueprint, MachineSpec, Role};

/// Writes the files for the machine's roles.
pub(crate) fn install(blueprint: &Blueprint, machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    if machine.is(Role::Etcd) {
        etcd::install(blueprint, machine, pki, guest)?;
    }
    if machine.is(Role::Master) {
        control_plane::install(blueprint, machine, pki, guest)?;
    }
    if blueprint.runs_kubelet(machine) {
        node::install(blueprint, machine, pki, guest)?;
    }
    Ok(())
}
