//! Facts: what was observed, from which source and when. What could not be determined is unknown with a reason, never
//! a default.

mod cloud;
mod etcd;
mod file;
mod host;
mod kubernetes;
mod snapshots;
mod storage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::inventory::Inventory;
pub use cloud::*;
pub use etcd::*;
pub use file::FactsFileError;
pub(crate) use host::starts_at_boot;
pub use host::*;
pub use kubernetes::*;
pub use snapshots::*;
pub use storage::*;

/// Version of the file that `--save-facts` writes.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of one observation of a cluster. It carries the inventory, so that rules need nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// Version of the format: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the observation began.
    pub observed_at: Timestamp,
    /// Platform of the Lifeboat binary that observed: [`own_platform`]; empty in older files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// The inventory of the cluster.
    pub inventory: Inventory,
    /// What the cloud says; absent without a cloud in the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudFacts>,
    /// The machines, by name.
    pub hosts: BTreeMap<String, HostFacts>,
    /// The etcd members, by name.
    pub members: BTreeMap<String, MemberFacts>,
    /// The control plane machines, by name.
    #[serde(rename = "controlPlane", alias = "masters")]
    pub control_plane: BTreeMap<String, ControlPlaneFacts>,
    /// Cluster-wide facts from the first API server that answers.
    pub kubernetes: KubernetesFacts,
    /// The inventory's checks, by name.
    pub checks: BTreeMap<String, Fact<CheckAnswer>>,
    /// The unfinished operation on this cluster, from this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_operation: Option<PendingOperation>,
    /// The snapshots; absent where they were not examined, since nothing was to be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Snapshots>,
}

/// An unfinished operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingOperation {
    /// Operation id.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// When its journal was last written.
    pub last_entry: Timestamp,
    /// What that entry says.
    pub last: String,
    /// Path of its journal.
    pub journal: PathBuf,
}

/// One observation: its answer, source and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact<T> {
    /// The answer, or why there is none.
    #[serde(flatten)]
    pub answer: Answer<T>,
    /// Source and request, such as `ssh m1: systemctl show`.
    pub source: String,
    /// When the answer came.
    pub at: Timestamp,
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer<T> {
    /// What was seen.
    Value(T),
    /// Nothing was seen, and why.
    Unknown(String),
}

impl<T> Fact<T> {
    /// An answer that came just now.
    pub fn value(source: impl Into<String>, value: T) -> Self {
        Self { answer: Answer::Value(value), source: source.into(), at: Timestamp::now() }
    }

    /// No answer, for this reason.
    pub fn unknown(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { answer: Answer::Unknown(reason.into()), source: source.into(), at: Timestamp::now() }
    }

    /// What was seen, if anything.
    pub fn get(&self) -> Option<&T> {
        match &self.answer {
            Answer::Value(value) => Some(value),
            Answer::Unknown(_) => None,
        }
    }

    /// Why nothing was seen, if so.
    pub fn why_unknown(&self) -> Option<&str> {
        match &self.answer {
            Answer::Value(_) => None,
            Answer::Unknown(reason) => Some(reason),
        }
    }
}

/// How a check of the inventory ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckAnswer {
    /// Whether it answered as it must.
    pub ok: bool,
    /// The HTTP status, or why none came.
    pub detail: String,
}
