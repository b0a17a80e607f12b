//! What an etcd member says, and what its data dir holds when it is stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_etcd::wal::LogStatus;
use lifeboat_etcd::{EntryId, KubernetesIdentity};
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
    /// How far the log of a member goes that serves and sees no quorum: further than what it knows to be committed. Absent
    /// for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Fact<LogState>>,
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
    /// The Kubernetes cluster of the state that it serves, or that can be read from its data dir.
    pub fn kubernetes(&self) -> Option<&KubernetesIdentity> {
        match (self.identity.as_ref().and_then(Fact::get), self.data_dir.get()) {
            (Some(identity), _) => Some(identity),
            (None, Some(DataDir::Sound(state))) => state.kubernetes.as_ref(),
            (None, Some(DataDir::Damaged(damage))) => damage.readable.as_ref()?.state.kubernetes.as_ref(),
            _ => None,
        }
    }

    /// Id of the cluster it belongs to, in hexadecimal: as it says itself, or as its data dir does.
    pub fn cluster_id(&self) -> Option<&str> {
        self.ids().map(|(cluster, _)| cluster)
    }

    /// Its own id, in hexadecimal: as it says itself, or as its data dir does.
    pub fn member_id(&self) -> Option<&str> {
        self.ids().map(|(_, member)| member)
    }

    fn ids(&self) -> Option<(&str, &str)> {
        match (self.status.get(), self.data_dir.get()) {
            (Some(status), _) => Some((&status.cluster_id, &status.member_id)),
            (None, Some(DataDir::Sound(state))) => Some((&state.cluster_id, &state.member_id)),
            (None, Some(DataDir::InUse(Some(log)))) => Some((&log.cluster_id, &log.member_id)),
            (None, Some(DataDir::Damaged(damage))) => damage.ids(),
            _ => None,
        }
    }

    /// The state that can be read from the data dir of a stopped member, sound or not.
    pub fn readable(&self) -> Option<&DataDirState> {
        match (self.status.get(), self.data_dir.get()?) {
            (None, DataDir::Sound(state)) => Some(state),
            (None, DataDir::Damaged(damage)) => Some(&damage.readable.as_ref()?.state),
            _ => None,
        }
    }

    /// The damage of a stopped member whose data dir is damaged.
    pub fn damage(&self) -> Option<&Damage> {
        match (self.status.get(), self.data_dir.get()) {
            (None, Some(DataDir::Damaged(damage))) => Some(damage),
            _ => None,
        }
    }

    /// Whether a linearizable read through it succeeds: it sees a leader with a quorum.
    pub fn sees_quorum(&self) -> bool {
        self.linearizable.get() == Some(&true)
    }

    /// The last entry of raft's log that it is known to hold.
    pub fn last_entry(&self) -> Option<EntryId> {
        match (self.status.get(), self.data_dir.get()) {
            (Some(status), _) => match &self.log {
                // Failed elections raise its term: only its log tells that of its last entry.
                Some(log) => log.get()?.last(),
                None => Some(EntryId { term: status.raft_term, index: status.raft_index }),
            },
            (None, Some(DataDir::Sound(state))) => {
                Some(match state.log_ends_before() {
                    // Before etcd 3.5 the db does not say the term.
                    Some(index) => EntryId { term: state.db_term.unwrap_or(state.last_term), index },
                    None => EntryId { term: state.last_term, index: state.last_index },
                })
            }
            (None, Some(DataDir::Damaged(damage))) => damage.log.as_ref()?.last(),
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
    /// Current raft term.
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

/// The member of a CORRUPT alarm where etcd found that members differ and could not tell which one is wrong
/// (`server/etcdserver/corrupt.go`, `CompactHashCheck`, since 3.5.6).
pub const NO_MEMBER: &str = "0";

/// Whether a CORRUPT alarm is raised for the member of this id: etcd found that its data differs from the others'.
pub fn has_corrupt_alarm<'a>(alarms: impl IntoIterator<Item = &'a Alarm>, member_id: &str) -> bool {
    alarms.into_iter().any(|alarm| alarm.kind == "CORRUPT" && alarm.member_id == member_id)
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

/// An alarm that a member raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The member that raised it, in hexadecimal.
    pub member_id: String,
    /// `NOSPACE` or `CORRUPT`.
    pub kind: String,
}

/// Answer to `Maintenance.HashKV`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashKv {
    /// The revision hashed up to.
    pub revision: i64,
    /// crc32c over the history up to the revision.
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
    Damaged(Damage),
}

/// What is wrong with a data dir, and what can be read of it all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordedDamage", into = "RecordedDamage")]
pub struct Damage {
    /// What is wrong.
    pub why: Vec<String>,
    /// What Lifeboat reads there without the db, or behind a bad record of the log, and etcd does not start on.
    pub readable: Option<Readable>,
    /// How far its log goes, where that can be read.
    pub log: Option<LogState>,
}

/// The state that Lifeboat reads from a data dir that etcd does not start on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readable {
    /// How far it has come.
    pub state: DataDirState,
    /// What it is read as, where that is not db and log: `etcd's log to 66, from its first entry on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combination: Option<String>,
}

impl Damage {
    fn ids(&self) -> Option<(&str, &str)> {
        match (&self.log, &self.readable) {
            (Some(log), _) => Some((&log.cluster_id, &log.member_id)),
            (None, Some(Readable { state, .. })) => Some((&state.cluster_id, &state.member_id)),
            (None, None) => None,
        }
    }
}

impl From<Vec<String>> for Damage {
    fn from(why: Vec<String>) -> Self {
        Self { why, ..Self::default() }
    }
}

/// [`Damage`] in facts: only reasons where nothing more is known, as it was recorded before logs were looked at.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RecordedDamage {
    Why(Vec<String>),
    #[serde(rename_all = "camelCase")]
    More {
        why: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        readable: Option<Box<Readable>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<Box<LogState>>,
    },
}

impl From<RecordedDamage> for Damage {
    fn from(recorded: RecordedDamage) -> Self {
        match recorded {
            RecordedDamage::Why(why) => why.into(),
            RecordedDamage::More { why, readable, log } => {
                Self { why, readable: readable.map(|at| *at), log: log.map(|at| *at) }
            }
        }
    }
}

impl From<Damage> for RecordedDamage {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage { why, readable: None, log: None } => Self::Why(why),
            Damage { why, readable, log } => {
                Self::More { why, readable: readable.map(Box::new), log: log.map(Box::new) }
            }
        }
    }
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
    /// Raft term of that entry; absent in facts that were recorded before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_term: Option<u64>,
    /// Index of the first entry in the log: it goes on from a state that has all entries before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_index: Option<u64>,
    /// Index of the last entry in the db, where that can be read. A log that was cut ends before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_index: Option<u64>,
    /// Raft term of that entry; absent before etcd 3.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_term: Option<u64>,
}

impl From<LogStatus> for LogState {
    fn from(log: LogStatus) -> Self {
        Self {
            cluster_id: log.cluster_id.to_string(),
            member_id: log.member_id.to_string(),
            last_index: log.last_index,
            last_term: Some(log.last_term),
            first_index: None,
            db_index: None,
            db_term: None,
        }
    }
}

impl LogState {
    /// The last entry that the member holds, in its log or its db; where the term of that, or of one before it, is known.
    pub fn last(&self) -> Option<EntryId> {
        match self.log_ends_before() {
            // Before etcd 3.5 the db does not say it: no lower one, then.
            Some(index) => Some(EntryId { term: self.db_term.or(self.last_term)?, index }),
            None => Some(EntryId { term: self.last_term?, index: self.last_index }),
        }
    }

    /// Index of the last entry in the db, where the log ends before that: it was cut. An etcd that starts on the two skips
    /// every new entry up to there, and what it wrote to its log meanwhile is not in its db.
    pub fn log_ends_before(&self) -> Option<u64> {
        self.db_index.filter(|db| *db > self.last_index)
    }
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
    /// Number of live keys.
    pub keys: u64,
    /// Index of the last entry in the db itself. A log that ends before it is not the db's: its etcd does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_index: Option<u64>,
    /// Raft term of that entry, where the log ends before it; absent before etcd 3.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_term: Option<u64>,
    /// Which Kubernetes cluster it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesIdentity>,
    /// The end of its log that the data dir does not show to be committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncommitted: Option<Uncommitted>,
    /// The alarms that are raised in it, of any member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// Whether it holds keys of the v2 API, which no restore carries over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub v2_keys: bool,
}

/// Entries at the end of a log that are not known to be committed, and what they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uncommitted {
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
    /// The first of the changes, in order.
    pub changes: Vec<KeyChange>,
    /// Changes beyond those listed.
    pub further_changes: u64,
    /// Whether the changes could be computed.
    pub known: bool,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyChange {
    /// The key as text; what is not UTF-8 in it is replaced.
    pub key: String,
    /// Whether it is deleted.
    pub deleted: bool,
}

impl DataDirState {
    /// Index of the last entry that is known to be committed.
    pub fn committed(&self) -> u64 {
        let log = self.uncommitted.as_ref().map_or(self.last_index, |end| end.first.saturating_sub(1));
        self.db_index.map_or(log, |db| db.max(log))
    }

    /// Index of the last entry in the db, where the log ends before that.
    pub fn log_ends_before(&self) -> Option<u64> {
        self.db_index.filter(|db| *db > self.last_index)
    }
}
