//! VMs and NICs of the machines, by their addresses.

use std::collections::BTreeMap;

use crate::facts::CloudNic;
use crate::inventory::{HostSpec, IpRangeSpec, NicSpec, Vm};
use crate::provider::CloudProvider;

/// Assigns each machine its VM, and returns the IP ranges of their addresses. Failures are noted.
pub(super) async fn add(
    cloud: &dyn CloudProvider,
    hosts: &mut BTreeMap<String, HostSpec>,
    notes: &mut Vec<String>,
) -> Vec<IpRangeSpec> {
    let (nics, ranges) = match (cloud.nics().await, cloud.ip_ranges().await) {
        (Ok(nics), Ok(ranges)) => (nics, ranges),
        (Err(error), _) | (_, Err(error)) => {
            notes.push(format!("cannot list the cloud's NICs, so none can be restored: {error}"));
            return Vec::new();
        }
    };
    for (name, host) in hosts.iter_mut() {
        let mut at_address = nics.iter().filter(|nic| nic.ip == host.address);
        let vm = match (at_address.next(), at_address.next()) {
            (Some(nic), None) => nic.vm.clone(),
            (None, _) => {
                notes.push(format!("{name}: no VM of the cloud has its address {}", host.address));
                continue;
            }
            (Some(_), Some(_)) => {
                notes.push(format!("{name}: several NICs of the cloud have its address {}", host.address));
                continue;
            }
        };
        let own = nics.iter().filter(|nic| nic.vm == vm && !nic.ip.is_empty());
        let spec = |nic: &CloudNic| NicSpec {
            l3_network: nic.l3_network.clone(),
            ip: nic.ip.clone(),
            mac: nic.mac.clone(),
        };
        let nics = own.map(spec).collect();
        host.vm = Some(Vm { uuid: vm, nics });
    }
    let all = hosts.values().filter_map(|host| host.vm.as_ref()).flat_map(|vm| &vm.nics);
    let needed = |range: &IpRangeSpec| {
        all.clone().any(|nic| nic.l3_network == range.l3_network && range.contains(&nic.ip))
    };
    ranges.into_iter().filter(needed).collect()
}
