//! One connection: a master process of OpenSSH, with its control socket in a directory of our own.
//!
//! The `openssh` crate holds the session and ends the master with it. The processes are ours, for what the crate's
//! own do not offer: Ctrl-C on the terminal must not reach what runs on a machine, what jump hosts say must be
//! heard, and a command whose master has died must fail instead of connecting by itself.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use openssh::Session;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::super::process::{Kept, drive};
use super::super::{HostError, one_line, quote};
use super::{SSH_FAILED, Target, as_root, refusal};

/// Options of every connection. What is not here is up to `ssh_config`.
const OPTIONS: [&str; 13] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ConnectTimeout=3",
    // A lost machine is detected after 4 to 6 seconds.
    "ServerAliveInterval=2",
    "ServerAliveCountMax=2",
    "LogLevel=ERROR",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
];
/// Longest a login may take, all jump hosts included; and as long again its first command, before which login shells
/// and PAM modules run.
const LOGIN: Duration = Duration::from_secs(10);
/// How long after the last sign of life a connection is asked whether it still lives.
const FRESH: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Runs what follows, and keeps 255 for `ssh` itself. A shell of its own, for login shells that are not POSIX shells.
const SHELL: &str = r#""$@"; code=$?; [ $code -ne 255 ] || code=254; exit $code"#;

/// An open connection.
#[derive(Debug)]
pub(super) struct Master {
    session: Session,
    root: bool,
    heard: Mutex<Instant>,
}

impl Master {
    /// Logs in, and finds out whether it takes `sudo` to be root.
    pub(super) async fn open(host: &str, target: &Target) -> Result<Self, HostError> {
        let failed = |error: io::Error| HostError::Failed {
            host: host.into(),
            command: "ssh".into(),
            why: match error.kind() {
                io::ErrorKind::NotFound => "not installed: install the OpenSSH client".into(),
                _ => error.to_string(),
            },
        };
        let dir = control_dir().map_err(failed)?;
        let log = dir.path().join("log");
        let mut ssh = ssh(target);
        // The names `Session` looks for.
        ssh.args(["-M", "-N", "-f", "-S"]).arg(dir.path().join("master"));
        // When Lifeboat is killed, the master ends by itself.
        ssh.args(["-o", "ControlPersist=60s", "--", &target.destination]);
        let (ended, said) = login(ssh, &log).await.map_err(failed)?;
        if !ended {
            let said = if refusal::is_behind_a_jump(&said) { plain_login(target, &log).await } else { said };
            return Err(refusal::read(host, &said));
        }
        let session = Session::new_process_mux(dir);
        let mut master = Self { session, root: true, heard: Mutex::new(Instant::now()) };
        master.become_root(host).await?;
        Ok(master)
    }

    /// A machine that is slow to answer, or whose connection breaks, has refused nothing.
    async fn become_root(&mut self, host: &str) -> Result<(), HostError> {
        let denied = |why: String| Err(HostError::Denied { host: host.into(), why });
        let unreachable = |said: &str| {
            let why = format!("logged in, but the first command did not end: {said}");
            Err(HostError::Unreachable { host: host.into(), why: why.trim_end_matches([' ', ':']).into() })
        };
        let (code, uid, said) = self.ask(&["id", "-u"], LOGIN).await;
        match code {
            Some(0) => {}
            None | Some(SSH_FAILED) => return unreachable(&said),
            Some(_) => return denied(format!("no command can be run: {said}")),
        }
        match uid.trim() {
            "0" => return Ok(()),
            // It would be read as what a command wrote.
            text if text.lines().count() > 1 => {
                let printed = one_line(text.lines().next().unwrap_or_default().as_bytes());
                return denied(format!(
                    "the login shell prints `{printed}` before every command: let its start-up files (~/.bashrc) print \
                     nothing in a shell that is not interactive"
                ));
            }
            _ => self.root = false,
        }
        let (code, _, said) = self.ask(&["true"], LOGIN).await;
        match code {
            Some(0) => Ok(()),
            None | Some(SSH_FAILED) => unreachable(&said),
            Some(_) => denied(format!("root is required: log in as root or allow passwordless sudo: {said}")),
        }
    }

    /// Whether the connection is alive.
    pub(super) async fn answers(&self) -> bool {
        if UnixStream::connect(self.session.control_socket()).await.is_err() {
            return false;
        }
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.elapsed() < FRESH {
            return true;
        }
        let answers = self.ask(&["true"], ANSWER).await.0 == Some(0);
        if answers {
            self.heard();
        }
        answers
    }

    /// Notes a sign of life.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The `ssh` that runs a command through this connection, and by no other way.
    pub(super) fn client(&self, argv: &[impl AsRef<str>]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-S"]);
        let words = ["sh", "-c", SHELL, "lifeboat"].into_iter().chain(as_root(self.root).iter().copied());
        let words = words.chain(argv.iter().map(AsRef::as_ref));
        ssh.arg(self.session.control_socket()).args(["--", "lifeboat"]).arg(quote::line(words));
        ssh
    }

    /// Exit code, output and what was said. No exit code: no answer within the limit, or ended by a signal.
    async fn ask(&self, argv: &[&str], limit: Duration) -> (Option<i32>, String, String) {
        let mut kept = Kept::default();
        let Ok(ended) = drive(self.client(argv), tokio::io::empty(), &mut kept, limit).await else {
            return (None, String::new(), format!("no answer within {} s", limit.as_secs()));
        };
        let said = refusal::line(&String::from_utf8_lossy(&ended.stderr));
        (ended.status.code(), String::from_utf8_lossy(&kept.bytes).into_owned(), said)
    }
}

/// How control directories are called.
const CONTROL_DIR: &str = "lifeboat-ssh-";
/// A directory without a master is left over when nothing has happened in it for so long.
const LEFT_OVER: Duration = Duration::from_secs(600);

/// Where the control socket lies, for us alone.
fn control_dir() -> io::Result<TempDir> {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(remove_left_overs);
    tempfile::Builder::new().prefix(CONTROL_DIR).permissions(Permissions::from_mode(0o700)).tempdir()
}

/// A Lifeboat that was killed leaves its control directories; their masters have ended by themselves, and taken their
/// sockets with them.
fn remove_left_overs() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(CONTROL_DIR);
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
        let old = age.is_some_and(|age| age > LEFT_OVER);
        if ours && old && metadata.is_dir() && !entry.path().join("master").exists() {
            // Directories of other users cannot be removed, and need not be.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// `ssh` with everything but what it is for.
fn ssh(target: &Target) -> Command {
    let mut ssh = Command::new("ssh");
    for option in OPTIONS {
        ssh.args(["-o", option]);
    }
    if let Some(user) = &target.user {
        ssh.args(["-l", user]);
    }
    if let Some(config) = &target.config {
        ssh.arg("-F").arg(config);
    }
    ssh.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
    ssh.process_group(0).kill_on_drop(true);
    ssh
}

/// Whether it logged in, and what it said.
async fn login(mut ssh: Command, log: &Path) -> io::Result<(bool, String)> {
    // A file, not a pipe: the master would hold a pipe open.
    ssh.stderr(fs::File::create(log)?.into_parts().0);
    let status = tokio::time::timeout(LOGIN, ssh.status()).await;
    let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    match status {
        Ok(status) => Ok((status?.success(), said)),
        Err(_) => Ok((false, format!("no login within {} s\n{said}", LOGIN.as_secs()))),
    }
}

/// What is said when no master is to be left behind: then it is heard, too, from jump hosts.
async fn plain_login(target: &Target, log: &Path) -> String {
    let mut ssh = ssh(target);
    ssh.args(["-S", "none", "-o", "ControlPersist=no", "--", &target.destination, "true"]);
    let Ok((_, said)) = login(ssh, log).await else { return String::new() };
    said
}
