//! The machine Lifeboat runs on.

use std::os::unix::process::ExitStatusExt;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::process::{Failure, drive};
use super::{Command, Host, HostError, Output};

/// The machine Lifeboat runs on: `ssh: local` in the inventory.
#[derive(Debug)]
pub struct LocalHost {
    name: String,
}

impl LocalHost {
    /// This machine, under its name in the inventory.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Host for LocalHost {
    fn name(&self) -> &str {
        &self.name
    }

    async fn transport(
        &self,
        command: &Command,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Output, HostError> {
        let root = rustix::process::geteuid().is_root();
        let mut words =
            super::ssh::as_root(root).iter().copied().chain(command.argv.iter().map(String::as_str));
        let mut process = tokio::process::Command::new(words.next().unwrap_or_default());
        process.args(words);
        let input = command.stdin.as_slice().chain(input);
        match drive(process, input, output, command.timeout).await {
            Ok(ended) => {
                let signal = ended.status.signal().map(|signal| 128 + signal);
                let code = ended.status.code().or(signal).unwrap_or(-1);
                if !root && ended.stderr.starts_with(b"sudo: ") {
                    let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
                    return Err(HostError::Denied { host: self.name.clone(), why });
                }
                Ok(Output { code, stdout: Vec::new(), stderr: ended.stderr })
            }
            Err(Failure::Timeout) => Err(HostError::Timeout {
                host: self.name.clone(),
                command: command.to_string(),
                limit: command.timeout,
            }),
            Err(Failure::Io(error)) => Err(HostError::Failed {
                host: self.name.clone(),
                command: command.to_string(),
                why: error.to_string(),
            }),
        }
    }
}
