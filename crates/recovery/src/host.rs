//! Machines: one trait, over SSH or for the machine Lifeboat runs on.

mod command;
mod error;
mod local;
mod process;
mod quote;
mod send;
mod ssh;
mod transfer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::inventory::Inventory;
pub use command::{BUSY, Command, Output};
pub use error::HostError;
pub use local::LocalHost;
pub(crate) use send::{has_digest, seconds as transfer_seconds, send};
pub use ssh::SshHost;
pub(crate) use transfer::digest;

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

/// A machine commands run on, as root. Implementations say how a command gets there; all else follows from it.
#[async_trait]
pub trait Host: Send + Sync {
    /// Its name in the inventory.
    fn name(&self) -> &str;

    /// Runs a command whose input and output may be larger than memory: it reads [`Command::stdin`] and then
    /// `input`, and what it writes goes to `output` as it comes. [`Output::stdout`] is empty.
    ///
    /// # Errors
    /// The machine cannot be reached, does not let us in, shows another host key, or the time is up.
    async fn pipe(
        &self,
        command: &Command,
        input: &mut (dyn AsyncRead + Send + Unpin),
        output: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Output, HostError>;

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

    /// Copies a local file to an absolute path there that does not exist or is replaced at once: written beside it,
    /// compared by SHA-256, synced, renamed. Directories that are not there are made with mode 0700.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`HostError::Failed`] when it could not be written or reads back different.
    async fn upload(&self, from: &Path, to: &Path, mode: u32) -> Result<(), HostError> {
        self.upload_to(None, from, to, mode).await
    }

    /// The same, and only to the machine with this id: nothing is sent to another one that answers at its address.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    async fn upload_to(
        &self,
        machine: Option<&str>,
        from: &Path,
        to: &Path,
        mode: u32,
    ) -> Result<(), HostError> {
        transfer::upload(self, machine, from, to, mode).await
    }

    /// Copies a file from there to a local path, 0600, in the same way.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`HostError::Failed`] when it could not be read or arrived different.
    async fn download(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        transfer::download(self, from, to).await
    }
}
