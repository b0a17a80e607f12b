//! What the cloud says.

use serde::{Deserialize, Serialize};

use super::Fact;
use crate::inventory::is_between;

/// What the cloud's API says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudFacts {
    /// Every NIC it knows.
    pub nics: Fact<Vec<CloudNic>>,
    /// Every VM it knows.
    pub vms: Fact<Vec<CloudVm>>,
    /// Every IP range it knows.
    pub ip_ranges: Fact<Vec<CloudIpRange>>,
}

/// A NIC the cloud knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudNic {
    /// The cloud's id of the VM it belongs to.
    pub vm: String,
    /// The L3 network it is on.
    pub l3_network: String,
    /// IP address.
    pub ip: String,
    /// MAC address.
    pub mac: String,
}

/// A VM the cloud knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudVm {
    /// The cloud's id.
    pub uuid: String,
    /// Name in the cloud.
    pub name: String,
    /// Its state in the cloud's words, such as `Running`.
    pub state: String,
}

/// An IP range the cloud knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudIpRange {
    /// The L3 network it belongs to.
    pub l3_network: String,
    /// First address of the range.
    pub start_ip: String,
    /// Last address of the range.
    pub end_ip: String,
}

impl CloudIpRange {
    /// Whether an address of an L3 network lies in it.
    pub fn contains(&self, l3_network: &str, ip: &str) -> bool {
        self.l3_network == l3_network && is_between(&self.start_ip, &self.end_ip, ip)
    }
}
