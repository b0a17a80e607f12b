//! What ZStack sends: the fields in use of `VmInstanceInventory`, `VmNicInventory`, `IpRangeInventory`, `ErrorCode`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::facts::{CloudNic, CloudVm};
use crate::inventory::IpRangeSpec;
use crate::provider::{ProviderError, Result};

/// Reads an answer.
pub(super) fn decode<T: DeserializeOwned>(answer: Value, path: &str) -> Result<T> {
    serde_json::from_value(answer)
        .map_err(|error| ProviderError::Protocol { call: format!("GET {path}"), reason: error.to_string() })
}

/// A page of a query.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) inventories: Vec<T>,
    pub(super) total: usize,
}

#[derive(Deserialize)]
pub(super) struct VmInventory {
    uuid: String,
    #[serde(default)]
    name: String,
    state: String,
}

impl From<VmInventory> for CloudVm {
    fn from(VmInventory { uuid, name, state }: VmInventory) -> Self {
        Self { uuid, name, state }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NicInventory {
    vm_instance_uuid: Option<String>,
    l3_network_uuid: Option<String>,
    ip: Option<String>,
    mac: String,
}

impl NicInventory {
    /// A NIC can be nobody's: one made ahead of its VM.
    pub(super) fn of_vm(self) -> Option<CloudNic> {
        Some(CloudNic {
            vm: self.vm_instance_uuid?,
            l3_network: self.l3_network_uuid.unwrap_or_default(),
            ip: self.ip.unwrap_or_default(),
            mac: self.mac.to_ascii_lowercase(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IpRangeInventory {
    l3_network_uuid: String,
    #[serde(default)]
    name: String,
    start_ip: String,
    end_ip: String,
    netmask: Option<String>,
    gateway: Option<String>,
}

impl From<IpRangeInventory> for IpRangeSpec {
    fn from(range: IpRangeInventory) -> Self {
        Self {
            l3_network: range.l3_network_uuid,
            name: range.name,
            start_ip: range.start_ip,
            end_ip: range.end_ip,
            netmask: range.netmask.unwrap_or_default(),
            gateway: range.gateway.unwrap_or_default(),
        }
    }
}

/// Whether an address can be given to a NIC.
#[derive(Deserialize)]
pub(super) struct Availability {
    pub(super) available: bool,
    pub(super) reason: Option<String>,
}

/// The session of a login.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) inventory: Session,
}

#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) uuid: String,
}

/// An answer that says why not.
#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) error: ErrorCode,
}

#[derive(Deserialize)]
pub(super) struct ErrorCode {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    description: String,
    details: Option<String>,
    /// What an error was wrapped around.
    cause: Option<Box<ErrorCode>>,
}

impl ErrorCode {
    /// Unable to authenticate, or an invalid session (`conf/errorCodes/identity.xml`).
    pub(super) fn is_about_identity(&self) -> bool {
        matches!(self.code.as_str(), "ID.1000" | "ID.1001")
    }

    /// The innermost message, which is the one that says something.
    pub(super) fn message(&self) -> String {
        let mut innermost = self;
        while let Some(cause) = &innermost.cause {
            innermost = cause;
        }
        let details = innermost.details.as_ref().filter(|details| !details.is_empty());
        details.unwrap_or(&innermost.description).clone()
    }
}
