//! Findings: what is wrong, with evidence, impact and remedies.

mod catalog;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::inventory::Service;
pub use catalog::FindingId;
pub(crate) use catalog::{Impact, Scope};

/// The findings of a cluster, causes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// When the facts were gathered.
    pub observed_at: Timestamp,
    /// The cluster's name.
    pub cluster: String,
    /// Root causes, with their consequences below.
    pub causes: Vec<Finding>,
    /// Facts that could not be determined and that no finding explains.
    pub unknown: Vec<Unknown>,
    /// What was looked at.
    #[serde(default)]
    pub examined: Vec<String>,
    /// What was not looked at, and may be broken.
    #[serde(default)]
    pub not_examined: Vec<String>,
}

impl Diagnosis {
    /// Whether nothing is wrong and nothing is unknown: what could not be seen is never well.
    pub fn is_healthy(&self) -> bool {
        self.causes.is_empty() && self.unknown.is_empty()
    }

    /// Every finding, causes before their consequences.
    pub fn all(&self) -> Vec<&Finding> {
        fn walk<'a>(finding: &'a Finding, into: &mut Vec<&'a Finding>) {
            into.push(finding);
            finding.consequences.iter().for_each(|consequence| walk(consequence, into));
        }
        let mut into = Vec::new();
        self.causes.iter().for_each(|cause| walk(cause, &mut into));
        into
    }
}

/// A problem of the cluster, with its evidence, impact and remedies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing, for programs and for `lifeboat explain`.
    pub id: FindingId,
    /// The affected machines, members or nodes of the inventory, sorted.
    pub subjects: Vec<String>,
    /// The worst of its own severity and that of its consequences.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// Impact: functions that fail until it is fixed, such as `all etcd writes`.
    pub blocks: Vec<String>,
    /// What would help.
    pub remedies: Vec<Remedy>,
    /// What it explains.
    pub consequences: Vec<Finding>,
}

/// How much the cluster is affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Nothing fails yet, but will.
    Warning,
    /// Something failed, and redundancy covers it.
    Error,
    /// The cluster cannot do its work.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// An observation that supports a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What was seen.
    pub seen: String,
    /// Source of the fact.
    pub source: String,
}

/// A fact that could not be determined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    /// Name of the fact.
    pub what: String,
    /// Why it could not be determined.
    pub reason: String,
}

/// A fix for a finding. The planner turns remedies into steps; manual ones are only shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Remedy {
    /// Reattach the NICs of these machines as in the inventory.
    AttachNics {
        /// Inventory names of the machines.
        hosts: Vec<String>,
    },
    /// Power on the VM of this machine.
    StartVm {
        /// Inventory name of the machine.
        host: String,
    },
    /// Start a service that is stopped.
    StartService {
        /// Inventory name of the machine.
        host: String,
        /// Unit or static pod.
        service: Service,
    },
    /// Restart a service that runs but does not work.
    RestartService {
        /// Inventory name of the machine.
        host: String,
        /// Unit or static pod.
        service: Service,
    },
    /// Enable a service at boot.
    EnableService {
        /// Inventory name of the machine.
        host: String,
        /// Unit or static pod.
        service: Service,
    },
    /// Replace an etcd member, while the others have a quorum.
    ReplaceMember {
        /// Name of the etcd member.
        member: String,
    },
    /// Rebuild the etcd cluster from the most recent usable state.
    RestoreCluster,
    /// Compact and defragment etcd, then clear the NOSPACE alarm.
    ClearNospace {
        /// The members that raised it.
        members: Vec<String>,
    },
    /// Disarm the CORRUPT alarm of an id that is no longer in the cluster, or of none.
    DisarmCorrupt {
        /// The id, in hexadecimal.
        id: String,
    },
    /// Bring a node back: restart its kubelet.
    RecoverNode {
        /// The node's machine.
        host: String,
    },
    /// Rebuild etcd from the state that a person names with `--source`, in one sentence: nothing shows which one is right.
    NameState(String),
    /// A manual fix, in one sentence.
    Manual(String),
}

impl Remedy {
    /// The text of a manual fix.
    pub fn by_hand(&self) -> Option<&str> {
        match self {
            Self::NameState(text) | Self::Manual(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttachNics { hosts } => write!(f, "reattach the NICs of {}", hosts.join(", ")),
            Self::StartVm { host } => write!(f, "power on the VM of {host}"),
            Self::StartService { host, service } => write!(f, "start {} on {host}", service.label()),
            Self::RestartService { host, service } => write!(f, "restart {} on {host}", service.label()),
            Self::EnableService { host, service } => write!(f, "enable {} on {host}", service.label()),
            Self::ReplaceMember { member } => write!(f, "replace etcd member {member} with a new one"),
            Self::RestoreCluster => f.write_str("rebuild the etcd cluster from the most recent usable state"),
            Self::ClearNospace { .. } => {
                f.write_str("compact and defragment etcd, then clear the NOSPACE alarm")
            }
            Self::DisarmCorrupt { id } => {
                write!(f, "compare the members, and disarm the CORRUPT alarm of {id}")
            }
            Self::RecoverNode { host } => write!(f, "restart the kubelet on {host}"),
            Self::NameState(text) | Self::Manual(text) => write!(f, "by hand: {text}"),
        }
    }
}

/// `m1, m2 and m3`.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
