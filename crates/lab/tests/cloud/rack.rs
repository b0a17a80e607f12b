//! Machines that are rows of a table.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::hypervisor::{Hypervisor, MachineInfo};

/// The incident's machines in small: two masters, the etcd machine and NFS in the reserved range, a node outside.
const MACHINES: [(&str, u8); 5] = [("m1", 231), ("m2", 232), ("e1", 230), ("nfs", 240), ("n1", 20)];

/// What a machine has.
struct Slot {
    running: bool,
    nic: Option<(String, Ipv4Addr)>,
}

pub(crate) struct Rack {
    machines: Vec<MachineInfo>,
    slots: Mutex<HashMap<String, Slot>>,
    /// All that was done, as `verb machine`.
    log: Mutex<Vec<String>>,
    /// Machines whose NICs cannot be changed.
    broken: Mutex<HashSet<String>>,
    /// How long a NIC takes to be attached.
    pace: Mutex<Duration>,
}

impl Rack {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(MACHINES.iter().map(|(name, last)| ((*name).into(), Ipv4Addr::new(10, 123, 0, *last))))
    }

    /// More machines than a page of a query holds.
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
        let slot =
            |machine: &MachineInfo| Slot { running: true, nic: Some((machine.mac.clone(), machine.ip)) };
        let slots = machines.iter().map(|machine| (machine.name.clone(), slot(machine))).collect();
        Arc::new(Self {
            machines,
            slots: Mutex::new(slots),
            log: Mutex::default(),
            broken: Mutex::default(),
            pace: Mutex::default(),
        })
    }

    pub(crate) fn vm(&self, name: &str) -> &str {
        &self.machines.iter().find(|machine| machine.name == name).unwrap().uuid
    }

    pub(crate) fn nic(&self, name: &str) -> Option<(String, Ipv4Addr)> {
        self.slots.lock().unwrap()[name].nic.clone()
    }

    /// Whether the machine behind a VM has a NIC with this MAC.
    pub(crate) fn nic_is(&self, vm: &str, mac: &str) -> bool {
        let machine = self.machines.iter().find(|machine| machine.uuid == vm).unwrap();
        self.nic(&machine.name).is_some_and(|nic| nic.0 == mac)
    }

    pub(crate) fn set_power(&self, name: &str, running: bool) {
        self.slots.lock().unwrap().get_mut(name).unwrap().running = running;
    }

    pub(crate) fn break_nic(&self, name: &str) {
        self.broken.lock().unwrap().insert(name.into());
    }

    pub(crate) fn slow_down(&self, pace: Duration) {
        *self.pace.lock().unwrap() = pace;
    }

    pub(crate) fn repair_nics(&self) {
        self.broken.lock().unwrap().clear();
    }

    /// How often something was done.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|entry| *entry == what).count()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn change(&self, verb: &str, machine: &str, change: impl FnOnce(&mut Slot)) {
        self.log.lock().unwrap().push(format!("{verb} {machine}"));
        change(self.slots.lock().unwrap().get_mut(machine).unwrap());
    }

    fn check_nic(&self, machine: &str) -> Result<()> {
        if self.broken.lock().unwrap().contains(machine) {
            bail!("the bridge does not let go");
        }
        Ok(())
    }
}

impl Hypervisor for Rack {
    fn machines(&self) -> Vec<MachineInfo> {
        self.machines.clone()
    }

    fn is_running(&self, machine: &str) -> Result<bool> {
        Ok(self.slots.lock().unwrap()[machine].running)
    }

    fn detach_nic(&self, machine: &str) -> Result<()> {
        self.check_nic(machine)?;
        self.change("detach", machine, |slot| slot.nic = None);
        Ok(())
    }

    fn attach_nic(&self, machine: &str, mac: &str, ip: Ipv4Addr) -> Result<()> {
        self.check_nic(machine)?;
        thread::sleep(*self.pace.lock().unwrap());
        self.change("attach", machine, |slot| slot.nic = Some((mac.into(), ip)));
        Ok(())
    }

    fn start(&self, machine: &str) -> Result<()> {
        self.change("start", machine, |slot| slot.running = true);
        Ok(())
    }

    fn stop(&self, machine: &str) -> Result<()> {
        self.change("stop", machine, |slot| slot.running = false);
        Ok(())
    }

    fn reboot(&self, machine: &str) -> Result<()> {
        self.change("reboot", machine, |slot| slot.running = true);
        Ok(())
    }

    fn kill(&self, machine: &str) -> Result<()> {
        self.change("kill", machine, |slot| slot.running = false);
        Ok(())
    }
}
