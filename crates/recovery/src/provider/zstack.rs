//! ZStack's REST API, as `zstack-sdk-go-v2` and ZStack's own `rest/` and `sdk/` modules speak it.
//!
//! Changes are asynchronous jobs whose UUID we choose ([`job`]); requests are signed or carry a session ([`auth`]).

mod auth;
mod http;
mod job;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CloudProvider, Job, ProviderError, Result};
use crate::facts::{CloudNic, CloudVm};
use crate::inventory::{IpRangeSpec, NicSpec};
use crate::secret::Secret;
use auth::Auth;
use http::Http;
use wire::{Availability, IpRangeInventory, NicInventory, VmInventory};

const RUNNING: &str = "Running";

/// Access to a ZStack management node by an AccessKey.
#[derive(Debug, Clone)]
pub struct ZStackConfig {
    /// Its API, such as `https://10.0.0.2:8443`.
    pub endpoint: String,
    /// CAs that its certificate may chain to, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Id of the AccessKey.
    pub access_key_id: Secret,
    /// Secret of the AccessKey.
    pub access_key_secret: Secret,
}

/// A ZStack cloud.
#[derive(Debug)]
pub struct ZStack {
    http: Http,
    auth: Auth,
}

impl ZStack {
    /// Uses an AccessKey. Nothing is sent yet.
    pub fn new(config: ZStackConfig) -> Result<Self> {
        let http = Http::new(&config.endpoint, config.ca.as_deref())?;
        Ok(Self { http, auth: Auth::access_key(config.access_key_id, config.access_key_secret) })
    }

    /// Uses an account and its password; logs in when first needed, and again when the session is over.
    pub fn with_account(endpoint: &str, account: &str, password: Secret) -> Result<Self> {
        Ok(Self { http: Http::new(endpoint, None)?, auth: Auth::account(account, password) })
    }

    /// Says where the management node's clock is, if not in this machine's time zone. ZStack compares wall clocks
    /// unless its `rest.checkTimeZone` is set.
    #[must_use]
    pub fn in_time_zone(mut self, time_zone: TimeZone) -> Self {
        self.auth.set_time_zone(time_zone);
        self
    }

    /// Whether the VM has just this NIC. Refuses when something else is in the way.
    async fn is_attached(&self, vm: &str, wanted: &NicSpec) -> Result<bool> {
        for nic in self.nics().await? {
            let (same_ip, same_mac) = (nic.ip == wanted.ip, nic.mac.eq_ignore_ascii_case(&wanted.mac));
            let same_l3 = nic.l3_network == wanted.l3_network;
            let has = format!("has a NIC with {} and {}", nic.ip, nic.mac);
            if nic.vm == vm && same_l3 {
                if same_ip && same_mac {
                    return Ok(true);
                }
                return Err(ProviderError::refused(format!(
                    "VM {vm} {has}, not with {} and {}; detach it in the cloud or correct the inventory",
                    wanted.ip, wanted.mac
                )));
            }
            if (same_ip && same_l3) || same_mac {
                return Err(ProviderError::refused(format!(
                    "VM {} {has}, which VM {vm} needs; detach it in the cloud first",
                    nic.vm
                )));
            }
        }
        Ok(false)
    }

    async fn check_available(&self, nic: &NicSpec) -> Result<()> {
        let path =
            format!("/v1/l3-networks/{}/ip/{}/availability", segment(&nic.l3_network)?, segment(&nic.ip)?);
        let availability: Availability = wire::decode(self.get(&path, &[]).await?, &path)?;
        if availability.available {
            return Ok(());
        }
        let reason = availability.reason.unwrap_or_else(|| "the cloud does not say why".into());
        Err(ProviderError::refused(format!(
            "address {} is not available on L3 network {}: {reason}; see its IP ranges in the cloud",
            nic.ip, nic.l3_network
        )))
    }

    async fn has_range(&self, wanted: &IpRangeSpec) -> Result<bool> {
        let (start, end) = (address(&wanted.start_ip)?, address(&wanted.end_ip)?);
        for range in self.ip_ranges().await?.iter().filter(|range| range.l3_network == wanted.l3_network) {
            if address(&range.start_ip)? <= start && end <= address(&range.end_ip)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_running(&self, vm: &str) -> Result<bool> {
        let vms = self.vms().await?;
        let known = vms.iter().find(|known| known.uuid == vm);
        let known = known.ok_or_else(|| {
            ProviderError::refused(format!("the cloud has no VM {vm}; correct its id in the inventory"))
        })?;
        Ok(known.state == RUNNING)
    }

    async fn vm_action(&self, vm: &str, api: &'static str, request: &job::Request<'_>) -> Result<()> {
        let path = format!("/v1/vm-instances/{}/actions", segment(vm)?);
        self.run(api, Method::PUT, &path, json!({ api: {} }), request).await
    }
}

#[async_trait]
impl CloudProvider for ZStack {
    async fn vms(&self) -> Result<Vec<CloudVm>> {
        let rows: Vec<VmInventory> = self.query("/v1/vm-instances").await?;
        Ok(rows.into_iter().map(CloudVm::from).collect())
    }

    async fn nics(&self) -> Result<Vec<CloudNic>> {
        let rows: Vec<NicInventory> = self.query("/v1/vm-instances/nics").await?;
        Ok(rows.into_iter().filter_map(NicInventory::of_vm).collect())
    }

    async fn ip_ranges(&self) -> Result<Vec<IpRangeSpec>> {
        let rows: Vec<IpRangeInventory> = self.query("/v1/l3-networks/ip-ranges").await?;
        Ok(rows.into_iter().map(IpRangeSpec::from).collect())
    }

    async fn ensure_ip_range(&self, range: &IpRangeSpec, job: &Job) -> Result<()> {
        let request = self.settle("addIpRange", job).await?;
        if self.has_range(range).await? {
            return Ok(());
        }
        let path = format!("/v1/l3-networks/{}/ip-ranges", segment(&range.l3_network)?);
        let mut params = json!({
            "name": range.name, "startIp": range.start_ip, "endIp": range.end_ip, "netmask": range.netmask,
        });
        if !range.gateway.is_empty() {
            params["gateway"] = Value::from(range.gateway.as_str());
        }
        self.run("addIpRange", Method::POST, &path, json!({ "params": params }), &request).await
    }

    async fn attach_nic(&self, vm: &str, nic: &NicSpec, job: &Job) -> Result<()> {
        const API: &str = "attachL3NetworkToVm";
        let path = format!("/v1/vm-instances/{}/l3-networks/{}", segment(vm)?, segment(&nic.l3_network)?);
        // First: the row of a NIC is there while the job that attaches it still runs.
        let request = self.settle(API, job).await?;
        if self.is_attached(vm, nic).await? {
            return Ok(());
        }
        self.check_available(nic).await?;
        let body = json!({ "params": { "staticIp": nic.ip, "customMac": nic.mac } });
        self.run(API, Method::POST, &path, body, &request).await?;
        // ZStack before 4.0 ignores `customMac`.
        if self.is_attached(vm, nic).await? {
            return Ok(());
        }
        Err(ProviderError::refused(format!(
            "the cloud says it attached {} to VM {vm}, but it has no such NIC",
            nic.ip
        )))
    }

    async fn start_vm(&self, vm: &str, job: &Job) -> Result<()> {
        let request = self.settle("startVmInstance", job).await?;
        if self.is_running(vm).await? {
            return Ok(());
        }
        self.vm_action(vm, "startVmInstance", &request).await
    }

    async fn reboot_vm(&self, vm: &str, job: &Job) -> Result<()> {
        let request = self.settle("rebootVmInstance", job).await?;
        if request.was_done {
            return Ok(());
        }
        self.vm_action(vm, "rebootVmInstance", &request).await
    }
}

/// Text from an inventory as a part of a path, where it must not become another path.
fn segment(text: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if !text.is_empty() && text != ".." && text.bytes().all(plain) {
        return Ok(text);
    }
    Err(ProviderError::refused(format!(
        "{text:?} cannot be an id or address in the cloud; correct the inventory"
    )))
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| ProviderError::refused(format!("{text:?} is not an IP address; correct the IP range")))
}

/// When a job's time is over.
fn end_of(job: &Job) -> Instant {
    Instant::now() + job.deadline
}
