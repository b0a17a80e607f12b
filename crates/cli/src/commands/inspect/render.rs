//! The output of `inspect`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lifeboat_etcd::{
    FindingKind, InitialCluster, Inspection, Integrity, KubernetesIdentity, RaftPosition, UncommittedChange,
};
use serde::Serialize;

use crate::commands::check::FindingView;
use crate::{output, terminal};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InspectionView {
    source: String,
    kind: &'static str,
    #[serde(flatten)]
    reading: Reading,
    size: u64,
    size_in_use: u64,
    /// `verified`, `none` or `mismatch`.
    integrity: &'static str,
    sha256: Option<String>,
    integrity_error: Option<String>,
    #[serde(skip)]
    remedy: Option<&'static str>,
    revision: i64,
    /// -1 when the store was never compacted.
    compact_revision: i64,
    revisions: u64,
    live_keys: u64,
    written_by: String,
    storage_version: Option<String>,
    cluster_version: Option<String>,
    consistent_index: Option<u64>,
    raft_term: Option<u64>,
    /// For a data dir.
    raft: Option<RaftView>,
    /// Entries at the end of the log that are not applied.
    uncommitted: Option<UncommittedView>,
    /// Notes on the log, and on what lies next to the db.
    notes: Vec<FindingView>,
    members: Vec<MemberView>,
    /// The voters, in the format of `--initial-cluster`.
    initial_cluster: Option<String>,
    members_removed: Vec<String>,
    alarms: Vec<AlarmView>,
    leases: usize,
    leased_keys: u64,
    keys_without_lease: u64,
    auth: AuthView,
    encrypted_keys: BTreeMap<String, u64>,
    keys_by_prefix: BTreeMap<String, u64>,
    keys_of_further_prefixes: u64,
    kubernetes: KubernetesIdentity,
    undecodable: Vec<String>,
}

/// How a data dir is read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reading {
    /// What it is read as, if its own db is not used.
    pub(super) combination: Option<String>,
    /// What shows that the log and the state it is read on top of have the same history.
    pub(super) identity: Option<String>,
    /// What keeps etcd itself from starting.
    pub(super) stops_etcd: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RaftView {
    cluster_id: String,
    member_id: String,
    term: u64,
    commit: u64,
    last_index: u64,
    last_term: u64,
    consistent_index: u64,
    replayed_to: u64,
    uncommitted_entries: u64,
    /// How it is known which entries are committed: `commit-index`, `only-voter` or `majority`; `whole-log` if
    /// requested.
    counted_by: &'static str,
}

/// Entries not known to be committed, and what they would change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UncommittedView {
    first: u64,
    last: u64,
    changes: Vec<UncommittedChangeView>,
    further_changes: u64,
    /// Whether the changes could be computed.
    known: bool,
}

#[derive(Serialize)]
struct UncommittedChangeView {
    revision: i64,
    /// Base64.
    key: String,
    deleted: bool,
}

impl UncommittedView {
    /// Finds them in the notes on a source.
    pub fn of(notes: &[FindingKind]) -> Option<Self> {
        let uncommitted = notes.iter().find_map(|kind| match kind {
            FindingKind::WalUncommitted(uncommitted) => Some(uncommitted),
            _ => None,
        })?;
        let change = |change: &UncommittedChange| UncommittedChangeView {
            revision: change.revision,
            key: STANDARD.encode(&change.key),
            deleted: change.deleted,
        };
        Some(Self {
            first: uncommitted.first,
            last: uncommitted.last,
            changes: uncommitted.changes.iter().map(change).collect(),
            further_changes: uncommitted.further,
            known: uncommitted.is_known,
        })
    }
}

impl From<RaftPosition> for RaftView {
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
            counted_by: position.basis.name(),
        }
    }
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner")]
    is_learner: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlarmView {
    member_id: String,
    alarm: String,
}

#[derive(Serialize)]
struct AuthView {
    enabled: bool,
    revision: u64,
    users: Vec<String>,
    roles: Vec<String>,
}

impl InspectionView {
    pub(super) fn new(inspection: &Inspection, reading: Reading) -> Self {
        let Inspection { origin, state, .. } = inspection;
        let (integrity, sha256) = match &inspection.integrity {
            Ok(Integrity::Sha256(digest)) => ("verified", Some(digest.clone())),
            Ok(Integrity::None) => ("none", None),
            Err(_) => ("mismatch", None),
        };
        let damage = inspection.integrity.as_ref().err();
        let member = |member: &lifeboat_etcd::Member| MemberView {
            id: member.id.to_string(),
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            is_learner: member.is_learner,
        };
        let alarm = |alarm: &lifeboat_etcd::Alarm| AlarmView {
            member_id: alarm.member.to_string(),
            alarm: alarm.kind.to_string(),
        };
        Self {
            source: origin.path.display().to_string(),
            kind: origin.kind,
            reading,
            size: origin.size,
            size_in_use: origin.size_in_use,
            integrity,
            sha256,
            integrity_error: damage.map(ToString::to_string),
            remedy: damage.map(FindingKind::remedy),
            revision: inspection.revision,
            compact_revision: state.compact_revision().unwrap_or(-1),
            revisions: inspection.revisions,
            live_keys: inspection.live_keys,
            written_by: state.written_by().map_or_else(|| "unknown".into(), |version| version.to_string()),
            storage_version: state.storage_version.clone(),
            cluster_version: state.cluster_version.clone(),
            consistent_index: state.consistent_index,
            raft_term: state.term,
            raft: inspection.raft.map(RaftView::from),
            uncommitted: UncommittedView::of(&inspection.notes),
            notes: inspection.notes.iter().map(FindingView::from).collect(),
            members: state.members.iter().map(member).collect(),
            initial_cluster: InitialCluster::of(&state.members, "").map(|cluster| cluster.to_string()),
            members_removed: state.members_removed.iter().map(ToString::to_string).collect(),
            alarms: state.alarms.iter().map(alarm).collect(),
            leases: state.leases.len(),
            leased_keys: inspection.leased_keys,
            keys_without_lease: inspection.keys_without_lease,
            auth: AuthView {
                enabled: state.auth.enabled,
                revision: state.auth.revision,
                users: state.auth.users.clone(),
                roles: state.auth.roles.clone(),
            },
            encrypted_keys: inspection.encrypted_keys.clone(),
            keys_by_prefix: inspection.keys_by_prefix.clone(),
            keys_of_further_prefixes: inspection.keys_of_further_prefixes,
            kubernetes: inspection.kubernetes.clone(),
            undecodable: state.undecodable.iter().map(ToString::to_string).collect(),
        }
    }
}

impl InspectionView {
    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let integrity = match (&self.integrity_error, self.integrity) {
            (Some(error), _) => format!("DAMAGED: {error}"),
            (None, "verified") => "sha256 verified".into(),
            (None, _) => "no digest (copy of a db): bit rot in values cannot be detected".into(),
        };
        let compact =
            if self.compact_revision < 0 { "never".into() } else { self.compact_revision.to_string() };
        let version =
            self.cluster_version.as_deref().or(self.storage_version.as_deref()).unwrap_or("unknown");
        let mut fields = vec![
            ("source", format!("{} ({})", self.source, self.kind)),
            ("size", format!("{}, {} in use", output::bytes(self.size), output::bytes(self.size_in_use))),
            ("integrity", integrity),
        ];
        fields.extend(self.reading.combination.iter().map(|text| ("read as", text.clone())));
        fields.extend(self.reading.identity.iter().map(|text| ("", text.clone())));
        fields.extend(self.remedy.map(|remedy| ("", remedy.to_owned())));
        fields.extend([
            ("etcd", format!("{} (cluster version {version})", self.written_by)),
            ("revision", self.revision.to_string()),
            ("compacted", compact),
            ("keys", format!("{} live, {} revisions", self.live_keys, self.revisions)),
            ("leases", format!("{}, {} keys attached", self.leases, self.leased_keys)),
        ]);
        if self.keys_without_lease > 0 {
            fields.push(("", format!("{} keys refer to a missing lease", self.keys_without_lease)));
        }
        let auth = if self.auth.enabled { "on" } else { "off" };
        let (users, roles) = (self.auth.users.len(), self.auth.roles.len());
        fields.push(("auth", format!("{auth}, {users} users, {roles} roles")));
        fields
            .push(("alarms", or_none(self.alarms.iter().map(|a| format!("{} on {}", a.alarm, a.member_id)))));
        let encrypted = self.encrypted_keys.iter().map(|(name, count)| format!("{count} keys by {name}"));
        fields.push(("encrypted", or_none(encrypted)));
        for (index, member) in self.members.iter().enumerate() {
            let learner = if member.is_learner { " (learner)" } else { "" };
            let text = format!("{} {}{learner} {}", member.id, member.name, member.peer_urls.join(","));
            fields.push((if index == 0 { "members" } else { "" }, text));
        }
        let voters =
            self.initial_cluster.iter().map(|cluster| ("voters", format!("--initial-cluster {cluster}")));
        fields.extend(voters);
        fields.extend(self.raft_fields());
        fields.extend(self.kubernetes_field());
        fields.extend(self.undecodable.iter().map(|text| ("undecodable", text.clone())));
        output::fields(out, &fields)?;
        self.prefix_table(out)
    }

    /// The Kubernetes cluster that a store belongs to, if any.
    fn kubernetes_field(&self) -> Option<(&'static str, String)> {
        let KubernetesIdentity { prefix, uid, node_count, .. } = &self.kubernetes;
        let uid = uid.as_deref().unwrap_or("unknown");
        (!prefix.is_empty())
            .then(|| ("cluster", format!("Kubernetes: kube-system has UID {uid}, {node_count} nodes")))
    }

    fn raft_fields(&self) -> Vec<(&'static str, String)> {
        let Some(raft) = &self.raft else { return Vec::new() };
        let RaftView { member_id, cluster_id, term, consistent_index, replayed_to, .. } = raft;
        let uncommitted = match raft.uncommitted_entries {
            0 => String::new(),
            1 => "; 1 more entry is not known to be committed, and ignored".into(),
            entries => format!("; {entries} more entries are not known to be committed, and ignored"),
        };
        let log = format!("term {term}, db at {consistent_index}, replayed to {replayed_to}{uncommitted}");
        vec![("member", format!("{member_id} of cluster {cluster_id}")), ("raft", log)]
    }

    fn prefix_table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out)?;
        let mut prefixes: Vec<_> = self.keys_by_prefix.iter().collect();
        prefixes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        for (name, count) in prefixes {
            writeln!(out, "{count:>9}  {}", terminal::printable(name.as_bytes()))?;
        }
        if self.keys_of_further_prefixes > 0 {
            writeln!(out, "{:>9}  (other prefixes)", self.keys_of_further_prefixes)?;
        }
        Ok(())
    }
}

fn or_none(items: impl Iterator<Item = String>) -> String {
    let joined = items.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".into() } else { joined }
}
