//! The deletion of an IP range, and what it takes with it, as in ZStack's `VmCascadeExtension` and `VmDetachNicFlow`.
//!
//! That an address of the range is in use stops nothing: every VM with such an address loses the NIC, running or not,
//! and the row of the NIC, which is the only place that knew the MAC. A NIC that cannot be detached is logged, the
//! others are detached all the same, and the job succeeds.

use std::sync::Mutex;
use std::thread;

use serde_json::{Value, json};

use super::reply::ErrorCode;
use super::store::Nic;
use super::{Cloud, lock};

/// ZStack's `parallelism` in `detachVmNicCascade`.
const PARALLEL: usize = 10;

/// Deletes a range, the NICs first.
pub(super) fn delete(cloud: &Cloud, uuid: &str) -> Result<Value, ErrorCode> {
    let nics: Vec<Nic> = cloud.store.read(|books| {
        let range = books.ip_ranges.iter().find(|range| range.uuid == uuid);
        let range = range.ok_or_else(|| ErrorCode::not_found(format!("no IP range has uuid {uuid}")))?;
        Ok::<_, ErrorCode>(books.nics.iter().filter(|nic| range.contains(nic.ip)).cloned().collect())
    })?;
    detach_all(cloud, nics);
    cloud.store.change(|books| books.ip_ranges.retain(|range| range.uuid != uuid))?;
    Ok(json!({}))
}

fn detach_all(cloud: &Cloud, nics: Vec<Nic>) {
    let workers = PARALLEL.min(nics.len());
    let queue = Mutex::new(nics);
    let work = || {
        while let Some(nic) = next(&queue) {
            if let Err(error) = detach(cloud, &nic) {
                eprintln!("cloud: NIC {} of VM {} stays: {error:?}", nic.uuid, nic.vm);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
}

/// A function of its own, so that the lock is not held while the NIC is detached.
fn next(queue: &Mutex<Vec<Nic>>) -> Option<Nic> {
    lock(queue).pop()
}

fn detach(cloud: &Cloud, nic: &Nic) -> Result<(), ErrorCode> {
    let turn = cloud.vm_lock(&nic.vm);
    let _turn = lock(&turn);
    let machine = cloud.machine(&nic.vm).ok_or_else(|| ErrorCode::not_found("the VM is gone"))?;
    cloud.faults.fail_if_told("detachNicFromVm", Some(machine))?;
    cloud.hypervisor.detach_nic(&machine.name)?;
    cloud.store.change(|books| {
        books.nics.retain(|known| known.uuid != nic.uuid);
        books.static_ips.remove(&nic.vm);
    })?;
    Ok(())
}
