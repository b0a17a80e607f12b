//! Output of discovery: the inventory with its notes, and the credentials it refers to.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::inventory::{Inventory, Problem};
use crate::ownership::{OwnershipError, ensure_own};

use super::etcd::put;

/// Directory for credentials, beside the inventory.
pub const CREDENTIALS: &str = "lifeboat-credentials";
pub(super) const CA: &str = "etcd-ca.crt";
pub(super) const CERT: &str = "etcd-client.crt";
pub(super) const KEY: &str = "etcd-client.key";
pub(super) const KUBECONFIG: &str = "admin.kubeconfig";

/// Why no inventory was written.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The output file exists.
    #[error("{} exists: move it aside, or name another place with --out", .0.display())]
    Exists(PathBuf),
    /// No machine could be looked at.
    #[error("none of the --from machines could be examined\n{}", list("  - ", .0))]
    NoMachine(Vec<String>),
    /// No complete control plane was found.
    #[error("incomplete control plane: add more of its machines with --from\n{}", list("  - ", .0))]
    Incomplete(Vec<String>),
    /// Others could take or replace the credentials.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// A file could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A credential of the cluster. Its content is a secret: no `Debug`.
pub(super) struct Credential {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// What was found.
pub struct Discovered {
    /// The inventory; its relative paths are resolved against the directory it is written to.
    pub inventory: Inventory,
    /// What could not be seen, and what is a guess.
    pub notes: Vec<String>,
    credentials: Vec<Credential>,
}

impl fmt::Debug for Discovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered").field("inventory", &self.inventory).finish_non_exhaustive()
    }
}

impl Discovered {
    pub(super) fn new(inventory: Inventory, notes: &[String], credentials: Vec<Credential>) -> Self {
        let notes = notes.iter().map(|note| note.replace(char::is_control, " ")).collect();
        Self { inventory, notes, credentials }
    }

    /// Refuses to overwrite an inventory or credentials, or to write where others can.
    ///
    /// # Errors
    /// [`DiscoverError::Exists`], [`DiscoverError::Ownership`].
    pub fn refuse_existing(out: &Path) -> Result<(), DiscoverError> {
        ensure_own(parent(out))?;
        ensure_own(&credentials_dir(out))?;
        let files = [CA, CERT, KEY, KUBECONFIG].map(|name| credentials_dir(out).join(name));
        match [out.to_owned()].into_iter().chain(files).find(|path| fs::symlink_metadata(path).is_ok()) {
            Some(path) => Err(DiscoverError::Exists(path)),
            None => Ok(()),
        }
    }

    /// Writes the inventory, and the credentials into a directory beside it; returns the paths.
    ///
    /// # Errors
    /// [`DiscoverError::Exists`] before anything is written; [`DiscoverError::Io`].
    pub fn write(&self, out: &Path) -> Result<Vec<PathBuf>, DiscoverError> {
        Self::refuse_existing(out)?;
        let text = self.text()?;
        let mut written = Vec::new();
        let dir = credentials_dir(out);
        if !self.credentials.is_empty() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        }
        for Credential { name, bytes } in &self.credentials {
            written.push(put(&dir, name, bytes)?);
        }
        let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        written.push(put(parent(out), &name, text.as_bytes())?);
        Ok(written)
    }

    /// What is still wrong with the inventory.
    pub fn problems(&self) -> Vec<Problem> {
        let text = self.text().unwrap_or_default();
        Inventory::parse(&text, Path::new("/")).err().unwrap_or_default()
    }

    /// The inventory as YAML, with remarks.
    fn text(&self) -> io::Result<String> {
        let yaml = serde_saphyr::to_string(&self.inventory).map_err(io::Error::other)?;
        let mut text = format!(
            "# The cluster {} as `lifeboat init` found it. Read it through, and keep it off the cluster, with\n\
             # {CREDENTIALS}/: it grants full access to the cluster.\n",
            self.inventory.cluster
        );
        if !self.notes.is_empty() {
            text += &format!("#\n# Not seen, or guessed:\n{}\n", list("# - ", &self.notes));
        }
        Ok(text + "\n" + &yaml)
    }
}

fn credentials_dir(out: &Path) -> PathBuf {
    parent(out).join(CREDENTIALS)
}

fn parent(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn list(before: &str, notes: &[String]) -> String {
    notes.iter().map(|note| format!("{before}{note}")).collect::<Vec<_>>().join("\n")
}
