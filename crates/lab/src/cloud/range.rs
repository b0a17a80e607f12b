//! Deletes an IP range and the NICs in it, as ZStack's `VmCascadeExtension` and `VmDetachNicFlow` do.
//!
//! Addresses in use do not prevent it: every VM with an address in the range, running or not, loses its NIC and the
//! NIC's row, the only record of the MAC. A NIC that cannot be detached is logged; the others are detached all the
//! same, and the job succeeds.

use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use super::reply::ErrorCode;
use super::store::Nic;
use super::{Cloud, lock};

/// ZStack's `parallelism` in `detachVmNicCascade`.
const PARALLEL: usize = 10;

/// Deletes a range, after the NICs in it.
pub(super) fn delete(cloud: &Cloud, uuid: &str) -> Result<Value, ErrorCode> {
    let nics: Vec<Nic> = cloud.store.read(|state| {
        let range = state.ip_ranges.iter().find(|range| range.uuid == uuid);
        let range = range.ok_or_else(|| ErrorCode::not_found(format!("no IP range has uuid {uuid}")))?;
        Ok::<_, ErrorCode>(state.nics.iter().filter(|nic| range.contains(nic.ip)).cloned().collect())
    })?;
    detach_all(cloud, nics);
    cloud.store.change(|state| state.ip_ranges.retain(|range| range.uuid != uuid))?;
    Ok(json!({}))
}

fn detach_all(cloud: &Cloud, nics: Vec<Nic>) {
    let workers = PARALLEL.min(nics.len());
    let queue = Mutex::new(nics);
    let work = || {
        while let Some(nic) = next(&queue) {
            if let Err(error) = detach(cloud, &nic) {
                eprintln!("cloud: cannot detach NIC {} of VM {}: {error:?}", nic.uuid, nic.vm);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
}

/// Takes the next NIC. In a function of its own, so that the lock is not held while the NIC is detached.
fn next(queue: &Mutex<Vec<Nic>>) -> Option<Nic> {
    lock(queue).pop()
}

fn detach(cloud: &Cloud, nic: &Nic) -> Result<(), ErrorCode> {
    let turn = cloud.vm_lock(&nic.vm);
    let _turn = lock(&turn);
    let machine = cloud.machine(&nic.vm).ok_or_else(|| ErrorCode::not_found("the VM is gone"))?;
    cloud.faults.fail_if_injected("detachNicFromVm", Some(machine))?;
    cloud.hypervisor.detach_nic(&machine.name)?;
    cloud.store.change(|state| {
        state.nics.retain(|known| known.uuid != nic.uuid);
        state.static_ips.remove(&nic.vm);
    })?;
    Ok(())
}
