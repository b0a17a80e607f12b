//! One machine of the lab, and how it is controlled from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use super::disk::PLAIN;
use super::topology::MachineSpec;
use super::{network, power};
use crate::process;

/// Time limit of a command in a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

/// A machine, running or not.
#[derive(Clone, Debug)]
pub struct Machine {
    spec: MachineSpec,
    dir: PathBuf,
}

impl Machine {
    pub(crate) fn new(spec: MachineSpec, dir: PathBuf) -> Self {
        Self { spec, dir }
    }

    /// Its name, address, MAC, ids and roles.
    #[must_use]
    pub fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it has power.
    pub fn is_running(&self) -> Result<bool> {
        power::is_on(&self.dir)
    }

    /// Switches it on, if it is off; does not wait until it has booted.
    pub fn start(&self) -> Result<()> {
        power::on(self.name(), &self.dir)
    }

    /// Shuts it down, and waits until it is off.
    pub fn power_off(&self) -> Result<()> {
        power::off(self.name(), &self.dir)
    }

    /// Cuts its power. Writes that were not synced are not lost: the host's page cache keeps them.
    pub fn kill(&self) -> Result<()> {
        power::kill(self.name(), &self.dir)
    }

    /// Shuts it down and switches it on again.
    pub fn reboot(&self) -> Result<()> {
        self.power_off()?;
        self.start()
    }

    /// The MAC of its NIC, if it has one, whether or not it has power.
    pub fn nic(&self) -> Result<Option<String>> {
        match fs::read_to_string(self.nic_file()) {
            Ok(batch) => {
                Ok(batch.split_whitespace().skip_while(|word| *word != "address").nth(1).map(Into::into))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes its NIC, if it has one.
    pub fn detach_nic(&self) -> Result<()> {
        match fs::remove_file(self.nic_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        network::delete_nic(self.name())
    }

    /// Gives it a NIC with this MAC, replacing the present one. Only with its own MAC does the NIC get an address.
    pub fn attach_nic(&self, mac: &str) -> Result<()> {
        ensure!(is_mac(mac), "{mac} is not a MAC address such as {}", self.spec.mac);
        let new = self.dir.join("nic.new");
        fs::write(&new, network::nic_batch(self.name(), mac))?;
        fs::rename(new, self.nic_file())?;
        if self.is_running()? { network::add_nic(self.name(), &self.nic_file()) } else { Ok(()) }
    }

    /// Unplugs the cable: the NIC stays, without carrier. It is plugged in again after a power-off.
    pub fn unplug(&self) -> Result<()> {
        network::set_cable(self.name(), false)
    }

    /// Plugs the cable in again.
    pub fn plug(&self) -> Result<()> {
        network::set_cable(self.name(), true)
    }

    pub(crate) fn nic_file(&self) -> PathBuf {
        self.dir.join("nic")
    }

    /// A command that runs inside the machine, without its network.
    pub fn command(&self, program: &str) -> Result<Command> {
        let leader = power::leader(&self.dir)?.with_context(|| format!("{} is off", self.name()))?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader.to_string(), "-m", "-p", "-n", "-u", "-i", "--", program]);
        command.env("PATH", "/opt/kube/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Ok(command)
    }

    /// Runs a command inside; the output's status tells whether it failed.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        let [program, arguments @ ..] = words else { bail!("no command") };
        process::run(self.command(program)?.args(arguments), EXEC_LIMIT)
            .with_context(|| format!("run {program} in {}", self.name()))
    }

    /// Runs a command inside, which must succeed, and returns its stdout.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        let output = self.run(words)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}: {}: {}: {}",
            self.name(),
            words.join(" "),
            output.status,
            stderr.trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The path on this host of a file of the machine, running or not. Symbolic links in it are not resolved in the
    /// machine.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        // A running machine has its own file systems on /run and /tmp.
        if let Some(leader) = power::leader(&self.dir)? {
            return Ok(Path::new(&format!("/proc/{leader}/root")).join(path.trim_start_matches('/')));
        }
        let plain = PLAIN.iter().find_map(|(directory, inside)| {
            Some(self.dir.join("disk").join(directory).join(Path::new(path).strip_prefix(inside).ok()?))
        });
        Ok(plain.unwrap_or_else(|| self.dir.join("root").join(path.trim_start_matches('/'))))
    }

    /// Reads a file of the machine.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.path(path)?)?)
    }

    /// Writes a file of the machine, and creates its parent directories.
    pub fn write_file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, content)?)
    }
}

/// Whether `text` is six bytes in hex, and so safe to write into a batch file of `ip`.
fn is_mac(text: &str) -> bool {
    let bytes: Vec<&str> = text.split(':').collect();
    bytes.len() == 6
        && bytes.iter().all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mac_addresses_are_accepted() {
        assert!(is_mac("52:54:00:7b:00:E7"));
        assert!(!is_mac("52:54:00:7b:00"));
        assert!(!is_mac("52:54:00:7b:00:e7\nlink del lo"));
        assert!(!is_mac("+1:54:00:7b:00:e7"));
    }
}
