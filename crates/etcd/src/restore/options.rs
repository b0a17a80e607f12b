//! Options of a restore.

use std::path::{self, PathBuf};

use crate::error::{Error, Result};
use crate::initial_cluster::InitialCluster;
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

/// Options of a restore, like those of `etcdutl snapshot restore`.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The members of the new cluster and its token.
    pub cluster: InitialCluster,
    /// The members to write: one or more of them.
    pub targets: Vec<Target>,
    /// How far above the newest revision ever served the new cluster starts, with everything before
    /// marked compacted, so that clients of the old cluster notice and read again. 0 does neither.
    pub bump_revision: u64,
    /// Write superseded revisions too, though the mark hides them from clients.
    pub keep_history: bool,
    /// Restore the keyspace as of this revision instead of the newest.
    pub revision: Option<i64>,
    /// The version of etcd that will run it; default: the one that wrote the source.
    pub version: Option<EtcdVersion>,
    /// Do not verify the digest at the end of a snapshot.
    pub skip_hash_check: bool,
    /// Make a cluster without keys of a source that has none.
    pub allow_empty: bool,
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
                return Err(Error::Invalid(format!("initial cluster: no member named {:?}", target.name)));
            }
            target.verify_places()?;
            self.targets.iter().skip(index + 1).try_for_each(|other| target.verify_apart(other))?;
        }
        Ok(())
    }
}

impl Target {
    /// Refuses a WAL dir that would have to be there before the data dir that it is renamed after.
    fn verify_places(&self) -> Result<()> {
        let Some(wal_dir) = &self.wal_dir else { return Ok(()) };
        let invalid = |why| Err(Error::Invalid(format!("WAL dir {}: {why}", wal_dir.display())));
        let (data, wal) = (path::absolute(&self.data_dir)?, path::absolute(wal_dir)?);
        if wal.file_name().is_none() {
            return invalid("it must end in a name");
        }
        if data.starts_with(&wal) {
            return invalid("it must not be or hold the data dir");
        }
        if wal.starts_with(data.join("member")) {
            return invalid("leave it out: inside the data dir is where it is by default");
        }
        Ok(())
    }

    /// Refuses two members in one place.
    fn verify_apart(&self, other: &Self) -> Result<()> {
        let places = |target: &Self| -> Result<Vec<PathBuf>> {
            let dirs = [Some(&target.data_dir), target.wal_dir.as_ref()].into_iter().flatten();
            Ok(dirs.map(path::absolute).collect::<Result<_, _>>()?)
        };
        let (ours, theirs) = (places(self)?, places(other)?);
        let nested = |a: &PathBuf| theirs.iter().any(|b| a.starts_with(b) || b.starts_with(a));
        if self.name == other.name {
            return Err(Error::Invalid(format!("member {:?} is listed twice", self.name)));
        }
        match ours.iter().find(|dir| nested(dir)) {
            Some(dir) => Err(Error::Invalid(format!("two members share the directory {}", dir.display()))),
            None => Ok(()),
        }
    }
}
