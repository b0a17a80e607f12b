//! Where a member is written before it is renamed into place.
//!
//! The work is done in a directory inside the data dir, so that it is on the same file system even when
//! the data dir is a mount point, and ends with one rename of `member/`: etcd takes a data dir without it
//! for empty. A WAL dir of its own is renamed after that: a log without its db would boot as an empty
//! cluster, a db without its log at least has all its keys.

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::restore::Target;

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const STAGE_PREFIX: &str = ".lifeboat-restoring-";
/// What a recovery moves the old content of a data dir into that is a mount point and cannot be renamed itself.
const ASIDE_PREFIX: &str = "lifeboat-aside-";

/// A member under its temporary name. Dropped before [`Staging::commit`], it removes what it wrote.
#[derive(Debug)]
pub(super) struct Staging {
    target: Target,
    /// Directories that were not there before any target was made, innermost first.
    missing: Vec<PathBuf>,
    /// Temporary directory inside the data dir; holds `member/`.
    stage: PathBuf,
    /// Temporary name of a WAL dir of its own.
    wal_stage: Option<PathBuf>,
    committed: bool,
}

impl Staging {
    /// Refuses a target that holds anything.
    pub(super) fn refuse_occupied(target: &Target) -> Result<()> {
        let refused = |path: &Path, what: &str| {
            Err(Error::Refused(format!("{} {what}; move it aside or name another", path.display())))
        };
        match fs::read_dir(&target.data_dir) {
            Ok(mut entries) => match entries.find(|entry| !may_stay(entry)).transpose()? {
                Some(entry) if entry.file_name().to_string_lossy().starts_with(STAGE_PREFIX) => {
                    return refused(&entry.path(), "is left over from an interrupted restore");
                }
                Some(_) => return refused(&target.data_dir, "is not empty"),
                None => {}
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(&target.data_dir).is_ok() {
                    return refused(&target.data_dir, "is a dangling symbolic link");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return refused(&target.data_dir, "is not a directory");
            }
            Err(error) => return Err(error.into()),
        }
        match &target.wal_dir {
            Some(wal_dir) if fs::symlink_metadata(wal_dir).is_ok() => refused(wal_dir, "exists"),
            _ => Ok(()),
        }
    }

    /// Decides on the temporary names, and notes what is not there yet.
    pub(super) fn plan(target: &Target) -> Result<Self> {
        Self::refuse_occupied(target)?;
        let suffix = format!("{STAGE_PREFIX}{}", std::process::id());
        let wal_parent = target.wal_dir.as_deref().and_then(Path::parent);
        Ok(Self {
            target: target.clone(),
            missing: missing(&target.data_dir).chain(wal_parent.into_iter().flat_map(missing)).collect(),
            stage: target.data_dir.join(&suffix),
            wal_stage: target.wal_dir.as_ref().map(|wal_dir| {
                let name = wal_dir.file_name().unwrap_or_default().to_string_lossy();
                wal_dir.with_file_name(format!("{name}{suffix}"))
            }),
            committed: false,
        })
    }

    /// Makes the temporary directories.
    pub(super) fn create(&self) -> Result<()> {
        create_dir_all(&self.snap_dir())?;
        create_dir_all(&self.wal_dir())
    }

    pub(super) fn member_name(&self) -> &str {
        &self.target.name
    }

    pub(super) fn snap_dir(&self) -> PathBuf {
        self.member_dir().join("snap")
    }

    pub(super) fn db_path(&self) -> PathBuf {
        self.snap_dir().join("db")
    }

    pub(super) fn wal_dir(&self) -> PathBuf {
        self.wal_stage.clone().unwrap_or_else(|| self.member_dir().join("wal"))
    }

    fn member_dir(&self) -> PathBuf {
        self.stage.join("member")
    }

    /// Creates the db file.
    pub(super) fn create_db(&mut self) -> Result<fs::File> {
        create_file(&self.db_path())
    }

    /// Writes a small file whole and syncs it.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = create_file(path)?;
        file.write_all(bytes)?;
        Ok(file.sync_all()?)
    }

    /// Like [`Staging::write_file`], followed by zeros up to `size`. Their blocks are reserved, as etcd does
    /// (`client/pkg/fileutil/preallocate_unix.go`): a member must not meet a full disk within its first log.
    pub(super) fn write_preallocated(&self, path: &Path, bytes: &[u8], size: u64) -> Result<()> {
        let mut file = create_file(path)?;
        match rustix::fs::fallocate(file.file(), FallocateFlags::empty(), 0, size) {
            Err(Errno::OPNOTSUPP) => file.set_len(size)?,
            result => result.map_err(|error| {
                io::Error::new(error.kind(), format!("reserve {size} bytes for {}: {error}", path.display()))
            })?,
        }
        file.write_all(bytes)?;
        Ok(file.sync_all()?)
    }

    /// Syncs the temporary directories, innermost first, so that their entries are on disk.
    pub(super) fn sync_dirs(&self) -> Result<()> {
        [self.snap_dir(), self.wal_dir(), self.member_dir()].iter().try_for_each(|dir| sync_dir(dir))
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.target.data_dir
    }

    /// Whether [`Staging::commit`] got as far as to leave something in place.
    pub(super) fn is_committed(&self) -> bool {
        self.committed
    }

    /// Renames into place.
    pub(super) fn commit(&mut self) -> Result<()> {
        let data_dir = &self.target.data_dir;
        fs::rename(self.member_dir(), data_dir.join("member"))?;
        // From here on the member is there, and removing what belongs to it would be wrong.
        self.committed = true;
        sync_dir(data_dir)?;
        if let (Some(stage), Some(wal_dir)) = (&self.wal_stage, &self.target.wal_dir) {
            fs::rename(stage, wal_dir)?;
            sync_parent(wal_dir)?;
        }
        fs::remove_dir(&self.stage)?;
        sync_dir(data_dir)?;
        sync_parent(data_dir)?;
        // The entries of directories that were made on the way to it.
        self.missing.iter().try_for_each(|dir| sync_parent(dir))
    }
}

impl Drop for Staging {
    /// Best effort: an error is on its way already, and the temporary names say what they are.
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let _ = fs::remove_dir_all(&self.stage);
        if let Some(wal_stage) = &self.wal_stage {
            let _ = fs::remove_dir_all(wal_stage);
        }
        // Those that several targets share go with the last of them: only empty ones can be removed.
        for dir in &self.missing {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// What a file system of its own has at its top: a data dir may be a mount point.
/// Whether an entry does not belong to etcd: a mount point has them.
fn may_stay(entry: &io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| {
        let name = entry.file_name();
        name == "lost+found" || name.to_string_lossy().starts_with(ASIDE_PREFIX)
    })
}

/// A directory and those around it that are not there, innermost first.
fn missing(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let named = dir.ancestors().filter(|dir| !dir.as_os_str().is_empty());
    named.take_while(|dir| fs::symlink_metadata(dir).is_err()).map(Path::to_path_buf)
}

fn create_dir_all(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path).map_err(|source| {
        Error::Io(io::Error::new(source.kind(), format!("create directory {}: {source}", path.display())))
    })
}

fn create_file(path: &Path) -> Result<fs::File> {
    Ok(fs::OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE_FILE).open(path)?)
}

fn sync_dir(path: &Path) -> Result<()> {
    Ok(fs::File::open(path)?.sync_all()?)
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}
