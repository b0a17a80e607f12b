//! What jobs do: attach a NIC, set an address, switch power, add an IP range.

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::ErrorCode;
use super::store::{CloudState, IpRange, Nic, now};
use super::{Cloud, inventory, lock, new_uuid, range};
use crate::hypervisor::MachineInfo;

/// The work of a job.
pub(super) enum Action {
    AttachL3Network { vm: String, l3: String, params: AttachParams },
    SetStaticIp { vm: String, l3: String, ip: Ipv4Addr },
    Start { vm: String },
    Stop { vm: String, cold: bool },
    Reboot { vm: String },
    AddIpRange { l3: String, params: IpRangeParams },
    DeleteIpRange { uuid: String },
}

/// Parameters of `APIAttachL3NetworkToVmMsg`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AttachParams {
    static_ip: Option<Ipv4Addr>,
    custom_mac: Option<String>,
}

/// Parameters of `APIAddIpRangeMsg`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IpRangeParams {
    name: String,
    start_ip: Ipv4Addr,
    end_ip: Ipv4Addr,
    netmask: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
}

impl Action {
    /// ZStack's name of the API, by which faults select jobs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::AttachL3Network { .. } => "attachL3NetworkToVm",
            Self::SetStaticIp { .. } => "setVmStaticIp",
            Self::Start { .. } => "startVmInstance",
            Self::Stop { .. } => "stopVmInstance",
            Self::Reboot { .. } => "rebootVmInstance",
            Self::AddIpRange { .. } => "addIpRange",
            Self::DeleteIpRange { .. } => "deleteIpRange",
        }
    }

    fn vm(&self) -> Option<&str> {
        match self {
            Self::AttachL3Network { vm, .. }
            | Self::SetStaticIp { vm, .. }
            | Self::Start { vm }
            | Self::Stop { vm, .. }
            | Self::Reboot { vm } => Some(vm),
            Self::AddIpRange { .. } | Self::DeleteIpRange { .. } => None,
        }
    }

    /// Runs the action, and returns the result that polling answers with.
    pub(super) fn run(&self, cloud: &Cloud) -> Result<Value, ErrorCode> {
        let Some(vm) = self.vm() else {
            cloud.faults.fail_if_injected(self.name(), None)?;
            return match self {
                Self::AddIpRange { l3, params } => add_ip_range(cloud, l3, params),
                Self::DeleteIpRange { uuid } => range::delete(cloud, uuid),
                _ => Err(ErrorCode::internal("an action without a VM")),
            };
        };
        let machine =
            cloud.machine(vm).ok_or_else(|| ErrorCode::not_found(format!("no VM has uuid {vm}")))?;
        let turn = cloud.vm_lock(vm);
        let _turn = lock(&turn);
        cloud.faults.fail_if_injected(self.name(), Some(machine))?;
        match self {
            Self::AttachL3Network { l3, params, .. } => attach(cloud, machine, l3, params)?,
            Self::SetStaticIp { l3, ip, .. } => set_static_ip(cloud, machine, l3, *ip)?,
            _ => self.power(cloud, machine)?,
        }
        inventory::vm(cloud, machine).map(|vm| json!({ "inventory": vm }))
    }

    fn power(&self, cloud: &Cloud, machine: &MachineInfo) -> Result<(), ErrorCode> {
        let name = machine.name.as_str();
        let running = cloud.hypervisor.is_running(name)?;
        let wants_running = !matches!(self, Self::Start { .. });
        if running != wants_running {
            let state = if running { "Running" } else { "Stopped" };
            let uuid = &machine.uuid;
            return Err(ErrorCode::operation(format!(
                "{} is not possible: VM {uuid} is {state}",
                self.name()
            )));
        }
        match self {
            Self::Start { .. } => cloud.hypervisor.start(name)?,
            Self::Stop { cold: true, .. } => cloud.hypervisor.kill(name)?,
            Self::Stop { cold: false, .. } => cloud.hypervisor.stop(name)?,
            _ => cloud.hypervisor.reboot(name)?,
        }
        Ok(())
    }
}

/// Checks what `VmInstanceApiInterceptor` does. The row is added before the NIC, so that no address is assigned twice.
fn attach(cloud: &Cloud, machine: &MachineInfo, l3: &str, params: &AttachParams) -> Result<(), ErrorCode> {
    let uuid = machine.uuid.as_str();
    let nic = cloud.store.try_change(|state| {
        check_l3(state, l3)?;
        if state.nic_of(uuid).is_some() {
            let details = format!("VM {uuid} has a NIC on L3 network {l3} already");
            return Err(ErrorCode::operation(details));
        }
        let ip = match params.static_ip {
            Some(ip) => check_free(state, l3, ip)?,
            None => free_ip(state).ok_or_else(|| ErrorCode::operation("no address is free"))?,
        };
        let mac = check_mac(state, params.custom_mac.clone().unwrap_or_else(new_mac))?;
        let nic = Nic::new(uuid, ip, &mac);
        state.nics.push(nic.clone());
        if params.static_ip.is_some() {
            state.static_ips.insert(uuid.to_owned(), ip);
        }
        Ok(nic)
    })??;
    if let Err(error) = cloud.hypervisor.attach_nic(&machine.name, &nic.mac, nic.ip) {
        cloud.store.change(|state| {
            state.nics.retain(|known| known.uuid != nic.uuid);
            state.static_ips.remove(uuid);
        })?;
        return Err(error.into());
    }
    Ok(())
}

fn set_static_ip(cloud: &Cloud, machine: &MachineInfo, l3: &str, ip: Ipv4Addr) -> Result<(), ErrorCode> {
    let uuid = machine.uuid.as_str();
    let (before, mac) = cloud.store.read(|state| {
        check_l3(state, l3)?;
        let nic = state
            .nic_of(uuid)
            .ok_or_else(|| ErrorCode::operation(format!("VM {uuid} has no NIC on L3 network {l3}")))?;
        if nic.ip != ip {
            check_free(state, l3, ip)?;
        }
        Ok::<_, ErrorCode>((nic.ip, nic.mac.clone()))
    })?;
    if before != ip {
        cloud.hypervisor.attach_nic(&machine.name, &mac, ip)?;
    }
    cloud.store.change(|state| {
        for nic in state.nics.iter_mut().filter(|nic| nic.vm == uuid) {
            nic.ip = ip;
        }
        state.static_ips.insert(uuid.to_owned(), ip);
    })?;
    Ok(())
}

fn add_ip_range(cloud: &Cloud, l3: &str, params: &IpRangeParams) -> Result<Value, ErrorCode> {
    let range = IpRange {
        uuid: new_uuid(),
        name: params.name.clone(),
        start_ip: params.start_ip,
        end_ip: params.end_ip,
        netmask: params.netmask,
        gateway: params.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
        created: now(),
    };
    cloud.store.try_change(|state| {
        check_l3(state, l3)?;
        if range.start_ip > range.end_ip {
            return Err(ErrorCode::argument("the first address is above the last"));
        }
        if let Some(old) =
            state.ip_ranges.iter().find(|r| r.start_ip <= range.end_ip && range.start_ip <= r.end_ip)
        {
            return Err(ErrorCode::argument(format!("it would overlap IP range {}", old.uuid)));
        }
        state.ip_ranges.push(range.clone());
        Ok(json!({ "inventory": inventory::ip_range(state, &range) }))
    })?
}

fn check_l3(state: &CloudState, l3: &str) -> Result<(), ErrorCode> {
    if state.l3_network == l3 {
        Ok(())
    } else {
        Err(ErrorCode::not_found(format!("no L3 network has uuid {l3}")))
    }
}

fn check_free(state: &CloudState, l3: &str, ip: Ipv4Addr) -> Result<Ipv4Addr, ErrorCode> {
    if state.range_of(ip).is_none() {
        let details = format!("address {ip} is in no IP range of L3 network {l3}");
        return Err(ErrorCode::argument(details));
    }
    if state.nics.iter().any(|nic| nic.ip == ip) {
        let details = format!("address {ip} is taken on L3 network {l3}");
        return Err(ErrorCode::operation(details));
    }
    Ok(ip)
}

fn check_mac(state: &CloudState, mac: String) -> Result<String, ErrorCode> {
    let bytes: Option<Vec<u8>> = mac
        .split(':')
        .map(|byte| if byte.len() == 2 { u8::from_str_radix(byte, 16).ok() } else { None })
        .collect();
    match bytes.as_deref() {
        Some([first, _, _, _, _, _]) if first & 1 == 0 => {}
        _ => return Err(ErrorCode::operation(format!("{mac} is not a valid MAC for a NIC"))),
    }
    if state.nics.iter().any(|nic| nic.mac.eq_ignore_ascii_case(&mac)) {
        return Err(ErrorCode::operation(format!("MAC {mac} is taken")));
    }
    Ok(mac)
}

fn free_ip(state: &CloudState) -> Option<Ipv4Addr> {
    let addresses =
        state.ip_ranges.iter().flat_map(|range| u32::from(range.start_ip)..=u32::from(range.end_ip));
    addresses.map(Ipv4Addr::from).find(|ip| state.nics.iter().all(|nic| nic.ip != *ip))
}

/// ZStack's own MACs begin with `fa`.
fn new_mac() -> String {
    let [a, b, c, d, e, ..] = fastrand::u64(..).to_be_bytes();
    format!("fa:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}
