//! The cloud of the machines: what it has, and the few changes that Lifeboat requests.
//!
//! Reading needs nothing but a provider. Every call that changes something takes a [`Job`], so that asking again after
//! a crash joins what is under way instead of doing it twice. Nothing here deletes.

mod error;
mod zstack;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::facts::{CloudNic, CloudVm};
use crate::inventory::{IpRangeSpec, NicSpec};
pub use error::{ProviderError, Result};
pub use zstack::{ZStack, ZStackConfig};

/// A cloud that machines are VMs of.
///
/// VMs, NICs and L3 networks go by the cloud's own ids.
#[async_trait]
pub trait CloudProvider: Send + Sync {
    /// Every VM, with its state in the cloud's words.
    async fn vms(&self) -> Result<Vec<CloudVm>>;

    /// Every NIC of a VM; the address is empty when it has none.
    async fn nics(&self) -> Result<Vec<CloudNic>>;

    /// Every IP range, as the inventory would have it.
    async fn ip_ranges(&self) -> Result<Vec<IpRangeSpec>>;

    /// Makes an IP range, unless one that covers it is there.
    async fn ensure_ip_range(&self, range: &IpRangeSpec, job: &Job) -> Result<()>;

    /// Attaches a NIC with this address and MAC, unless the VM has just that. One with another address or MAC is
    /// refused: what is there may be somebody's intention.
    async fn attach_nic(&self, vm: &str, nic: &NicSpec, job: &Job) -> Result<()>;

    /// Powers on a VM, unless it runs.
    async fn start_vm(&self, vm: &str, job: &Job) -> Result<()>;

    /// Reboots a VM. Asked again with the same job, it is not rebooted again.
    async fn reboot_vm(&self, vm: &str, job: &Job) -> Result<()>;
}

/// A change requested from the cloud.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its identity, however often it is asked for.
    pub id: JobId,
    /// How long to wait for its end. The cloud may go on after that.
    pub deadline: Duration,
}

/// What makes asking for a job twice the same job: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId(String);

impl JobId {
    /// The id of what these parts name, such as an operation and a step in it: the same for the same parts.
    pub fn derive(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id of the attempt after this one: a cloud keeps the id of a job that failed.
    fn next_attempt(&self) -> Self {
        Self::derive(&[&self.0, "next attempt"])
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_keeps_its_parts_apart() {
        let id = JobId::derive(&["op-1", "step-2"]);
        assert_eq!(id, JobId::derive(&["op-1", "step-2"]));
        assert_ne!(id, JobId::derive(&["op-1s", "tep-2"]));
        assert_ne!(id, id.next_attempt());
        assert!(id.0.len() == 32 && id.0.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
