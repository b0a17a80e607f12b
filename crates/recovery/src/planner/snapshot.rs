//! The snapshot files a restore could start from.

use std::path::{Path, PathBuf};

use fs_err as fs;
use jiff::Timestamp;
use lifeboat_etcd::{
    Error, Inspection, KubernetesIdentity, NewerData, NoProgress, inspect, newer_data, open,
};

/// A snapshot file that a restore could start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it is.
    pub path: PathBuf,
    /// When it was written, by the file's time.
    pub written: Option<Timestamp>,
    /// The most bytes that it takes on a disk: of a packed file also those that are in it.
    pub size: u64,
    /// Its revision, or what is wrong with it.
    pub revision: Result<i64, String>,
    /// Index of the last entry of raft's log that it has; absent where it does not say.
    pub raft_index: Option<u64>,
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
    /// Ids of the etcd members and of those that were removed, in hexadecimal.
    pub member_ids: Vec<String>,
}

/// The snapshots that were read, and how many there are besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Each is read to its end, the newest first, until enough can be taken.
    pub read: Vec<Snapshot>,
    /// How many older ones were not read.
    pub unread: usize,
}

impl Snapshots {
    /// Reads the snapshots in these places, files or directories of files, from the newest on until `enough` are sound and
    /// of this cluster, as `is_ours` says: a restore takes no older one, and each may be gigabytes. With `named`, that
    /// file alone is read. A file that cannot be taken is listed with the reason.
    pub fn find(
        places: &[PathBuf],
        named: Option<&Path>,
        enough: usize,
        is_ours: impl Fn(&SnapshotIdentity) -> bool,
    ) -> Self {
        let mut files: Vec<PathBuf> = match named {
            Some(file) => vec![file.into()],
            None => places.iter().flat_map(|place| files(place)).collect(),
        };
        files.sort();
        files.dedup();
        let mut files: Vec<(Option<Timestamp>, PathBuf)> =
            files.into_iter().map(|path| (written(&path), path)).collect();
        files.sort_by(|a, b| b.cmp(a));
        let total = files.len();
        let (mut read, mut usable) = (Vec::new(), 0);
        for (_, path) in files {
            let snapshot = Snapshot::read(&path);
            let can_be_taken = snapshot.revision.is_ok() && snapshot.identity.as_ref().is_none_or(&is_ours);
            usable += usize::from(can_be_taken);
            read.push(snapshot);
            if usable >= enough {
                break;
            }
        }
        Self { unread: total - read.len(), read }
    }
}

/// The most bytes that a snapshot takes on a disk: of a packed one, packed and unpacked.
///
/// # Errors
/// It cannot be read.
pub(crate) fn disk_bytes(path: &Path) -> lifeboat_etcd::Result<u64> {
    let stored = fs::metadata(path)?.len();
    Ok(with_unpacked(stored, open(path)?.origin().size))
}

fn with_unpacked(stored: u64, content: u64) -> u64 {
    if content > stored { stored.saturating_add(content) } else { stored }
}

impl Snapshot {
    /// Reads a snapshot from end to end, once.
    pub(crate) fn read(path: &Path) -> Self {
        let inspection = open(path).and_then(|source| {
            let inspection = inspect(source.as_ref(), &NoProgress)?;
            match (&inspection.integrity, newer_data(path)?) {
                (Err(damage), _) => Err(Error::Damaged(damage.clone())),
                (Ok(_), None) => Ok(inspection),
                // What a restore would lose is not to be lost unasked.
                (Ok(_), Some(lacking)) => Err(Error::Refused(advice(&lacking))),
            }
        });
        let stored = fs::metadata(path).map_or(0, |metadata| metadata.len());
        let unpacked = inspection.as_ref().map_or(0, |inspection| inspection.origin.size);
        let identity = inspection.as_ref().ok().map(SnapshotIdentity::of);
        let raft_index = inspection.as_ref().ok().and_then(|inspection| inspection.state.consistent_index);
        Self {
            path: path.into(),
            written: written(path),
            size: with_unpacked(stored, unpacked),
            revision: inspection.map(|inspection| inspection.revision).map_err(|error| error.to_string()),
            raft_index,
            identity,
        }
    }
}

fn advice(lacking: &NewerData) -> String {
    match lacking {
        NewerData::Log(log) => format!(
            "{lacking}; make a snapshot of both with `lifeboat save {} FILE`, or copy the db to another directory to restore it \
             without the log, and name that",
            log.data_dir.display()
        ),
        NewerData::Deltas(_) => {
            format!(
                "{lacking}; or copy the full snapshot to another directory to restore it alone, and name that"
            )
        }
    }
}

impl SnapshotIdentity {
    fn of(inspection: &Inspection) -> Self {
        let members = &inspection.state.members;
        let ids = members.iter().map(|member| member.id).chain(inspection.state.members_removed.clone());
        Self {
            kubernetes: inspection.kubernetes.clone(),
            members: members.iter().map(|member| member.name.clone()).collect(),
            peer_urls: members.iter().flat_map(|member| member.peer_urls.clone()).collect(),
            member_ids: ids.map(|id| id.to_string()).collect(),
        }
    }
}

fn written(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|time| Timestamp::try_from(time).ok())
}

fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![place.into()] };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_file()).collect()
}
