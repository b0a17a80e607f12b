//! A real sshd on loopback, with its own keys and configuration: tests log in to it as to a machine.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::peers::Unavailable;
use crate::process;

const LIMIT: Duration = Duration::from_secs(20);
const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd that accepts one key, and a client configuration for it. Stopped when dropped.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    port: u16,
    server: Child,
}

impl Sshd {
    /// Starts an sshd.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with("")
    }

    /// Starts an sshd with more lines in its `sshd_config`.
    pub fn start_with(config: &str) -> Result<Self, Unavailable> {
        let unavailable = |why: String| Unavailable { what: "sshd".into(), why };
        if !Path::new(SSHD).exists() {
            return Err(unavailable("not installed: install openssh-server".into()));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(unavailable("root can log in only if it runs as root".into()));
        }
        Self::try_start(config).map_err(|error| unavailable(format!("{error:#}")))
    }

    fn try_start(config: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("lifeboat-sshd-")?;
        for key in ["host", "other", "client", "unauthorized"] {
            keygen(&dir.path().join(key))?;
        }
        // sshd's privilege separation directory, which its unit usually creates.
        fs::create_dir_all("/run/sshd")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let path = dir.path().display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {path}/host\nAuthorizedKeysFile {path}/client.pub\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxSessions 10\n{config}\n"
        );
        fs::write(dir.path().join("sshd_config"), text)?;
        let server = serve(dir.path())?;
        let mut sshd = Self { dir, port, server };
        sshd.trust("host")?;
        sshd.wait_ready()?;
        Ok(sshd)
    }

    /// An `ssh_config` with three hosts: `machine`; `unauthorized`, the same with a key that it does not accept; and
    /// `closed`, a port on which nothing listens.
    pub fn ssh_config(&self) -> Result<PathBuf> {
        let (dir, port) = (self.dir.path().display(), self.port);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let host = |name: &str, key: &str, port: u16| {
            format!("Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {dir}/{key}\n")
        };
        let text = [
            host("machine", "client", port),
            host("unauthorized", "unauthorized", port),
            host("closed", "client", free),
            format!(
                "Host *\n  User root\n  IdentitiesOnly yes\n  UserKnownHostsFile {dir}/known_hosts\n  \
                 GlobalKnownHostsFile /dev/null\n"
            ),
        ];
        let path = self.dir.path().join("ssh_config");
        fs::write(&path, text.concat())?;
        Ok(path)
    }

    /// A directory for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes the client expect a different host key.
    pub fn expect_another_key(&self) -> Result<()> {
        self.trust("other")
    }

    /// Makes the client expect the right host key.
    pub fn expect_the_key(&self) -> Result<()> {
        self.trust("host")
    }

    /// Removes the host key from the client's `known_hosts`.
    pub fn forget_the_key(&self) -> Result<()> {
        Ok(fs::write(self.dir.path().join("known_hosts"), "")?)
    }

    fn trust(&self, key: &str) -> Result<()> {
        let public = fs::read_to_string(self.dir.path().join(format!("{key}.pub")))?;
        let known = format!("[127.0.0.1]:{} {public}", self.port);
        Ok(fs::write(self.dir.path().join("known_hosts"), known)?)
    }

    /// Cuts every connection, as a reboot does.
    pub fn cut(&self) -> Result<()> {
        self.signal_sessions(Signal::KILL)
    }

    /// Freezes every connection without closing it, as a lost NIC does.
    pub fn freeze(&self) -> Result<()> {
        self.signal_sessions(Signal::STOP)
    }

    /// Refuses new connections.
    pub fn stop(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    /// Accepts connections again.
    pub fn restart(&mut self) -> Result<()> {
        self.server = serve(self.dir.path())?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.server.try_wait()? {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                bail!("sshd ended with {status}: {}", log.trim());
            }
            if Instant::now() > deadline {
                bail!("sshd does not listen");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn signal_sessions(&self, signal: Signal) -> Result<()> {
        let listener = i32::try_from(self.server.id())?;
        for pid in children(listener)? {
            // It may have ended in the meantime.
            let _ = kill_process(pid, signal);
        }
        Ok(())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.cut();
        let _ = self.stop();
    }
}

fn keygen(path: &Path) -> Result<()> {
    let mut keygen = Command::new("ssh-keygen");
    process::run_ok(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(path), LIMIT)?;
    Ok(())
}

fn serve(dir: &Path) -> Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let mut sshd = Command::new(SSHD);
    sshd.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config")).stdin(Stdio::null()).stdout(Stdio::null());
    sshd.stderr(log.into_parts().0).spawn().context("run sshd")
}

/// The running child processes of a process.
fn children(parent: i32) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        // `pid (comm) state ppid ...`; comm may contain any character.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        if after.split(' ').nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}
