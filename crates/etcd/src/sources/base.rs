//! The base that a member's log is replayed on: its own db, or another db or snapshot of the same cluster that it
//! continues.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::apply;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::member::{ClusterId, MemberId};
use crate::origin::{Identity, Integrity, Origin};
use crate::progress::{NoProgress, Progress};
use crate::schema::{Bucket, auth, cluster, meta};
use crate::source::{Source, VisitAll, VisitPair, VisitRevision};
use crate::state::State;
use crate::version::EtcdVersion;
use crate::wal::{Entries, Log, WalDir};

/// Members of which all subsets are tried for the one that founded the cluster.
const MAX_FOUNDERS: usize = 12;

impl Identity {
    /// Shows that a base is of a log's history as far as both tell.
    ///
    /// # Errors
    /// What shows that it is not, as damage.
    pub(super) fn of(base: &dyn Source, state: &State, log: &Log, wal: &WalDir) -> Result<Self> {
        let shared = apply::overlap(base, state, &before(wal, state.consistent_index.unwrap_or(0))?)?;
        let writes = shared.writes;
        // Where a state names no members, as that of an etcd 3.4 may, nothing but what was written tells whose it is.
        if state.members.is_empty() && writes == 0 {
            let (member, cluster) = (log.status.member_id, log.status.cluster_id);
            return Err(FindingKind::BaseForeign { member, cluster }.into());
        }
        let known = base.raft().map(|raft| raft.log.cluster_id);
        Ok(Self {
            cluster_id: known.is_some() || is_founded_by(log.status.cluster_id, state),
            term: Self::of_ids(state, known, log)?,
            writes,
            conditional: shared.conditional,
            from_start: match wal.has_start() {
                true => Some(Log::scan(wal, 0)?.is_from_start),
                false => None,
            },
        })
    }

    /// Compares ids and terms alone; tells whether the term of the last entry is known to be the same.
    ///
    /// # Errors
    /// What differs, as damage.
    pub(super) fn of_ids(state: &State, cluster: Option<ClusterId>, log: &Log) -> Result<bool> {
        let index = state.consistent_index.unwrap_or(0);
        if !knows_member(state, log) || cluster.is_some_and(|cluster| cluster != log.status.cluster_id) {
            let (member, cluster) = (log.status.member_id, log.status.cluster_id);
            return Err(FindingKind::BaseForeign { member, cluster }.into());
        }
        match (state.term.filter(|term| *term > 0), log.term_at) {
            (Some(base), Some(log)) if base != log => Err(FindingKind::BaseTerm { index, base, log }.into()),
            (base, log) => Ok(base.is_some() && log.is_some()),
        }
    }
}

/// Whether a state is of a cluster that a log's member is in, or came to later.
fn knows_member(state: &State, log: &Log) -> bool {
    let State { consistent_index, members, members_removed, .. } = state;
    let index = consistent_index.unwrap_or(0);
    let has = |id: MemberId| members.iter().any(|member| member.id == id) || members_removed.contains(&id);
    // A member that etcdctl 3.4 restored has in its db those that have started since: none, or not yet the log's own.
    let is_named =
        |(at, id): &(u64, MemberId)| if *at > index { *id == log.status.member_id } else { has(*id) };
    index == 0 || members.is_empty() || has(log.status.member_id) || log.named.iter().any(is_named)
}

/// The entries up to an index that the segment has which holds it, and the one before it, from the last gap on.
fn before(wal: &WalDir, index: u64) -> Result<Entries<'_>> {
    let mut after = wal.index_before(wal.index_before(index));
    loop {
        match Entries::find(wal, after, index) {
            Err(Error::Damaged(FindingKind::WalEntriesMissing { last, .. })) if last > after => after = last,
            entries => return entries,
        }
    }
}

/// Whether members that a state knows make up a cluster's id.
fn is_founded_by(cluster: ClusterId, state: &State) -> bool {
    let known = state.members.iter().map(|member| member.id).chain(state.members_removed.iter().copied());
    let known: Vec<_> = known.collect::<BTreeSet<_>>().into_iter().collect();
    if known.len() > MAX_FOUNDERS {
        return ClusterId::new(known) == cluster;
    }
    (1..1u32 << known.len()).any(|subset| {
        let chosen = known.iter().enumerate().filter(|(place, _)| subset >> place & 1 == 1);
        ClusterId::new(chosen.map(|(_, id)| *id)) == cluster
    })
}

/// The store of a cluster that begins.
#[derive(Debug)]
pub(super) struct Nothing {
    path: PathBuf,
    version: Option<String>,
}

impl Nothing {
    /// Under a log that begins with it.
    ///
    /// # Errors
    /// Damage in the log.
    pub(super) fn under(path: &Path, wal: &WalDir, last_index: u64) -> Result<Self> {
        let (entries, _) = Entries::find_to_gap(wal, 0, last_index)?;
        Ok(Self { path: path.into(), version: apply::cluster_version(&entries)? })
    }

    fn is_before_3_5(&self) -> bool {
        let version = self.version.as_deref().and_then(EtcdVersion::of);
        version.is_none_or(|version| version < EtcdVersion::V3_5)
    }
}

impl Source for Nothing {
    fn origin(&self) -> Origin {
        Origin { path: self.path.clone(), kind: "nothing", size: 0, size_in_use: 0, base: None }
    }

    fn revisions(&self, _visit: VisitRevision<'_>) -> Result<()> {
        Ok(())
    }

    /// What a new etcd writes before its first entry, and what tells the versions apart.
    fn metadata_bucket(&self, bucket: Bucket, visit: VisitPair<'_>) -> Result<()> {
        match bucket {
            Bucket::Auth => visit(auth::REVISION.as_bytes(), &1u64.to_be_bytes()),
            Bucket::Cluster => match &self.version {
                Some(version) => visit(cluster::CLUSTER_VERSION.as_bytes(), version.as_bytes()),
                None => Ok(()),
            },
            Bucket::Meta if self.is_before_3_5() => {
                visit(meta::CONSISTENT_INDEX.as_bytes(), &0u64.to_be_bytes())
            }
            Bucket::Meta => visit(meta::CONF_STATE.as_bytes(), b"{}"),
            _ => Ok(()),
        }
    }

    fn verify_integrity(&self, _progress: &dyn Progress) -> Result<Integrity> {
        Ok(Integrity::None)
    }

    fn ensure_plausible(&self) -> Result<()> {
        Ok(())
    }

    fn check_container(&self, _found: &mut dyn FnMut(Finding), visit: VisitAll<'_>) -> Result<()> {
        for bucket in Bucket::ALL {
            self.metadata_bucket(bucket, &mut |key, value| {
                visit(bucket, key, value);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Reads a whole source, so that it is known to be readable.
pub(super) fn ensure_whole(source: &dyn Source) -> Result<()> {
    source.verify_integrity(&NoProgress)?;
    source.revisions(&mut |_, _| Ok(()))
}
