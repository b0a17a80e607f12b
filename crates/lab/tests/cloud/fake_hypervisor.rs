//! A hypervisor without machines.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::hypervisor::{Hypervisor, MachineInfo};

/// A smaller version of the incident: two masters, the etcd machine and NFS in the reserved range, a node outside.
const MACHINES: [(&str, u8); 5] = [("m1", 231), ("m2", 232), ("e1", 230), ("nfs", 240), ("n1", 20)];

/// Power and NIC of a machine.
struct VmState {
    running: bool,
    nic: Option<(String, Ipv4Addr)>,
}

pub(crate) struct FakeHypervisor {
    machines: Vec<MachineInfo>,
    states: Mutex<HashMap<String, VmState>>,
    /// All calls, as `verb machine`.
    log: Mutex<Vec<String>>,
    /// Machines whose NICs cannot be changed.
    broken: Mutex<HashSet<String>>,
    /// How long attaching a NIC takes.
    attach_delay: Mutex<Duration>,
}

impl FakeHypervisor {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(MACHINES.iter().map(|(name, last)| ((*name).into(), Ipv4Addr::new(10, 123, 0, *last))))
    }

    /// A hypervisor with `count` machines.
    pub(crate) fn large(count: u32) -> Arc<Self> {
        Self::of(
            (0..count)
                .map(|n| (format!("vm{n}"), Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 124, 0, 0)) + n))),
        )
    }

    fn of(machines: impl Iterator<Item = (String, Ipv4Addr)>) -> Arc<Self> {
        let machine = |(n, (name, ip)): (usize, (String, Ipv4Addr))| MachineInfo {
            name,
            uuid: format!("{n:032x}"),
            ip,
            mac: format!("52:54:00:7b:{:02x}:{:02x}", n / 256, n % 256),
            roles: vec!["master".into()],
        };
        let machines: Vec<_> = machines.enumerate().map(machine).collect();
        let state =
            |machine: &MachineInfo| VmState { running: true, nic: Some((machine.mac.clone(), machine.ip)) };
        let states = machines.iter().map(|machine| (machine.name.clone(), state(machine))).collect();
        Arc::new(Self {
            machines,
            states: Mutex::new(states),
            log: Mutex::default(),
            broken: Mutex::default(),
            attach_delay: Mutex::default(),
        })
    }

    pub(crate) fn vm(&self, name: &str) -> &str {
        &self.machines.iter().find(|machine| machine.name == name).unwrap().uuid
    }

    pub(crate) fn nic(&self, name: &str) -> Option<(String, Ipv4Addr)> {
        self.states.lock().unwrap()[name].nic.clone()
    }

    /// Whether the machine behind a VM has a NIC with this MAC.
    pub(crate) fn nic_is(&self, vm: &str, mac: &str) -> bool {
        let machine = self.machines.iter().find(|machine| machine.uuid == vm).unwrap();
        self.nic(&machine.name).is_some_and(|nic| nic.0 == mac)
    }

    pub(crate) fn set_power(&self, name: &str, running: bool) {
        self.states.lock().unwrap().get_mut(name).unwrap().running = running;
    }

    pub(crate) fn break_nic(&self, name: &str) {
        self.broken.lock().unwrap().insert(name.into());
    }

    pub(crate) fn set_attach_delay(&self, attach_delay: Duration) {
        *self.attach_delay.lock().unwrap() = attach_delay;
    }

    pub(crate) fn repair_nics(&self) {
        self.broken.lock().unwrap().clear();
    }

    /// How often a call was made.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|entry| *entry == what).count()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn change(&self, verb: &str, machine: &str, change: impl FnOnce(&mut VmState)) {
        self.log.lock().unwrap().push(format!("{verb} {machine}"));
        change(self.states.lock().unwrap().get_mut(machine).unwrap());
    }

    fn check_nic(&self, machine: &str) -> Result<()> {
        if self.broken.lock().unwrap().contains(machine) {
            bail!("the bridge is busy");
        }
        Ok(())
    }
}

impl Hypervisor for FakeHypervisor {
    fn machines(&self) -> Vec<MachineInfo> {
        self.machines.clone()
    }

    fn is_running(&self, machine: &str) -> Result<bool> {
        Ok(self.states.lock().unwrap()[machine].running)
    }

    fn detach_nic(&self, machine: &str) -> Result<()> {
        self.check_nic(machine)?;
        self.change("detach", machine, |state| state.nic = None);
        Ok(())
    }

    fn attach_nic(&self, machine: &str, mac: &str, ip: Ipv4Addr) -> Result<()> {
        self.check_nic(machine)?;
        thread::sleep(*self.attach_delay.lock().unwrap());
        self.change("attach", machine, |state| state.nic = Some((mac.into(), ip)));
        Ok(())
    }

    fn start(&self, machine: &str) -> Result<()> {
        self.change("start", machine, |state| state.running = true);
        Ok(())
    }

    fn stop(&self, machine: &str) -> Result<()> {
        self.change("stop", machine, |state| state.running = false);
        Ok(())
    }

    fn reboot(&self, machine: &str) -> Result<()> {
        self.change("reboot", machine, |state| state.running = true);
        Ok(())
    }

    fn kill(&self, machine: &str) -> Result<()> {
        self.change("kill", machine, |state| state.running = false);
        Ok(())
    }
}
