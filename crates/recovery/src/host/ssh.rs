//! Machines over SSH: the system's OpenSSH, with its configuration, keys, agents and jump hosts.
//!
//! One connection a machine (a master process, in the terms of `ssh_config`), opened when it is first needed, and
//! again when it has died. A command is a short-lived `ssh` that goes through the master's control socket.

mod master;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Mutex, Semaphore};

use super::process::{Ended, Failure, drive};
use super::{Command, Host, HostError, Output};
use crate::inventory::Ssh;
use master::Master;

/// Commands at the same time on one connection: sshd refuses more than `MaxSessions`, 10 by default.
const SESSIONS: usize = 8;
/// What `ssh` ends with when it failed itself: the shell we start there never does.
const SSH_FAILED: i32 = 255;

/// Prefix that runs a command as root with English messages.
pub(super) fn as_root(root: bool) -> &'static [&'static str] {
    if root { &["env", "LC_ALL=C"] } else { &["sudo", "-n", "env", "LC_ALL=C"] }
}

/// A machine over SSH.
#[derive(Debug)]
pub struct SshHost {
    name: String,
    target: Target,
    connection: Mutex<Connection>,
    sessions: Semaphore,
}

/// What `ssh` is told of a machine.
#[derive(Debug)]
struct Target {
    destination: String,
    user: Option<String>,
    config: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Connection {
    master: Option<Arc<Master>>,
    /// When opening it last failed, and how.
    failed: Option<(Instant, HostError)>,
}

impl SshHost {
    /// A machine under its name in the inventory, and what to give to `ssh`. Nothing is connected yet.
    pub fn new(name: impl Into<String>, destination: impl Into<String>, ssh: &Ssh) -> Self {
        let destination = destination.into();
        // A user in the destination overrides the general one.
        let user = ssh.user.clone().filter(|_| !destination.contains('@'));
        Self {
            name: name.into(),
            target: Target { destination, user, config: ssh.config.clone() },
            connection: Mutex::default(),
            sessions: Semaphore::new(SESSIONS),
        }
    }

    /// The connection, opened if need be.
    async fn master(&self) -> Result<Arc<Master>, HostError> {
        let asked = Instant::now();
        let mut connection = self.connection.lock().await;
        if let Some(master) = &connection.master {
            if master.answers().await {
                return Ok(Arc::clone(master));
            }
            connection.master = None;
        }
        if let Some((failed, error)) = &connection.failed {
            // Another task connected while we waited.
            if *failed >= asked {
                return Err(error.clone());
            }
        }
        match Master::open(&self.name, &self.target).await {
            Ok(master) => {
                let master = Arc::new(master);
                connection.master = Some(Arc::clone(&master));
                Ok(master)
            }
            Err(error) => {
                connection.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Opens a new connection for the next command. Commands that still use the old one keep it.
    async fn forget(&self, broken: &Arc<Master>) {
        let mut connection = self.connection.lock().await;
        if connection.master.as_ref().is_some_and(|master| Arc::ptr_eq(master, broken)) {
            connection.master = None;
        }
    }

    async fn ended(
        &self,
        command: &Command,
        master: &Arc<Master>,
        ended: Ended,
    ) -> Result<Output, HostError> {
        match ended.status.code() {
            Some(code) if code != SSH_FAILED => {
                master.heard();
                Ok(Output { code, stdout: Vec::new(), stderr: ended.stderr })
            }
            _ => {
                self.forget(master).await;
                let said = refusal::line(&String::from_utf8_lossy(&ended.stderr));
                let why = format!("connection lost while running: {command} {said}");
                Err(HostError::Unreachable { host: self.name.clone(), why: why.trim_end().into() })
            }
        }
    }
}

#[async_trait]
impl Host for SshHost {
    fn name(&self) -> &str {
        &self.name
    }

    async fn transport(
        &self,
        command: &Command,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Output, HostError> {
        let (host, name) = (self.name.clone(), || command.to_string());
        // Never closed.
        let _place = self.sessions.acquire().await;
        let master = self.master().await?;
        let input = command.stdin.as_slice().chain(input);
        match drive(master.client(&command.argv), input, output, command.timeout).await {
            Ok(ended) => self.ended(command, &master, ended).await,
            Err(Failure::Timeout) => {
                Err(HostError::Timeout { host, command: name(), limit: command.timeout })
            }
            Err(Failure::Io(error)) => {
                Err(HostError::Failed { host, command: name(), why: error.to_string() })
            }
        }
    }
}
