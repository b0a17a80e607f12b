//! Raft's configuration: who votes (`raft/v3/raftpb`, `ConfState`; `confchange/confchange.go`).

use serde::{Deserialize, Serialize};

use crate::proto;

/// Voters and learners, as `meta` holds them in JSON. etcd changes one member at a time, so the joint configurations
/// that raft also knows never occur.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConfState {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

impl ConfState {
    pub(crate) fn of_voters(voters: Vec<u64>) -> Self {
        Self { voters, ..Self::default() }
    }

    pub(crate) fn add_voter(&mut self, id: u64) {
        self.remove(id);
        self.voters.push(id);
        self.voters.sort_unstable();
    }

    pub(crate) fn add_learner(&mut self, id: u64) {
        self.remove(id);
        self.learners.push(id);
        self.learners.sort_unstable();
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.voters.retain(|voter| *voter != id);
        self.learners.retain(|learner| *learner != id);
    }
}

impl From<proto::ConfState> for ConfState {
    fn from(conf_state: proto::ConfState) -> Self {
        let proto::ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state;
        Self { voters, learners, voters_outgoing, learners_next, auto_leave: auto_leave.unwrap_or(false) }
    }
}
