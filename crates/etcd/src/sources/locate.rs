//! What a path names.

use std::path::{Path, PathBuf};

use crate::archive;
use crate::error::{Error, Result};
use crate::files;

/// What to name where nothing better is known.
const NEEDED: &str = "a snapshot file, an etcd db file or a member's data dir is needed";
/// Directories that are looked into for a data dir.
const MAX_LOOKED_INTO: usize = 1000;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Located {
    /// A member's data dir, or `member` in it.
    DataDir,
    /// A file that may be a snapshot or a db: the path itself, or the only one in a folder.
    File(PathBuf),
}

/// Whether a path names a data dir; else it names a file that may be a snapshot or a db.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::NotASource`] and [`Error::NotAFile`] for what is neither; what cannot be read.
pub fn is_data_dir(path: &Path) -> Result<bool> {
    Ok(locate(path)? == Located::DataDir)
}

/// As [`is_data_dir`], with the file.
pub(crate) fn locate(path: &Path) -> Result<Located> {
    let Some(metadata) = files::metadata(path)? else {
        return Err(unmounted(path).unwrap_or_else(|| Error::NotFound { path: path.into() }));
    };
    if metadata.is_dir() {
        return locate_in(path);
    }
    files::ensure_regular(path, metadata.file_type())?;
    if metadata.len() == 0 {
        return Err(Error::not_a_source(path, "an empty file", NEEDED));
    }
    Ok(Located::File(path.into()))
}

fn locate_in(dir: &Path) -> Result<Located> {
    if files::is_dir(&dir.join("member"))? || is_member_dir(dir)? {
        return Ok(Located::DataDir);
    }
    if let Some(part) = part_of_member_dir(dir)? {
        return Err(part);
    }
    if let Some(error) = unmounted(dir) {
        return Err(error);
    }
    if let Some(snapshot) = archive::snapshot_in(dir)? {
        return Ok(Located::File(snapshot));
    }
    let remedy = match data_dir_in(dir)? {
        Some(inside) => format!("a data dir is in it: name {}", files::quoted(&inside)).into(),
        None => NEEDED.into(),
    };
    Err(Error::NotASource { path: dir.into(), found: "a directory without member/".into(), remedy })
}

/// Where a data dir's parts are: `member` in it, or the directory itself, for those who name that one.
pub(crate) fn member_dir(path: &Path) -> Result<PathBuf> {
    let inside = path.join("member");
    if !files::is_dir(&inside)? && is_member_dir(path)? { Ok(path.into()) } else { Ok(inside) }
}

/// Whether it is what is called `member` in a data dir.
fn is_member_dir(dir: &Path) -> Result<bool> {
    let is_named_so = dir.file_name().is_some_and(|name| name == "member");
    Ok(files::is_dir(&dir.join("snap"))? && (is_named_so || files::is_dir(&dir.join("wal"))?))
}

/// The data dir that a db file belongs to, if its log is beside it.
pub(crate) fn data_dir_of(file: &Path) -> Result<Option<PathBuf>> {
    let file = fs_err::canonicalize(file)?;
    let snap = file.parent().filter(|dir| dir.ends_with("snap") && file.ends_with("db"));
    let Some(member) = snap.and_then(Path::parent) else { return Ok(None) };
    if !files::is_dir(&member.join("wal"))? {
        return Ok(None);
    }
    Ok(Some(data_dir_around(member)))
}

/// The data dir that has these parts: the directory around `member`, or a directory of another name itself.
fn data_dir_around(member: &Path) -> PathBuf {
    let around = member.parent().filter(|_| member.ends_with("member"));
    around.unwrap_or(member).into()
}

/// `snap` or `wal` of a data dir: half of what is to be read.
fn part_of_member_dir(dir: &Path) -> Result<Option<Error>> {
    let dir = fs_err::canonicalize(dir)?;
    let (Some(member), Some(name)) = (dir.parent(), dir.file_name().and_then(|name| name.to_str())) else {
        return Ok(None);
    };
    if !matches!(name, "snap" | "wal") || !is_member_dir(member)? {
        return Ok(None);
    }
    let remedy = format!("name the data dir: {}", files::quoted(&data_dir_around(member)));
    Ok(Some(Error::not_a_source(&dir, format!("the directory {name}/ of a data dir"), remedy)))
}

/// A data dir one level below.
fn data_dir_in(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in fs_err::read_dir(dir)?.take(MAX_LOOKED_INTO) {
        let inside = entry?.path();
        // Others below may be closed to us: they are no better to name.
        if files::is_dir(&inside.join("member/snap")).unwrap_or(false) {
            return Ok(Some(inside));
        }
    }
    Ok(None)
}

/// What `/etc/fstab` would mount at a path or above it, and is not mounted: then nothing that is there is what is meant.
fn unmounted(path: &Path) -> Option<Error> {
    let read = |file: &str| fs_err::read_to_string(file).ok();
    let at = missing_mount(path, &read("/etc/fstab")?, &read("/proc/self/mounts")?)?;
    Some(Error::Refused(format!(
        "/etc/fstab mounts {} and it is not mounted: mount it first, {} is on it",
        at.display(),
        path.display()
    )))
}

fn missing_mount(path: &Path, fstab: &str, mounts: &str) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let mounted: Vec<&str> = mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let lines = fstab.lines().filter(|line| !line.trim_start().starts_with('#'));
    let points = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, at, _, options) =
            (words.next()?, words.next()?, words.next()?, words.next().unwrap_or_default());
        let by_hand = options.split(',').any(|option| option == "noauto");
        (at.starts_with('/') && !by_hand).then(|| if at == "/" { at } else { at.trim_end_matches('/') })
    });
    points.filter(|at| path.starts_with(at) && !mounted.contains(at)).map(PathBuf::from).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_not_mounted_is_named() {
        let mounts = "/dev/vda / ext4 rw 0 0\n/dev/vdb /data ext4 rw 0 0\n";
        let fstab = "# /var/lib/etcd was here\n/dev/vda / ext4 defaults 0 1\n/dev/vdb /data/ ext4 defaults 0 2\n\
                     /dev/vdc /var/lib/etcd/ xfs noatime 0 2\n/dev/vdd /mnt ext4 noauto 0 2\n";
        let missing = |path: &str| missing_mount(Path::new(path), fstab, mounts);
        assert_eq!(missing("/var/lib/etcd/member/snap/db"), Some("/var/lib/etcd".into()));
        assert_eq!(missing("/var/lib/etcd"), Some("/var/lib/etcd".into()));
        for path in ["/var/lib/etcd-2", "/data/etcd", "/mnt/etcd", "/var/lib"] {
            assert_eq!(missing(path), None, "{path}");
        }
    }
}
