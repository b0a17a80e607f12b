//! The lab's state directory, and its lock.
//!
//! A host has one lab at a time, since its network namespace and addresses are fixed. A small file in `/run` names the
//! state directory of the running lab.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;

use super::topology::Blueprint;
use crate::cache;

const OWNER: &str = "/run/lifeboat-lab";
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Every kubelet, systemd and containerd uses some; machines share the host's limit for root.
const INOTIFY_INSTANCES: u32 = 1024;

/// The state directory.
#[derive(Clone, Debug)]
pub(crate) struct State {
    dir: PathBuf,
}

impl State {
    /// `$LIFEBOAT_LAB`, else `lab` in the cache.
    pub fn new() -> Result<Self> {
        let dir = match env::var_os("LIFEBOAT_LAB").map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => dir,
            Some(dir) => bail!("LIFEBOAT_LAB is {}, which is not an absolute path", dir.display()),
            None => cache::root()?.join("lab"),
        };
        Ok(Self { dir })
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A machine's directory.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(name)
    }

    /// The directory of all machines.
    pub fn machines(&self) -> PathBuf {
        self.dir.join("machines")
    }

    /// The directory of the cluster's certificates and kubeconfigs.
    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// Locks the lab while it is brought up or taken down; a second `up` or `down` waits.
    pub fn lock(&self) -> Result<fs::File> {
        fs::create_dir_all(&self.dir)?;
        // Beside the directory, which `down` removes; the lock file stays.
        let lock = fs::File::create(self.dir.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    /// The blueprint of the present lab, if there is one.
    pub fn blueprint(&self) -> Result<Option<Blueprint>> {
        match fs::read(self.blueprint_file()) {
            Ok(bytes) => {
                let path = self.blueprint_file();
                Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Saves the blueprint of the lab that is about to be created.
    pub fn keep(&self, blueprint: &Blueprint) -> Result<()> {
        let new = self.dir.join("lab.json.new");
        fs::write(&new, serde_json::to_vec_pretty(blueprint)?)?;
        fs::rename(new, self.blueprint_file())?;
        Ok(())
    }

    fn blueprint_file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// Removes everything, or everything but the machines' disks and what identifies them.
    pub fn remove(&self, keep_disks: bool) -> Result<()> {
        if !keep_disks && self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }

    /// Records this lab as the host's, and raises the inotify limit.
    pub fn claim(&self) -> Result<()> {
        self.check_owner()?;
        if !Path::new(OWNER).exists() {
            // With the setting to restore.
            let instances = fs::read_to_string(INOTIFY)?;
            fs::write(OWNER, format!("{}\n{}\n", self.dir.display(), instances.trim()))?;
        }
        let instances: u32 = fs::read_to_string(INOTIFY)?.trim().parse().context("read a kernel setting")?;
        if instances < INOTIFY_INSTANCES {
            fs::write(INOTIFY, INOTIFY_INSTANCES.to_string())?;
        }
        Ok(())
    }

    /// Fails if another state directory's lab is running.
    pub fn check_owner(&self) -> Result<()> {
        let Ok(owner) = fs::read_to_string(OWNER) else { return Ok(()) };
        let dir = owner.lines().next().unwrap_or_default();
        if Path::new(dir) != self.dir {
            bail!("another lab is running; take it down first: LIFEBOAT_LAB={dir} lab down");
        }
        Ok(())
    }

    /// Restores the host's settings, and removes the record.
    pub fn release(&self) -> Result<()> {
        let Ok(owner) = fs::read_to_string(OWNER) else { return Ok(()) };
        if let Some(instances) = owner.lines().nth(1) {
            fs::write(INOTIFY, instances)?;
        }
        fs::remove_file(OWNER)?;
        Ok(())
    }
}
