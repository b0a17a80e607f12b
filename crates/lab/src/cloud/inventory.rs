//! The state as rows of ZStack's API: `VmInstanceInventory`, `VmNicInventory`, `IpRangeInventory`,
//! `L3NetworkInventory`, with the fields that matter here.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Cloud;
use super::reply::ErrorCode;
use super::store::{CloudState, IpRange, Nic};
use crate::hypervisor::MachineInfo;

/// A VM, with the machine's power state.
pub(super) fn vm(cloud: &Cloud, machine: &MachineInfo) -> Result<Value, ErrorCode> {
    let running = cloud.hypervisor.is_running(&machine.name)?;
    Ok(cloud.store.read(|state| {
        let nics: Vec<Value> =
            state.nic_of(&machine.uuid).map(|nic| self::nic(state, nic)).into_iter().collect();
        json!({
            "uuid": machine.uuid,
            "name": machine.name,
            "description": machine.roles.join(", "),
            "type": "UserVm",
            "platform": "Linux",
            "hypervisorType": "KVM",
            "state": if running { "Running" } else { "Stopped" },
            "defaultL3NetworkUuid": nics.first().map(|_| &state.l3_network),
            "vmNics": nics,
        })
    }))
}

/// A NIC with its address.
pub(super) fn nic(state: &CloudState, nic: &Nic) -> Value {
    let range = state.range_of(nic.ip);
    let netmask = range.map(|range| range.netmask);
    let gateway = range.map(|range| range.gateway);
    let created = date(nic.created);
    json!({
        "uuid": nic.uuid,
        "vmInstanceUuid": nic.vm,
        "l3NetworkUuid": state.l3_network,
        "ip": nic.ip,
        "mac": nic.mac,
        "netmask": netmask,
        "gateway": gateway,
        "ipVersion": 4,
        "hypervisorType": "KVM",
        "deviceId": 0,
        "type": "VNIC",
        "state": "enable",
        "createDate": created,
        "lastOpDate": created,
        "usedIps": [{
            "ip": nic.ip,
            "ipVersion": 4,
            "ipRangeUuid": range.map(|range| &range.uuid),
            "l3NetworkUuid": state.l3_network,
            "vmNicUuid": nic.uuid,
            "netmask": netmask,
            "gateway": gateway,
        }],
    })
}

/// An IP range.
pub(super) fn ip_range(state: &CloudState, range: &IpRange) -> Value {
    let prefix_len = u32::from(range.netmask).leading_ones();
    let network = Ipv4Addr::from(u32::from(range.start_ip) & u32::from(range.netmask));
    let created = date(range.created);
    json!({
        "uuid": range.uuid,
        "l3NetworkUuid": state.l3_network,
        "name": range.name,
        "startIp": range.start_ip,
        "endIp": range.end_ip,
        "netmask": range.netmask,
        "gateway": range.gateway,
        "networkCidr": format!("{network}/{prefix_len}"),
        "prefixLen": prefix_len,
        "ipVersion": 4,
        "ipRangeType": "Normal",
        "createDate": created,
        "lastOpDate": created,
    })
}

/// The L3 network.
pub(super) fn l3_network(state: &CloudState) -> Value {
    json!({
        "uuid": state.l3_network,
        "name": "lab",
        "type": "L3BasicNetwork",
        "category": "Private",
        "state": "Enabled",
        "system": false,
        "ipVersion": 4,
        "enableIPAM": true,
        "ipRanges": state.ip_ranges.iter().map(|range| ip_range(state, range)).collect::<Vec<_>>(),
    })
}

/// A time as ZStack's JSON formats it, such as `Oct 17, 2024 5:43:35 AM`.
fn date(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%b %-d, %Y %-I:%M:%S %p").to_string()
}
