//! What an etcd member says, and what its data dir holds when it is stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_etcd::KubernetesIdentity;
use serde::{Deserialize, Serialize};

use super::{Fact, Reach, Storage};

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFacts {
    /// `Maintenance.Status`, answered by the member alone.
    pub status: Fact<MemberStatus>,
    /// The members as this member sees them, without asking the others.
    pub member_list: Fact<Vec<MemberEntry>>,
    /// Whether a linearizable read works through it: that it sees a leader with a quorum.
    pub linearizable: Fact<bool>,
    /// The alarms, where a quorum answers.
    pub alarms: Fact<Vec<Alarm>>,
    /// HashKV at a revision all members that answer have.
    pub hash_kv: Fact<HashKv>,
    /// What its data dir holds, read on its machine; unknown while the member runs.
    pub data_dir: Fact<DataDir>,
    /// Where its data lies, and where its service says it is; absent in facts that were recorded before this was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Fact<Storage>>,
    /// Which Kubernetes cluster the keyspace that it serves belongs to; absent where none is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Fact<KubernetesIdentity>>,
    /// The data dirs on its machine: all that are found where the state that it serves is not this cluster's, those that an
    /// etcd has open where it runs and nothing holds the one that is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Fact<Vec<FoundDir>>>,
    /// Whether the other members' peer addresses, by name, can be reached from its machine; asked for only where a member
    /// does not answer or sees no leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Fact<BTreeMap<String, Reach>>>,
}

/// A data dir found on a machine, whether the inventory names it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundDir {
    /// Where it is, symlinks resolved.
    pub path: PathBuf,
    /// Whether it is the one that the inventory names, whatever links lead there.
    pub named: bool,
    /// What it holds; `None` for one that could not be read.
    pub holds: Option<DataDir>,
}

impl MemberFacts {
    /// The Kubernetes cluster of the state that it serves, or that its sound data dir holds.
    pub fn kubernetes(&self) -> Option<&KubernetesIdentity> {
        match (self.identity.as_ref().and_then(Fact::get), self.data_dir.get()) {
            (Some(identity), _) => Some(identity),
            (None, Some(DataDir::Sound(state))) => state.kubernetes.as_ref(),
            _ => None,
        }
    }

    /// Id of the cluster it belongs to, from its own mouth or its sound data dir, in hexadecimal.
    pub fn cluster_id(&self) -> Option<&str> {
        match (self.status.get(), self.data_dir.get()) {
            (Some(status), _) => Some(&status.cluster_id),
            (None, Some(DataDir::Sound(state))) => Some(&state.cluster_id),
            _ => None,
        }
    }
}

/// `StatusResponse`, as far as it decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Id of the cluster it belongs to, in hexadecimal as etcdctl prints it.
    pub cluster_id: String,
    /// Its own id, in hexadecimal.
    pub member_id: String,
    /// Version of etcd.
    pub version: String,
    /// The leader it follows, in hexadecimal; absent without one.
    pub leader: Option<String>,
    /// Raft term.
    pub raft_term: u64,
    /// Raft index it has committed.
    pub raft_index: u64,
    /// Revision of the keyspace.
    pub revision: i64,
    /// Whether it is a learner.
    pub learner: bool,
    /// Bytes of its db file.
    pub db_size: u64,
    /// Bytes of it in use.
    pub db_size_in_use: u64,
    /// The most bytes its db may have, `--quota-backend-bytes`; known since etcd 3.6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// Errors it reports of itself.
    pub errors: Vec<String>,
}

/// A member in a member list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberEntry {
    /// Its id, in hexadecimal.
    pub id: String,
    /// Its name; empty before it first started.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// Whether it is a learner.
    pub learner: bool,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The member that raised it, in hexadecimal.
    pub member_id: String,
    /// `NOSPACE` or `CORRUPT`.
    pub kind: String,
}

/// `HashKVResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashKv {
    /// The revision hashed up to.
    pub revision: i64,
    /// The hash.
    pub hash: u32,
    /// Compact revision it was computed at; -1 for never.
    pub compact_revision: i64,
}

/// What a stopped member's data dir holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataDir {
    /// It is not there, or has no `member`.
    Absent,
    /// A process holds it: what its log says, if that can be read.
    InUse(Option<LogState>),
    /// It can be read to its end.
    Sound(DataDirState),
    /// It is there and broken.
    Damaged(Vec<String>),
}

/// Who the member of a data dir is, and how far its log goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogState {
    /// Cluster id, in hexadecimal.
    pub cluster_id: String,
    /// Member id, in hexadecimal.
    pub member_id: String,
    /// Index of the last entry in the log.
    pub last_index: u64,
}

/// How far a data dir has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataDirState {
    /// Cluster id in its WAL, in hexadecimal.
    pub cluster_id: String,
    /// Member id in its WAL, in hexadecimal.
    pub member_id: String,
    /// Raft term of the last entry in its log.
    pub last_term: u64,
    /// Index of the last entry in its log. Raft elects whose last term and index are highest.
    pub last_index: u64,
    /// Revision of the keyspace after every entry known to be committed; entries behind them may add to it.
    pub revision: i64,
    /// Live keys.
    pub keys: u64,
    /// Index of the last entry in the db itself. A log that ends before it is not the db's: its etcd does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_index: Option<u64>,
    /// Which Kubernetes cluster it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesIdentity>,
}

impl DataDirState {
    /// Index of the last entry in the db, where the log ends before that.
    pub fn log_ends_before(&self) -> Option<u64> {
        self.db_index.filter(|db| *db > self.last_index)
    }
}
