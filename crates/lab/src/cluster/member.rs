//! One etcd process: its command line, start and stop, and its log.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use crate::process;

/// Time limit of a graceful stop: a leader first transfers leadership, which can take several seconds.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How much of a log is shown.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 32 * 1024;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client_url: String,
    pub(super) data_dir: PathBuf,
    pub(super) log: PathBuf,
    pub(super) command: MemberCommand,
    child: Option<Child>,
}

/// The command line and environment of a member, kept for restarts.
#[derive(Clone, Debug)]
pub(super) struct MemberCommand {
    pub(super) program: PathBuf,
    pub(super) flags: Vec<String>,
    pub(super) env: Vec<(String, String)>,
}

impl Member {
    pub(super) fn new(
        name: String,
        client_url: String,
        data_dir: PathBuf,
        log: PathBuf,
        command: MemberCommand,
    ) -> Self {
        Self { name, client_url, data_dir, log, command, child: None }
    }

    /// Starts the process, and does not wait until it is ready.
    pub(super) fn spawn(&mut self, more_flags: &[&str]) -> Result<()> {
        ensure!(self.child.is_none(), "member {} is already running", self.name);
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?.into_parts().0;
        let mut command = Command::new(&self.command.program);
        remove_etcd_variables(&mut command);
        command
            .args(&self.command.flags)
            .args(more_flags)
            .envs(self.command.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log between stdout and stderr")?)
            .stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("start etcd member {}", self.name))?);
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// The exit status, if the process has exited by itself.
    pub(super) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait().with_context(|| format!("check on etcd member {}", self.name)),
            None => Ok(None),
        }
    }

    /// SIGKILL: what a power cut or the OOM killer does.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().with_context(|| format!("kill etcd member {}", self.name))?;
            child.wait().with_context(|| format!("wait for etcd member {}", self.name))?;
        }
        Ok(())
    }

    /// Sends SIGTERM and waits. A member that does not stop in time is killed, and that is an error.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        // `Child` has not been waited for, so its pid has not been reused.
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(child), Signal::TERM)
                .with_context(|| format!("stop etcd member {}", self.name))?;
        }
        if process::wait(child, STOP_LIMIT)?.is_none() {
            self.kill()?;
            bail!("etcd member {} did not stop within {STOP_LIMIT:?}{}", self.name, self.log_tail());
        }
        self.child = None;
        Ok(())
    }

    /// The last lines of the log, to append to an error message.
    pub(super) fn log_tail(&self) -> String {
        let tail = tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"));
        format!("\n--- end of {}:\n{tail}\n---", self.log.display())
    }
}

/// Removes etcd's settings from the command's environment: etcd and etcdctl read every flag from there too.
pub(super) fn remove_etcd_variables(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("ETCD_") || name.starts_with("ETCDCTL_") {
            command.env_remove(&variable);
        }
    }
}

fn tail(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines: Vec<String> = (0..5000).map(|i| format!("line {i}")).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        assert_eq!(tail(&path).unwrap(), lines[4980..].join("\n"));
    }
}
