//! Writes a machine's files from outside, into its root directory.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use std::os::unix::fs::PermissionsExt;

/// The root directory of a machine, or of the shared base. Paths are absolute, as the machine sees them.
pub(crate) struct Guest {
    root: PathBuf,
}

impl Guest {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes a file with mode 0644. A file that already has this content is not touched: some programs exit when their
    /// configuration is written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_as(path, content.as_ref(), 0o644)
    }

    /// Writes a file with mode 0600.
    pub fn secret(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_as(path, content.as_ref(), 0o600)
    }

    /// Writes a program, with mode 0755.
    pub fn program(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_as(path, content.as_ref(), 0o755)
    }

    fn write_as(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let path = self.at(path);
        if fs::read(&path).is_ok_and(|present| present == content) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Creates a directory.
    pub fn create_dir(&self, path: &str) -> Result<()> {
        Ok(fs::create_dir_all(self.at(path))?)
    }

    /// Creates a symbolic link, replacing a file.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        self.remove(path)?;
        let path = self.at(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(symlink(target, path)?)
    }

    /// Removes a file, if it exists.
    pub fn remove(&self, path: &str) -> Result<()> {
        match fs::remove_file(self.at(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes a unit and enables it.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("/etc/systemd/system/{name}"), text)?;
        self.enable(name, &format!("../{name}"))
    }

    /// Enables a unit of a package.
    pub fn packaged_unit(&self, name: &str) -> Result<()> {
        self.enable(name, &format!("/lib/systemd/system/{name}"))
    }

    fn enable(&self, name: &str, target: &str) -> Result<()> {
        let path = format!("/etc/systemd/system/multi-user.target.wants/{name}");
        if fs::read_link(self.at(&path)).is_ok_and(|present| present == Path::new(target)) {
            return Ok(());
        }
        self.link(&path, target)
    }
}
