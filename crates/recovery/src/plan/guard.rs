//! What must be true right before a step takes something away.

use serde::{Deserialize, Serialize};

use super::StateSource;
use crate::facts::DataDirs;

/// What must be true right before a step takes something away. The planner requires it of the facts, the preflight step
/// checks it before anything is touched, and the executor again right before the step acts.
///
/// A guard names what it is about and holds no measurements, so that a plan made again from later facts is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Guard {
    /// The other members are a quorum without this one: of today's member list, of the list without it, and of the list
    /// with its successor.
    QuorumWithout {
        /// The member that is replaced.
        member: String,
    },
    /// If a quorum serves, it still does while these members are stopped.
    QuorumKept {
        /// The members that are stopped.
        members: Vec<String>,
    },
    /// No member serves a quorum: a restore stops nothing that works.
    QuorumLost,
    /// The member's data lies where the plan says, its service keeps it there, and it can be moved and written again.
    Data {
        /// Name of the etcd member.
        member: String,
        /// Its directories, with symbolic links resolved.
        dirs: DataDirs,
    },
    /// The member's machine has room for its new data, and for what is sent there.
    Room {
        /// Name of the etcd member.
        member: String,
        /// The state that is restored; absent where the leader sends its data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<StateSource>,
    },
    /// Nothing listens on the member's client and peer port: its etcd is stopped and no other runs there.
    PortsFree {
        /// Name of the etcd member.
        member: String,
    },
    /// If one of these API servers is ready, another one on a machine that is not named here is too.
    ApiserverKept {
        /// The machines whose API servers are stopped.
        hosts: Vec<String>,
    },
}

impl Guard {
    /// Whether it can be true before the plan's first step: an etcd that is fenced later still listens.
    pub fn holds_before_all(&self) -> bool {
        !matches!(self, Self::PortsFree { .. })
    }
}
