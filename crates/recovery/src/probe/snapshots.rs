//! The snapshot files that a restore could start from, on the operator's machine.

use std::path::{Path, PathBuf};

use fs_err as fs;
use jiff::Timestamp;
use lifeboat_etcd::{Error, Inspection, NewerData, NoProgress, inspect, newer_data, open};

use crate::facts::{Snapshot, SnapshotIdentity, Snapshots};

/// Reads the snapshots in these places, files or directories of files, from the newest on until `enough` are sound and
/// of this cluster, as `is_ours` says: a restore takes no older one, and each may be gigabytes. With `named`, that
/// file alone is read. A file that cannot be taken is listed with the reason.
pub fn find(
    places: &[PathBuf],
    named: Option<&Path>,
    enough: usize,
    is_ours: impl Fn(&SnapshotIdentity) -> bool,
) -> Snapshots {
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
    let (mut found, mut usable) = (Vec::new(), 0);
    for (_, path) in files {
        let snapshot = read(&path);
        let can_be_taken = snapshot.revision.is_ok() && snapshot.identity.as_ref().is_none_or(&is_ours);
        usable += usize::from(can_be_taken);
        found.push(snapshot);
        if usable >= enough {
            break;
        }
    }
    Snapshots { unread: total - found.len(), read: found, named: named.map(Path::to_path_buf) }
}

/// Reads a snapshot from end to end, once.
pub(crate) fn read(path: &Path) -> Snapshot {
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
    let raft_index = inspection.as_ref().ok().and_then(|inspection| inspection.state.consistent_index);
    Snapshot {
        path: path.into(),
        written: written(path),
        size: with_unpacked(stored, unpacked),
        raft_index,
        identity: inspection.as_ref().ok().map(identity),
        revision: inspection.map(|inspection| inspection.revision).map_err(|error| error.to_string()),
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

fn identity(inspection: &Inspection) -> SnapshotIdentity {
    let members = &inspection.state.members;
    let ids = members.iter().map(|member| member.id).chain(inspection.state.members_removed.clone());
    SnapshotIdentity {
        kubernetes: inspection.kubernetes.clone(),
        members: members.iter().map(|member| member.name.clone()).collect(),
        peer_urls: members.iter().flat_map(|member| member.peer_urls.clone()).collect(),
        member_ids: ids.map(|id| id.to_string()).collect(),
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
