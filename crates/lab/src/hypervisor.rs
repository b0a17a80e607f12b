//! What a cloud needs of the hypervisor below it. The lab's machines implement it; the lab's cloud acts through it.

use std::net::Ipv4Addr;

use anyhow::Result;

/// One machine with its NIC as first created.
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

/// What a cloud needs of the hypervisor below it. Every call is blocking and acts on the real machine.
pub trait Hypervisor: Send + Sync {
    /// All machines, with their NICs as first created.
    fn machines(&self) -> Vec<MachineInfo>;
    /// Whether the machine has power.
    fn is_running(&self, machine: &str) -> Result<bool>;
    /// Removes the machine's NIC. A machine without one is left as it is.
    fn detach_nic(&self, machine: &str) -> Result<()>;
    /// Gives the machine a NIC with this MAC, replacing one it has. The guest gives its static address to the MAC it
    /// was installed with; a NIC with another MAC stays without address, whatever `ip` the cloud has in its books.
    fn attach_nic(&self, machine: &str, mac: &str, ip: Ipv4Addr) -> Result<()>;
    /// Switches the machine on; does not wait until it has booted.
    fn start(&self, machine: &str) -> Result<()>;
    /// Shuts the machine down in order, and waits until it is off.
    fn stop(&self, machine: &str) -> Result<()>;
    /// Shuts the machine down in order and switches it on again.
    fn reboot(&self, machine: &str) -> Result<()>;
    /// Cuts the machine's power.
    fn kill(&self, machine: &str) -> Result<()>;
}
