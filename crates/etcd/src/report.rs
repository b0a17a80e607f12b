//! Reports: what is known of a source, as data with a stable form, which is printed as JSON and read back.
//!
//! Ids are hexadecimal strings, keys are in base64, sizes are in bytes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::finding::FindingKind;
use crate::initial_cluster::InitialCluster;
use crate::inspect::Inspection;
use crate::kubernetes::KubernetesIdentity;
use crate::member::Member;
use crate::origin::{Integrity, UncommittedChange};
use crate::source::{LogPosition, RaftPosition};
use crate::state::Auth;

/// What a source holds: [`Inspection`] as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectionReport {
    /// Path, as given.
    pub source: String,
    /// `snapshot` (with a sha256), `db` (without) or `data-dir`.
    pub kind: String,
    /// What a data dir is read as if its own db is not used: `nightly.db at raft 25 + m1's log to 66`.
    pub combination: Option<String>,
    /// What shows that the log and the state it is read on top of have the same history.
    pub identity: Option<String>,
    /// Damage that is read past, but keeps etcd itself from starting.
    pub stops_etcd: Vec<String>,
    /// Size of the file; of a data dir, that of its db.
    pub size: u64,
    /// Bytes of it in use; 0 if unknown.
    pub size_in_use: u64,
    /// `verified`, `none` (there is no sha256) or `mismatch`.
    pub integrity: String,
    /// The sha256, if verified.
    pub sha256: Option<String>,
    /// What is wrong, if `mismatch`.
    pub integrity_error: Option<String>,
    /// Revision at which a server with this data would start.
    pub revision: i64,
    /// -1 if the store was never compacted.
    pub compact_revision: i64,
    /// Stored revisions.
    pub revisions: u64,
    /// Live keys.
    pub live_keys: u64,
    /// Minor version of the etcd that wrote it, such as `3.6`, or `unknown`.
    pub written_by: String,
    /// From etcd 3.6 on.
    pub storage_version: Option<String>,
    /// Such as `3.6.0`.
    pub cluster_version: Option<String>,
    /// Raft index of the last entry; after the replay of a data dir's log.
    pub consistent_index: Option<u64>,
    /// Raft term of that entry; from etcd 3.5 on.
    pub raft_term: Option<u64>,
    /// Of a data dir.
    pub raft: Option<RaftReport>,
    /// Entries at the end of the log that are not counted.
    pub uncommitted: Option<UncommittedReport>,
    /// Remarks on the log, and on what lies next to the db.
    pub notes: Vec<FindingReport>,
    /// The members.
    pub members: Vec<MemberReport>,
    /// The voters that have started, in the form of `--initial-cluster`.
    pub initial_cluster: Option<String>,
    /// Ids of removed members.
    pub members_removed: Vec<String>,
    /// Raised alarms.
    pub alarms: Vec<AlarmReport>,
    /// Leases granted.
    pub leases: usize,
    /// Live keys attached to a lease.
    pub leased_keys: u64,
    /// Of these, keys whose lease does not exist: they never expire.
    pub keys_without_lease: u64,
    /// Users and roles.
    pub auth: AuthReport,
    /// Live keys that are encrypted at rest, by `provider:version:key name`.
    pub encrypted_keys: BTreeMap<String, u64>,
    /// Live keys by the first parts of their names.
    pub keys_by_prefix: BTreeMap<String, u64>,
    /// Live keys with other prefixes.
    pub keys_of_further_prefixes: u64,
    /// The Kubernetes cluster that it holds.
    pub kubernetes: KubernetesIdentity,
    /// Values of metadata buckets that do not decode.
    pub undecodable: Vec<String>,
}

impl InspectionReport {
    /// The report of an inspection; `combination` as in its field.
    pub fn new(inspection: &Inspection, combination: Option<String>) -> Self {
        let Inspection { origin, state, notes, .. } = inspection;
        let (integrity, sha256) = match &inspection.integrity {
            Ok(Integrity::Sha256(digest)) => ("verified", Some(digest.clone())),
            Ok(Integrity::None) => ("none", None),
            Err(_) => ("mismatch", None),
        };
        let is_identity = |kind: &&FindingKind| matches!(kind, FindingKind::BaseIdentity(_));
        Self {
            source: origin.path.display().to_string(),
            kind: origin.kind.into(),
            combination,
            identity: notes.iter().find(is_identity).map(ToString::to_string),
            stops_etcd: notes.iter().filter(|kind| kind.stops_etcd()).map(ToString::to_string).collect(),
            size: origin.size,
            size_in_use: origin.size_in_use,
            integrity: integrity.into(),
            sha256,
            integrity_error: inspection.integrity.as_ref().err().map(ToString::to_string),
            revision: inspection.revision,
            compact_revision: state.compact_revision().unwrap_or(-1),
            revisions: inspection.revisions,
            live_keys: inspection.live_keys,
            written_by: state.written_by().map_or_else(|| "unknown".into(), |version| version.to_string()),
            storage_version: state.storage_version.clone(),
            cluster_version: state.cluster_version.clone(),
            consistent_index: state.consistent_index,
            raft_term: state.term,
            raft: inspection.raft.map(RaftReport::from),
            uncommitted: UncommittedReport::of(notes),
            notes: notes.iter().map(FindingReport::from).collect(),
            members: state.members.iter().map(MemberReport::from).collect(),
            initial_cluster: InitialCluster::of(&state.members, "").map(|cluster| cluster.to_string()),
            members_removed: state.members_removed.iter().map(ToString::to_string).collect(),
            alarms: state.alarms.iter().map(AlarmReport::from).collect(),
            leases: state.leases.len(),
            leased_keys: inspection.leased_keys,
            keys_without_lease: inspection.keys_without_lease,
            auth: AuthReport::from(&state.auth),
            encrypted_keys: inspection.encrypted_keys.clone(),
            keys_by_prefix: inspection.keys_by_prefix.clone(),
            keys_of_further_prefixes: inspection.keys_of_further_prefixes,
            kubernetes: inspection.kubernetes.clone(),
            undecodable: state.undecodable.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A member's position in raft's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftReport {
    /// Cluster id.
    pub cluster_id: String,
    /// Member id.
    pub member_id: String,
    /// The member's raft term.
    pub term: u64,
    /// The commit index on disk; it lags behind what clients were told.
    pub commit: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// Term of the last entry.
    pub last_term: u64,
    /// Index of the last entry in the db itself.
    pub consistent_index: u64,
    /// Index of the last entry that is counted.
    pub replayed_to: u64,
    /// Later entries, which are not known to be committed.
    pub uncommitted_entries: u64,
    /// What decides which entries count: `commit-index`, `only-voter`, `majority`, or `whole-log` on request.
    pub counted_by: String,
}

impl From<RaftPosition> for RaftReport {
    fn from(position: RaftPosition) -> Self {
        let log = position.log;
        Self {
            cluster_id: log.cluster_id.to_string(),
            member_id: log.member_id.to_string(),
            term: log.term,
            commit: log.commit,
            last_index: log.last_index,
            last_term: log.last_term,
            consistent_index: position.consistent_index,
            replayed_to: position.replayed_to,
            uncommitted_entries: position.uncommitted_entries(),
            counted_by: position.basis.name().into(),
        }
    }
}

/// How far a data dir's log goes, also while an etcd runs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    /// Cluster id.
    pub cluster_id: String,
    /// Member id.
    pub member_id: String,
    /// The member's raft term.
    pub term: u64,
    /// The commit index on disk.
    pub commit: u64,
    /// Index of the last entry.
    pub last_index: u64,
    /// Term of the last entry.
    pub last_term: u64,
    /// Index of the first entry: the log can be replayed on any state that has all earlier ones.
    pub first_index: u64,
    /// Index of the last entry in the db; null if it cannot be read.
    pub db_index: Option<u64>,
    /// Raft term of that entry; null before etcd 3.5.
    pub db_term: Option<u64>,
}

impl From<LogPosition> for LogReport {
    fn from(position: LogPosition) -> Self {
        let LogPosition { log, first_index, applied } = position;
        Self {
            cluster_id: log.cluster_id.to_string(),
            member_id: log.member_id.to_string(),
            term: log.term,
            commit: log.commit,
            last_index: log.last_index,
            last_term: log.last_term,
            first_index,
            db_index: applied.map(|entry| entry.index),
            db_term: applied.map(|entry| entry.term).filter(|term| *term > 0),
        }
    }
}

/// Entries not known to be committed, and what they would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UncommittedReport {
    /// Raft index of the first.
    pub first: u64,
    /// Raft index of the last.
    pub last: u64,
    /// The changes, up to a limit.
    pub changes: Vec<ChangeReport>,
    /// How many more there are.
    pub further_changes: u64,
    /// Whether the changes could be computed.
    pub known: bool,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// Main revision.
    pub revision: i64,
    /// Key in base64.
    pub key: String,
    /// Whether the key is deleted.
    pub deleted: bool,
}

impl From<&UncommittedChange> for ChangeReport {
    fn from(change: &UncommittedChange) -> Self {
        Self { revision: change.revision, key: STANDARD.encode(&change.key), deleted: change.deleted }
    }
}

impl UncommittedReport {
    /// Finds them in the notes on a source.
    pub fn of(notes: &[FindingKind]) -> Option<Self> {
        let uncommitted = notes.iter().find_map(|kind| match kind {
            FindingKind::WalUncommitted(uncommitted) => Some(uncommitted),
            _ => None,
        })?;
        Some(Self {
            first: uncommitted.first,
            last: uncommitted.last,
            changes: uncommitted.changes.iter().map(ChangeReport::from).collect(),
            further_changes: uncommitted.further,
            known: uncommitted.is_known,
        })
    }
}

/// A finding on a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingReport {
    /// Its id, as in `docs/source-findings.md`.
    pub id: String,
    /// `note`, `warning` or `error`.
    pub severity: String,
    /// What is wrong, and where.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl From<&FindingKind> for FindingReport {
    fn from(kind: &FindingKind) -> Self {
        Self {
            id: kind.id().into(),
            severity: kind.severity().to_string(),
            message: kind.to_string(),
            remedy: kind.remedy().into(),
        }
    }
}

/// An etcd member, as in the source's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Member id.
    pub id: String,
    /// Name; empty if it has never started.
    pub name: String,
    /// Peer URLs.
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Client URLs.
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    #[serde(rename = "isLearner")]
    pub is_learner: bool,
}

impl From<&Member> for MemberReport {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.to_string(),
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            is_learner: member.is_learner,
        }
    }
}

/// An alarm of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmReport {
    /// Member id.
    pub member_id: String,
    /// `NOSPACE`, `CORRUPT` or `alarm NUMBER`.
    pub alarm: String,
}

impl From<&Alarm> for AlarmReport {
    fn from(alarm: &Alarm) -> Self {
        Self { member_id: alarm.member.to_string(), alarm: alarm.kind.to_string() }
    }
}

/// Users and roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthReport {
    /// Whether authentication is enabled.
    pub enabled: bool,
    /// Auth revision.
    pub revision: u64,
    /// Names of users.
    pub users: Vec<String>,
    /// Names of roles.
    pub roles: Vec<String>,
}

impl From<&Auth> for AuthReport {
    fn from(auth: &Auth) -> Self {
        Self {
            enabled: auth.enabled,
            revision: auth.revision,
            users: auth.users.clone(),
            roles: auth.roles.clone(),
        }
    }
}
