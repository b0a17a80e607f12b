//! The root file system that all machines share, read-only: Debian 12, made once by debootstrap and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use super::guest::Guest;
use crate::{cache, process};

const RELEASE: &str = "bookworm";
/// Downloading and unpacking take 80 s on two cores.
const LIMIT: Duration = Duration::from_secs(20 * 60);

const PACKAGES: [&str; 20] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "iptables",
    "conntrack",
    "procps",
    "iputils-ping",
    "curl",
    "ca-certificates",
    "kmod",
    "mount",
    "haproxy",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "busybox-static",
    "nfs-ganesha",
    "nfs-ganesha-vfs",
];

/// Units that only some machines run, or none.
const DISABLED: [&str; 8] = [
    "containerd.service",
    "haproxy.service",
    "nfs-ganesha.service",
    "nfs-ganesha-lock.service",
    "nfs-client.target",
    "rpcbind.service",
    "rpcbind.socket",
    "e2scrub_reap.service",
];
/// Units that make no sense in a container, or would delay its boot.
const MASKED: [&str; 8] = [
    "systemd-networkd-wait-online.service",
    "getty.target",
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
];

const FILES: [(&str, &str); 5] = [
    (
        "/etc/systemd/journald.conf.d/lab.conf",
        "[Journal]\nStorage=persistent\nSystemMaxUse=200M\nRateLimitBurst=0\n",
    ),
    // Also limits the wait for Pods' processes that ignore SIGTERM.
    ("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTimeoutStopSec=8s\n"),
    ("/etc/ssh/sshd_config.d/lab.conf", "UseDNS no\nPermitRootLogin prohibit-password\n"),
    ("/etc/environment", "PATH=/opt/kube/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
    // Not loopback: CoreDNS would forward to itself.
    ("/etc/resolv.conf", "nameserver 10.123.0.1\n"),
];

/// The root directory, built first if it is not in the cache.
pub(crate) fn rootfs() -> Result<PathBuf> {
    let files: String = FILES.iter().flat_map(|(path, text)| [*path, *text]).collect();
    let units = [DISABLED.as_slice(), MASKED.as_slice()].concat().concat();
    let digest = cache::digest(&[RELEASE, &PACKAGES.join(","), &files, &units]);
    let dir = cache::install("machines", &format!("base-{digest}"), |dir| {
        let root = dir.join("rootfs");
        bootstrap(&root).context("create the machines' root file system with debootstrap")?;
        configure(&root).context("configure the machines' root file system")
    })?;
    Ok(dir.join("rootfs"))
}

fn bootstrap(root: &Path) -> Result<()> {
    // In its own mount namespace: if it is killed, its mounts (/proc, /sys) must be gone before the directory is
    // removed.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]);
    command.arg(format!("--include={}", PACKAGES.join(","))).arg(RELEASE).arg(root);
    process::run_ok(&mut command, LIMIT)?;
    Ok(())
}

fn configure(root: &Path) -> Result<()> {
    let guest = Guest::new(root);
    for (path, text) in FILES {
        guest.remove(path)?;
        guest.write(path, text)?;
    }
    // Each machine gets its own machine-id and host keys.
    guest.write("/etc/machine-id", "")?;
    guest.link("/var/lib/dbus/machine-id", "/etc/machine-id")?;
    for kind in ["rsa", "ecdsa", "ed25519"] {
        guest.remove(&format!("/etc/ssh/ssh_host_{kind}_key"))?;
        guest.remove(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))?;
    }
    systemctl(root, "enable", &["systemd-networkd.service", "ssh.service"])?;
    systemctl(root, "disable", &DISABLED)?;
    systemctl(root, "mask", &MASKED)?;
    for dir in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        fs::remove_dir_all(root.join(dir))?;
    }
    Ok(())
}

fn systemctl(root: &Path, verb: &str, units: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.arg("--quiet").arg(format!("--root={}", root.display())).arg(verb).args(units);
    process::run_ok(&mut command, Duration::from_secs(60))?;
    Ok(())
}
