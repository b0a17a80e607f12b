//! What goes wrong on a machine.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use super::{Lab, Layout, Machine};
use crate::kubernetes::apiserver_files;

/// Where a member's data is.
pub(crate) const ETCD_DATA: &str = "/var/lib/etcd";
/// The static Pod of a member, and where it waits while the member is stopped.
const ETCD_MANIFEST: [&str; 2] = ["/etc/kubernetes/manifests/etcd.yaml", "/root/etcd.yaml"];
/// What [`Machine::fill_disk`] leaves.
const BALLAST: &str = "/var/lib/lab-ballast";
/// The page size of the db.
const PAGE: u64 = 4096;

impl Machine {
    /// Stops a unit.
    pub fn stop_unit(&self, unit: &str) -> Result<()> {
        self.exec(&["systemctl", "stop", unit]).map(drop)
    }

    /// Starts a unit.
    pub fn start_unit(&self, unit: &str) -> Result<()> {
        self.exec(&["systemctl", "start", unit]).map(drop)
    }

    /// Halts every process of a unit without ending it: what a hang looks like from outside.
    pub fn freeze_unit(&self, unit: &str) -> Result<()> {
        self.exec(&["systemctl", "kill", "--signal=STOP", unit]).map(drop)
    }

    /// Lets a halted unit go on.
    pub fn thaw_unit(&self, unit: &str) -> Result<()> {
        self.exec(&["systemctl", "kill", "--signal=CONT", unit]).map(drop)
    }

    /// Removes everything in the etcd data dir; the member must be stopped.
    pub fn destroy_etcd_data(&self) -> Result<()> {
        self.exec(&["find", ETCD_DATA, "-mindepth", "1", "-delete"]).map(drop)
    }

    /// Deletes the member's log; the member must be stopped.
    pub fn destroy_etcd_log(&self) -> Result<()> {
        self.exec(&["find", &format!("{ETCD_DATA}/member/wal"), "-mindepth", "1", "-delete"]).map(drop)
    }

    /// Overwrites every second page of the member's db but the first two (its meta pages); the member must be stopped.
    pub fn corrupt_etcd_db(&self) -> Result<()> {
        let path = self.path(&format!("{ETCD_DATA}/member/snap/db"))?;
        let file = fs_err::OpenOptions::new().write(true).open(&path)?;
        let pages = file.metadata()?.len() / PAGE;
        ensure!(pages > 4, "{} is too small to be damaged", path.display());
        for page in (3..pages).step_by(2) {
            file.file().write_all_at(&[0xAA; 64], page * PAGE).context("damage the db")?;
        }
        Ok(())
    }

    /// Takes all space on the machine's disk.
    pub fn fill_disk(&self) -> Result<()> {
        // Halves until not one block is left: a file cannot be allocated in parts.
        let script = format!(
            "mkdir -p {BALLAST}; n=0; size=$(($(stat -f -c '%f*%S' /)/1024)); while [ $size -ge 4 ]; do \
             n=$((n+1)); fallocate -l ${{size}}K {BALLAST}/$n 2>/dev/null || {{ rm -f {BALLAST}/$n; size=$((size/2)); }}; done"
        );
        self.exec(&["sh", "-c", &script]).map(drop)
    }

    /// Gives the space back.
    pub fn free_disk(&self) -> Result<()> {
        self.exec(&["rm", "-rf", BALLAST]).map(drop)
    }
}

impl Lab {
    /// Stops a machine's etcd as its operator would, and waits until it is gone: its unit, or its static Pod by taking
    /// the manifest away.
    pub fn stop_etcd(&self, machine: &str) -> Result<()> {
        let machine = self.machine(machine)?;
        match self.blueprint().layout {
            Layout::Systemd => machine.stop_unit("etcd"),
            Layout::StaticPods => {
                let [manifest, aside] = ETCD_MANIFEST;
                let script = "mv \"$1\" \"$2\" && while pgrep -x etcd >/dev/null; do sleep 0.1; done";
                machine.exec(&["sh", "-c", script, "sh", manifest, aside]).map(drop)
            }
        }
    }

    /// Starts a machine's etcd that was stopped; whether it comes up is another matter.
    pub fn start_etcd(&self, machine: &str) -> Result<()> {
        let machine = self.machine(machine)?;
        match self.blueprint().layout {
            Layout::Systemd => machine.exec(&["systemctl", "start", "--no-block", "etcd"]).map(drop),
            Layout::StaticPods => {
                let [manifest, aside] = ETCD_MANIFEST;
                machine.exec(&["mv", aside, manifest]).map(drop)
            }
        }
    }

    /// Damages a member's db while the member is stopped, and starts it again: it will not come up.
    pub fn damage_etcd(&self, machine: &str) -> Result<()> {
        self.stop_etcd(machine)?;
        self.machine(machine)?.corrupt_etcd_db()?;
        self.start_etcd(machine)
    }

    /// Gives a master an apiserver certificate that ended years ago; it is read at the apiserver's next start, or
    /// within a minute by one that runs.
    pub fn expire_apiserver_certificate(&self, master: &str) -> Result<()> {
        let machine = self.machine(master)?;
        let (cert, key) = self.pki().expired_apiserver(machine.spec())?;
        let (cert_path, key_path) = apiserver_files(self.blueprint().layout);
        machine.write_file(cert_path, cert)?;
        machine.write_file(key_path, key)
    }
}
