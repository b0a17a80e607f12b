//! What a host needs for machines.

use std::env;

use anyhow::{Result, ensure};

use crate::peers::Unavailable;

/// Program, and its Debian package.
const TOOLS: [(&str, &str); 12] = [
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("tar", "tar"),
    ("find", "findutils"),
    ("cc", "gcc"),
];

/// Fails on a host that cannot run machines, with what to do.
pub fn check() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "the lab's machines need Linux");
    ensure!(
        rustix::process::geteuid().is_root(),
        "the lab's machines need root: they are containers with their own network and disks; run this with sudo"
    );
    let mut missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    ensure!(
        missing.is_empty(),
        "packages for the lab's machines are missing; run: apt-get install {}",
        missing.join(" ")
    );
    Ok(())
}

/// Like `check`, for tests, which are skipped where machines are not available.
pub fn available() -> Result<(), Unavailable> {
    check().map_err(|error| Unavailable { what: "the lab's machines".into(), why: error.to_string() })
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
