//! Files that decide what is run: only the operator and root may have write access.
//!
//! An inventory names an `ssh_config`, an `ssh_config` names commands, and a kubeconfig may do so too. In a directory of
//! somebody else, what `lifeboat` reads by default would run that person's commands as the operator, and on every machine as
//! root. `ssh` refuses such files, and so do we.

mod ssh_config;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
pub use ssh_config::ensure_ssh_config;

/// Write permission for the group and for others.
const OTHERS_WRITE: u32 = 0o022;
/// In such a directory only the owner of a file can replace it.
const STICKY: u32 = 0o1000;

/// A file or directory that other users can change.
#[derive(Debug, thiserror::Error)]
pub enum OwnershipError {
    /// Somebody else owns it.
    #[error(
        "{} is owned by uid {uid}, not by you or root: it would be used with your privileges; if you trust it: \
         chown {own} {}", path.display(), path.display()
    )]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// uid of the owner.
        uid: u32,
        /// Who should own it.
        own: u32,
    },
    /// Its group or all users can write it.
    #[error(
        "{} can be written by others (mode {mode:04o}): it would be used with your privileges; if you trust it: \
         chmod go-w {}", path.display(), path.display()
    )]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Its metadata cannot be read. The error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Who may own what decides: root, the user who runs this, and behind `sudo` the user who called it, who can do all that root can.
#[derive(Debug, Clone, Copy)]
struct Trusted {
    own: u32,
    behind_sudo: Option<u32>,
}

impl Trusted {
    fn now() -> Self {
        let own = rustix::process::geteuid().as_raw();
        let caller = || std::env::var("SUDO_UID").ok()?.parse().ok();
        Self { own, behind_sudo: if own == 0 { caller() } else { None } }
    }

    fn owns(self, uid: u32) -> bool {
        uid == 0 || uid == self.own || Some(uid) == self.behind_sudo
    }

    /// Refuses what other users can change. In a directory with the sticky bit others can make files, and not replace
    /// ours.
    fn check(self, path: &Path, metadata: &Metadata) -> Result<(), OwnershipError> {
        let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if !self.owns(uid) {
            return Err(OwnershipError::Owner { path: path.into(), uid, own: self.own });
        }
        let shared = metadata.is_dir() && mode & STICKY != 0;
        if mode & OTHERS_WRITE != 0 && !shared {
            return Err(OwnershipError::Writable { path: path.into(), mode });
        }
        Ok(())
    }

    /// The same for the directories above.
    fn check_above(self, path: &Path) -> Result<(), OwnershipError> {
        for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            self.check(dir, &fs::metadata(dir)?)?;
        }
        Ok(())
    }
}

/// Refuses a file or directory that somebody else can change or replace, by itself or by a directory above it. A
/// missing file is accepted.
///
/// # Errors
/// [`OwnershipError`], with the command that gives it to the operator alone.
pub fn ensure_own(path: &Path) -> Result<(), OwnershipError> {
    ensure_own_by(Trusted::now(), path)
}

fn ensure_own_by(trusted: Trusted, path: &Path) -> Result<(), OwnershipError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let is_plain = metadata.is_file() || metadata.is_dir();
    if !is_plain && !trusted.owns(metadata.uid()) {
        return Err(OwnershipError::Owner { path: path.into(), uid: metadata.uid(), own: trusted.own });
    }
    if !is_plain {
        // A pipe of the operator's shell, or /dev/null.
        return Ok(());
    }
    trusted.check(path, &metadata)?;
    // The way to it as it is written, and as it is without symbolic links: each may lead through another's directory.
    trusted.check_above(&std::path::absolute(path)?)?;
    trusted.check_above(&fs::canonicalize(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A file in a directory, both the operator's alone.
    fn file() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("prod");
        fs::create_dir(&dir).unwrap();
        mode(&dir, 0o755);
        let file = dir.join("lifeboat.yaml");
        fs::write(&file, "version: 1\n").unwrap();
        mode(&file, 0o644);
        (top, dir, file)
    }

    #[test]
    fn what_others_can_write_is_refused() {
        let (_top, dir, file) = file();
        assert!(ensure_own(&file).is_ok());
        for bad in [0o664, 0o646, 0o666] {
            mode(&file, bad);
            let why = ensure_own(&file).unwrap_err();
            assert!(why.to_string().contains(&format!("chmod go-w {}", file.display())), "{why}");
        }
        mode(&file, 0o600);
        mode(&dir, 0o775);
        assert!(matches!(ensure_own(&file), Err(OwnershipError::Writable { path, .. }) if path == dir));
        mode(&dir, 0o1777);
        assert!(ensure_own(&file).is_ok(), "others cannot replace it");
        assert!(ensure_own(&dir.join("absent")).is_ok());
        assert!(ensure_own(Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn a_link_in_the_directory_of_another_is_refused() {
        let (_top, dir, file) = file();
        let other = dir.with_file_name("other");
        fs::create_dir(&other).unwrap();
        let link = other.join("lifeboat.yaml");
        symlink(&file, &link).unwrap();
        assert!(ensure_own(&link).is_ok());
        mode(&other, 0o777);
        assert!(matches!(ensure_own(&link), Err(OwnershipError::Writable { path, .. }) if path == other));
    }

    /// Needs root, who alone can give files away.
    #[test]
    fn what_another_owns_is_refused_but_for_who_called_sudo() {
        let (_top, _dir, file) = file();
        if chown(&file, Some(12345), None).is_err() {
            return;
        }
        let root = Trusted { own: 0, behind_sudo: None };
        let why = ensure_own_by(root, &file).unwrap_err();
        assert!(why.to_string().contains("uid 12345") && why.to_string().contains("chown 0 "), "{why}");
        assert!(ensure_own_by(Trusted { behind_sudo: Some(12345), ..root }, &file).is_ok());
        assert!(ensure_own_by(Trusted { behind_sudo: Some(1), ..root }, &file).is_err());
        assert!(ensure_own_by(Trusted { own: 12345, behind_sudo: None }, &file).is_ok());
    }
}
