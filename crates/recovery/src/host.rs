//! Machines: one trait, over SSH or for the machine Lifeboat runs on.

#[cfg(test)]
mod busybox;
mod command;
mod error;
mod local;
mod process;
mod quote;
mod ssh;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::inventory::Inventory;
pub(crate) use command::one_line;
pub use command::{BUSY, Command, Output};
pub use error::HostError;
pub use local::LocalHost;
pub use ssh::SshHost;
pub(crate) use transfer::{digest, has_digest};
pub use transfer::{fetch, send};

/// Leaves a command and how it ended in the log.
fn log(name: &str, command: &Command, begin: Instant, result: &Result<Output, HostError>) {
    let ms = begin.elapsed().as_millis();
    match result {
        Ok(Output { code, .. }) => debug!(host = name, %command, code, ms, "command ended"),
        Err(error) => debug!(host = name, %command, ms, error = ?error.to_string(), "command failed"),
    }
}

/// The machines of an inventory, by name.
pub type Hosts = BTreeMap<String, Arc<dyn Host>>;

/// The machines of an inventory. None is connected to before it is asked something.
pub fn hosts(inventory: &Inventory) -> Hosts {
    let host = |(name, spec): (&String, &crate::inventory::HostSpec)| {
        let host: Arc<dyn Host> = match spec.ssh.as_deref() {
            Some("local") => Arc::new(LocalHost::new(name)),
            destination => {
                let destination = destination.unwrap_or(&spec.address);
                Arc::new(SshHost::new(name, destination, &inventory.ssh))
            }
        };
        (name.clone(), host)
    };
    inventory.hosts.iter().map(host).collect()
}

/// A machine that commands run on as root. Implementations only define the transport.
#[async_trait]
pub trait Host: Send + Sync {
    /// Its name in the inventory.
    fn name(&self) -> &str;

    /// Runs a command over the transport, for [`pipe`](Self::pipe).
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe).
    async fn transport(
        &self,
        command: &Command,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Output, HostError>;

    /// Runs a command whose input and output may be larger than memory: it reads [`Command::stdin`] and then
    /// `input`, and what it writes goes to `output` as it comes. [`Output::stdout`] is empty.
    ///
    /// # Errors
    /// The machine is unreachable, denies access or has another host key, or the time limit is exceeded.
    async fn pipe(
        &self,
        command: &Command,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Output, HostError> {
        let begin = Instant::now();
        let result = self.transport(command, input, output).await;
        log(self.name(), command, begin, &result);
        result
    }

    /// Runs a command and waits for its end. The command's own failure is not an error here: see
    /// [`Output::success`] and [`run_ok`](Self::run_ok).
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); [`HostError::Failed`] when it wrote more than 64 MiB.
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        let mut kept = process::Kept::default();
        let output = self.pipe(command, &mut tokio::io::empty(), &mut kept).await?;
        Ok(Output { stdout: kept.bytes, ..output })
    }

    /// Runs a command that must succeed.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`HostError::Failed`] with its exit code and what it said.
    async fn run_ok(&self, command: &Command) -> Result<Output, HostError> {
        let output = self.run(command).await?;
        if output.success() {
            return Ok(output);
        }
        Err(HostError::Failed { host: self.name().into(), command: command.to_string(), why: output.why() })
    }
}
