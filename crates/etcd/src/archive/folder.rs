//! The one snapshot in a folder, as etcd-manager and OpenShift leave it beside other files.

use std::path::{Path, PathBuf};

use super::format::{DELTA, FULL, Head, OPENSHIFT, name};
use crate::error::{Error, Result};
use crate::files::{self, open_regular};

/// A folder of more is not one that a backup tool made.
const MAX_FILES: usize = 10_000;
/// Limit of names listed in a message.
const MAX_NAMED: usize = 10;
/// Smaller files are not snapshots, compressed or not.
const MIN_SIZE: u64 = 64;

/// The one snapshot in a folder; `None` when none is in it.
///
/// # Errors
/// [`Error::NotASource`] for several, and for one with deltas beside it; a file that cannot be read, which may be one.
pub(crate) fn snapshot_in(folder: &Path) -> Result<Option<PathBuf>> {
    let mut snapshots = Vec::new();
    let mut deltas = Vec::new();
    let mut is_openshift = false;
    for entry in fs_err::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        // What is gone again, and a link to nothing, is passed over.
        let Some(metadata) = files::metadata(&path)? else { continue };
        if !metadata.is_file() || metadata.len() < MIN_SIZE {
            continue;
        }
        if name(&path).starts_with(DELTA) {
            deltas.push(path);
            continue;
        }
        is_openshift |= name(&path).starts_with(OPENSHIFT);
        let file = open_regular(&path)?;
        let head = Head::of(file.file()).map_err(|error| Error::unreadable(&path, error))?;
        if head.may_be_a_snapshot(&name(&path)) {
            snapshots.push(path);
        }
    }
    snapshots.sort();
    match snapshots.as_slice() {
        [] if is_openshift => Err(Error::not_a_source(
            folder,
            "an OpenShift backup without its snapshot",
            "copy snapshot_*.db from the machine where the backup was made",
        )),
        [] => Ok(None),
        [full] if later_deltas(full, &deltas) > 0 => Err(Error::not_a_source(
            folder,
            format!(
                "a folder of etcd-backup-restore (Gardener) with {} delta snapshots after {}, which are not supported",
                later_deltas(full, &deltas),
                name(full)
            ),
            format!(
                "apply them with `etcdbrctl restore`, or name {} to do without their changes",
                files::quoted(full)
            ),
        )),
        [only] => Ok(Some(only.clone())),
        several => {
            let names =
                several.iter().rev().take(MAX_NAMED).map(|path| name(path)).collect::<Vec<_>>().join(", ");
            let more = if several.len() > MAX_NAMED { " and more" } else { "" };
            let found = format!("a folder of {} snapshots: {names}{more}", several.len());
            Err(Error::not_a_source(folder, found, "name one of them"))
        }
    }
}

/// Number of later delta snapshots of etcd-backup-restore (Gardener) next to a full one, which lacks their changes.
///
/// # Errors
/// The directory cannot be read.
pub fn deltas_beside(full: &Path) -> Result<usize> {
    let full = fs_err::canonicalize(full)?;
    let Some(folder) = full.parent().filter(|_| name(&full).starts_with(FULL)) else { return Ok(0) };
    let mut deltas = Vec::new();
    for entry in fs_err::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if name(&path).starts_with(DELTA) {
            deltas.push(path);
        }
    }
    Ok(later_deltas(&full, &deltas))
}

/// Number of deltas that continue a full snapshot: `Incr-FIRST-LAST-TIME`, `Full-FIRST-LAST-TIME`.
fn later_deltas(full: &Path, deltas: &[PathBuf]) -> usize {
    let last = |path: &Path| -> Option<u64> {
        let name = name(path);
        let rest = name.strip_prefix(FULL).or_else(|| name.strip_prefix(DELTA))?;
        rest.split('-').nth(1)?.parse().ok()
    };
    let Some(end) = last(full) else { return 0 };
    deltas.iter().filter(|delta| last(delta).is_none_or(|last| last > end)).count()
}
