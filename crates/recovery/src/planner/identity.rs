//! Whose state a snapshot is. Revisions say nothing between different clusters, so identity is compared first: the UID of
//! kube-system where it is known of both, else nodes and members.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_etcd::KubernetesIdentity;

use crate::facts::{Facts, SnapshotIdentity};
use crate::inventory::Inventory;
use crate::plan::StateSource;

use super::{Draft, PlanError};

/// So many names are shown.
const NAMES: usize = 5;

/// What this cluster is known by.
pub(crate) struct OwnIdentity<'a> {
    inventory: &'a Inventory,
    /// What its members hold, as far as that is this cluster's state.
    kubernetes: Option<&'a KubernetesIdentity>,
}

impl<'a> OwnIdentity<'a> {
    /// Of what the members serve or hold. A state without the inventory's nodes speaks for nobody.
    pub fn of(facts: &'a Facts) -> Self {
        let inventory = &facts.inventory;
        let fits = |identity: &&KubernetesIdentity| {
            identity.uid.is_some() && identity.node_count > 0 && inventory.kubernetes.owns(identity)
        };
        let kubernetes = facts.members.values().filter_map(|member| member.kubernetes()).find(fits);
        Self { inventory, kubernetes }
    }

    /// Why a snapshot is another cluster's; `None` for one that may be this cluster's.
    pub fn contradiction(&self, snapshot: &SnapshotIdentity) -> Option<String> {
        let theirs = &snapshot.kubernetes;
        if let (Some(ours), Some(uid)) = (&self.inventory.kubernetes.uid, &theirs.uid) {
            return (ours != uid).then(|| remark(snapshot));
        }
        if let Some(ours) = self.kubernetes.filter(|ours| ours.uid.is_some() && theirs.uid.is_some()) {
            return ours.contradicts(theirs).then(|| remark(snapshot));
        }
        let has_nodes = !self.inventory.kubernetes.nodes.is_empty() && theirs.node_count > 0;
        let is_other = match has_nodes {
            true => !self.inventory.kubernetes.owns(theirs),
            false => !snapshot.members.is_empty() && !self.has_a_member_of(snapshot),
        };
        is_other.then(|| remark(snapshot))
    }

    /// How many snapshots of this cluster to choose from. Where nothing tells it from one whose nodes have the same names, two
    /// are compared.
    pub fn snapshots_needed(&self) -> usize {
        // The UID of kube-system, which no other cluster shares.
        let ours = self.kubernetes.and_then(|ours| ours.uid.as_ref());
        if self.inventory.kubernetes.uid.as_ref().or(ours).is_some() { 1 } else { 2 }
    }

    fn has_a_member_of(&self, snapshot: &SnapshotIdentity) -> bool {
        let mut members = self.inventory.etcd.members.iter();
        members.any(|(name, spec)| {
            snapshot.members.contains(name) || snapshot.peer_urls.contains(&spec.peer_url)
        })
    }
}

fn remark(snapshot: &SnapshotIdentity) -> String {
    let SnapshotIdentity { kubernetes, members, .. } = snapshot;
    let uid = kubernetes.uid.as_ref().map(|uid| format!("kube-system {uid}"));
    let nodes: Vec<&str> = kubernetes.nodes.iter().map(String::as_str).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let known: Vec<String> =
        [uid, few("nodes", &nodes), few("members", &members)].into_iter().flatten().collect();
    format!("another cluster's ({})", known.join("; "))
}

fn few(what: &str, names: &[&str]) -> Option<String> {
    let shown = names.get(..NAMES).unwrap_or(names).join(", ");
    match names.len().saturating_sub(NAMES) {
        _ if names.is_empty() => None,
        0 => Some(format!("{what} {shown}")),
        more => Some(format!("{what} {shown} and {more} more")),
    }
}

/// Refuses to choose among snapshots of several clusters whose nodes and members have the same names.
pub(super) fn ensure_one_cluster(draft: &Draft<'_>) -> Result<(), PlanError> {
    let usable = draft.candidates.iter().filter(|candidate| candidate.is_usable() && !candidate.foreign);
    let named: Vec<&StateSource> = usable.map(|candidate| &candidate.source).collect();
    if named.iter().any(|source| source.member().is_some()) {
        // A member that can be read goes before snapshots, which were compared with it.
        return Ok(());
    }
    let mut clusters: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for snapshot in draft.facts.known_snapshots() {
        let source = StateSource::Snapshot(snapshot.path.clone());
        let uid = snapshot.identity.as_ref().and_then(|identity| identity.kubernetes.uid.as_deref());
        if let (Some(uid), true) = (uid, named.contains(&&source)) {
            clusters.entry(uid).or_default().insert(source.to_string());
        }
    }
    if clusters.len() < 2 {
        return Ok(());
    }
    let list = |(uid, files): (&str, BTreeSet<String>)| {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        format!("kube-system {uid} in {}", files.join(", "))
    };
    Err(PlanError::MixedSnapshots(clusters.into_iter().map(list).collect::<Vec<_>>().join("; ")))
}
