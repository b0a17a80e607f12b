//! The snapshot files a restore could start from.

use std::path::{Path, PathBuf};

use fs_err as fs;
use jiff::Timestamp;
use lifeboat_etcd::{Error, Inspection, KubernetesIdentity, NoProgress, inspect, open};

/// A snapshot file that a restore could start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub path: PathBuf,
    /// When it was written, by the file's time.
    pub written: Option<Timestamp>,
    /// Its revision, or what is wrong with it.
    pub revision: Result<i64, String>,
    /// Whose state it is, as far as it could be read.
    pub identity: Option<SnapshotIdentity>,
}

/// Whose state a snapshot holds. A snapshot carries no cluster id: etcd keeps that in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotIdentity {
    /// The Kubernetes cluster.
    pub kubernetes: KubernetesIdentity,
    /// Names of the etcd members.
    pub members: Vec<String>,
    /// Peer URLs of the etcd members.
    pub peer_urls: Vec<String>,
}

impl Snapshot {
    /// Reads every snapshot in these places: files, or directories of files. A file that is no sound snapshot is
    /// told as such, so that nobody wonders why it was passed over.
    pub fn find(places: &[PathBuf]) -> Vec<Self> {
        let mut files: Vec<PathBuf> = places.iter().flat_map(|place| files(place)).collect();
        files.sort();
        files.dedup();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let inspection = open(path).and_then(|source| {
            let inspection = inspect(source.as_ref(), &NoProgress)?;
            match &inspection.integrity {
                Ok(_) => Ok(inspection),
                Err(damage) => Err(Error::Damaged(damage.clone())),
            }
        });
        let identity = inspection.as_ref().ok().map(SnapshotIdentity::of);
        Self {
            path: path.into(),
            written: written.and_then(|time| Timestamp::try_from(time).ok()),
            revision: inspection.map(|inspection| inspection.revision).map_err(|error| error.to_string()),
            identity,
        }
    }
}

impl SnapshotIdentity {
    fn of(inspection: &Inspection) -> Self {
        let members = &inspection.state.members;
        Self {
            kubernetes: inspection.kubernetes.clone(),
            members: members.iter().map(|member| member.name.clone()).collect(),
            peer_urls: members.iter().flat_map(|member| member.peer_urls.clone()).collect(),
        }
    }
}

fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![place.into()] };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_file()).collect()
}
