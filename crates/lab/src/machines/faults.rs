//! Fault injection on machines.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use super::{Lab, Layout, Machine};
use crate::kubernetes::apiserver_files;

/// A member's data dir.
pub(crate) const ETCD_DATA: &str = "/var/lib/etcd";
/// The manifest of a member, and its place while the member is stopped.
const ETCD_MANIFEST: [&str; 2] = ["/etc/kubernetes/manifests/etcd.yaml", "/root/etcd.yaml"];
/// The files of [`Machine::fill_disk`].
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

    /// Stops every process of a unit with SIGSTOP: from outside, it hangs.
    pub fn freeze_unit(&self, unit: &str) -> Result<()> {
        self.exec(&["systemctl", "kill", "--signal=STOP", unit]).map(drop)
    }

    /// Continues the processes of a frozen unit.
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

    /// Fills the machine's disk.
    pub fn fill_disk(&self) -> Result<()> {
        // Halves the size until no block is left: fallocate allocates a file as a whole.
        let script = format!(
            "mkdir -p {BALLAST}; n=0; size=$(($(stat -f -c '%f*%S' /)/1024)); while [ $size -ge 4 ]; do \
             n=$((n+1)); fallocate -l ${{size}}K {BALLAST}/$n 2>/dev/null || {{ rm -f {BALLAST}/$n; size=$((size/2)); }}; done"
        );
        self.exec(&["sh", "-c", &script]).map(drop)
    }

    /// Frees the space again.
    pub fn free_disk(&self) -> Result<()> {
        self.exec(&["rm", "-rf", BALLAST]).map(drop)
    }
}

impl Lab {
    /// Stops a machine's etcd as an operator would, and waits until it has ended: stops the unit, or moves the static
    /// Pod's manifest away.
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

    /// Starts a stopped etcd, without waiting for it.
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

    /// Stops a member, damages its db, and starts it again, which fails.
    pub fn damage_etcd(&self, machine: &str) -> Result<()> {
        self.stop_etcd(machine)?;
        self.machine(machine)?.corrupt_etcd_db()?;
        self.start_etcd(machine)
    }

    /// Gives a master an expired apiserver certificate. A running apiserver reads it within a minute.
    pub fn expire_apiserver_certificate(&self, master: &str) -> Result<()> {
        let machine = self.machine(master)?;
        let (cert, key) = self.pki().expired_apiserver(machine.spec())?;
        let (cert_path, key_path) = apiserver_files(self.blueprint().layout);
        machine.write_file(cert_path, cert)?;
        machine.write_file(key_path, key)
    }
}
