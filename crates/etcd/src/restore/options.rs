//! What a restore is asked for.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::member::InitialCluster;
use crate::version::EtcdVersion;

/// One member to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the initial cluster.
    pub name: String,
    /// Where its data dir will be; must not exist or be empty.
    pub data_dir: PathBuf,
    /// Where its WAL dir will be when not inside the data dir; must not exist.
    pub wal_dir: Option<PathBuf>,
}

/// What a restore is asked for.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The members of the new cluster and its token.
    pub cluster: InitialCluster,
    /// The members to write: one or more of them.
    pub targets: Vec<Target>,
    /// How far above the newest revision ever served the new cluster starts, with everything before
    /// marked compacted, so that clients of the old cluster notice and read anew. 0 does neither.
    pub bump_revision: u64,
    /// Write superseded revisions too, though the mark hides them from clients.
    pub keep_history: bool,
    /// Restore the keyspace as of this revision instead of the newest.
    pub revision: Option<i64>,
    /// The version of etcd that will run it; default: the one that wrote the source.
    pub version: Option<EtcdVersion>,
    /// Do not verify the digest behind a snapshot.
    pub skip_hash_check: bool,
}

impl RestoreOptions {
    /// The bump that `auto` stands for: Kubernetes clusters stay below a few thousand changes a second,
    /// so this is days of changes that the source may lack.
    pub const AUTO_BUMP: u64 = 1_000_000_000;

    pub(super) fn verify(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Err(Error::Invalid("no member to restore".into()));
        }
        for (index, target) in self.targets.iter().enumerate() {
            if !self.cluster.initial_members().iter().any(|member| member.name == target.name) {
                return Err(Error::Invalid(format!("initial cluster: no member is named {:?}", target.name)));
            }
            if self.targets.iter().skip(index + 1).any(|other| other.data_dir == target.data_dir) {
                return Err(Error::Invalid(format!("two members have the data dir {:?}", target.data_dir)));
            }
        }
        Ok(())
    }
}
