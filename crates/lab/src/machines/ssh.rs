//! Keys and files for SSH to the machines. Host keys are generated here, not by the machines, so that `known_hosts` is
//! complete before the first boot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use super::guest::Guest;
use super::topology::{Blueprint, MachineSpec};
use crate::process;

/// The lab's SSH files.
pub(crate) struct SshFiles {
    dir: PathBuf,
}

impl SshFiles {
    /// The SSH files of the lab in `state`.
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("ssh") }
    }

    /// The `ssh_config`, with every machine as a `Host`.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// Creates the files that do not exist.
    pub fn make(&self, blueprint: &Blueprint) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        keygen(&self.dir.join("id"), "lab")?;
        let mut known = String::new();
        let mut config = format!(
            "Host *\n  User root\n  IdentityFile \"{}\"\n  IdentitiesOnly yes\n  UserKnownHostsFile \"{}\"\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  ConnectTimeout 5\n",
            self.dir.join("id").display(),
            self.dir.join("known_hosts").display()
        );
        for machine in &blueprint.machines {
            let (name, ip) = (&machine.name, machine.ip);
            keygen(&self.host_key(name), name)?;
            let key = fs::read_to_string(self.host_key(name).with_extension("pub"))?;
            known.push_str(&format!("{name},{ip} {key}"));
            config.push_str(&format!("\nHost {name}\n  HostName {ip}\n"));
        }
        fs::write(self.dir.join("known_hosts"), known)?;
        fs::write(self.config(), config)?;
        Ok(())
    }

    /// Installs a machine's host key, and authorizes the lab's key.
    pub fn install(&self, machine: &MachineSpec, guest: &Guest) -> Result<()> {
        let key = self.host_key(&machine.name);
        guest.secret("/etc/ssh/ssh_host_ed25519_key", fs::read(&key)?)?;
        guest.write("/etc/ssh/ssh_host_ed25519_key.pub", fs::read(key.with_extension("pub"))?)?;
        guest.secret("/root/.ssh/authorized_keys", fs::read(self.dir.join("id.pub"))?)
    }

    fn host_key(&self, machine: &str) -> PathBuf {
        self.dir.join(format!("host-{machine}"))
    }
}

/// Generates a key pair, unless both files exist.
fn keygen(path: &Path, comment: &str) -> Result<()> {
    if path.exists() && path.with_extension("pub").exists() {
        return Ok(());
    }
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path);
    process::run_ok(&mut command, Duration::from_secs(20)).context("generate an SSH key")?;
    Ok(())
}
