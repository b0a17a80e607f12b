//! The interface between the lab's cloud and the lab's machines.

use std::net::Ipv4Addr;

use anyhow::Result;

/// A machine, with the NIC it was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInfo {
    /// Its name, such as `m1`; also its hostname.
    pub name: String,
    /// 32 lower-case hex digits, the same for as long as the machine exists. Not its machine-id.
    pub uuid: String,
    /// The address of its NIC, in 10.123.0.0/24.
    pub ip: Ipv4Addr,
    /// The MAC address of its NIC, such as `52:54:00:7b:00:e7`.
    pub mac: String,
    /// What it does: `master`, `etcd`, `nfs`, `node`.
    pub roles: Vec<String>,
}

/// What a cloud does to its VMs. Every call blocks and acts on the real machine.
pub trait Hypervisor: Send + Sync {
    /// All machines, with the NICs they were created with.
    fn machines(&self) -> Vec<MachineInfo>;
    /// Whether the machine has power.
    fn is_running(&self, machine: &str) -> Result<bool>;
    /// Removes the machine's NIC, if it has one.
    fn detach_nic(&self, machine: &str) -> Result<()>;
    /// Gives the machine a NIC with this MAC, replacing the present one. The guest configures its address for the MAC
    /// it was installed with; a NIC with another MAC has no address, whatever `ip` the cloud has saved.
    fn attach_nic(&self, machine: &str, mac: &str, ip: Ipv4Addr) -> Result<()>;
    /// Switches the machine on; does not wait until it has booted.
    fn start(&self, machine: &str) -> Result<()>;
    /// Shuts the machine down, and waits until it is off.
    fn stop(&self, machine: &str) -> Result<()>;
    /// Shuts the machine down and switches it on again.
    fn reboot(&self, machine: &str) -> Result<()>;
    /// Cuts the machine's power.
    fn kill(&self, machine: &str) -> Result<()>;
}
