//! etcd clusters on loopback, for tests to start, break and recover.
//!
//! Members are child processes of the test, and are killed when the [`Cluster`] is dropped. The interface blocks: do
//! not call it from an async runtime.

mod builder;
mod health;
mod layout;
mod member;
mod tls;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lifeboat_client::Client;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub use self::builder::ClusterBuilder;
pub use self::layout::{ClusterLayout, MemberLayout};
use self::member::Member;
pub use self::tls::{CertifiedKey, TlsFiles};
use crate::peers::{EtcdBinaries, EtcdVersion};
use crate::process;

/// Time limit of one etcdctl.
const ETCDCTL_LIMIT: Duration = Duration::from_secs(60);

/// A running etcd cluster. Member 0 is called `m1`.
#[derive(Debug)]
pub struct Cluster {
    version: EtcdVersion,
    binaries: EtcdBinaries,
    layout: ClusterLayout,
    members: Vec<Member>,
    tls: Option<TlsFiles>,
    runtime: Runtime,
    /// Removed after the members have been killed.
    _temporary: Option<TempDir>,
}

impl Cluster {
    fn new(
        version: EtcdVersion,
        binaries: EtcdBinaries,
        layout: ClusterLayout,
        members: Vec<Member>,
        tls: Option<TlsFiles>,
        temporary: Option<TempDir>,
    ) -> Result<Self> {
        // A worker thread, so that connections make progress between calls of `block_on`. Otherwise they would not
        // notice that a member closes them, and the member would wait seconds for them before it stops.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("make a runtime")?;
        Ok(Self { version, binaries, layout, members, tls, runtime, _temporary: temporary })
    }

    fn spawn_all(&mut self) -> Result<()> {
        self.layout.release_ports();
        self.members.iter_mut().try_for_each(|member| member.spawn(&["--initial-cluster-state=new"]))
    }

    /// The etcd release.
    #[must_use]
    pub fn version(&self) -> EtcdVersion {
        self.version
    }

    /// The programs of that release.
    #[must_use]
    pub fn binaries(&self) -> &EtcdBinaries {
        &self.binaries
    }

    /// Names, URLs and token.
    #[must_use]
    pub fn layout(&self) -> &ClusterLayout {
        &self.layout
    }

    /// How many members it has, including those that do not run.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The certificates, if it uses TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// The data dir of member `i`.
    #[must_use]
    pub fn data_dir(&self, i: usize) -> &Path {
        &self.members[i].data_dir
    }

    /// The client URL of member `i`.
    #[must_use]
    pub fn client_endpoint(&self, i: usize) -> &str {
        &self.members[i].client_url
    }

    /// The client URLs of all members, in order.
    #[must_use]
    pub fn client_endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client_url.clone()).collect()
    }

    /// The log file of member `i`, over all its restarts.
    #[must_use]
    pub fn log(&self, i: usize) -> &Path {
        &self.members[i].log
    }

    /// The process id of member `i`, unless it was killed or stopped.
    #[must_use]
    pub fn pid(&self, i: usize) -> Option<u32> {
        self.members[i].pid()
    }

    /// Ends member `i` with SIGKILL. The others may have to elect a leader; [`Cluster::wait_healthy`] waits for it.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        self.members[i].kill()
    }

    /// Ends member `i` with SIGTERM and waits until it is gone.
    pub fn stop(&mut self, i: usize) -> Result<()> {
        self.members[i].stop()
    }

    /// Starts member `i` again, stopping it first if it runs. Does not wait for its health.
    pub fn restart(&mut self, i: usize) -> Result<()> {
        self.restart_with(i, &[])
    }

    /// Like [`Cluster::restart`], with more flags for this start, such as `--force-new-cluster`.
    pub fn restart_with(&mut self, i: usize, flags: &[&str]) -> Result<()> {
        // A member with a WAL ignores this flag. One with a wiped data dir must join the others, not start a cluster of
        // its own.
        let flags = [&["--initial-cluster-state=existing"], flags].concat();
        self.members[i].stop()?;
        self.members[i].spawn(&flags)
    }

    /// Waits until every member that should run has a leader and answers a linearizable read; fails at once if one of
    /// them has exited.
    pub fn wait_healthy(&mut self, limit: Duration) -> Result<()> {
        health::wait(self, limit)
    }

    /// A new connection to member `i`.
    pub fn client(&self, i: usize) -> Result<Client> {
        self.block_on(health::connect(self.client_endpoint(i), self.tls()))
            .with_context(|| format!("connect to etcd member {}", self.members[i].name))
    }

    /// Runs a client's future on the runtime that its connections belong to.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs etcdctl against member `i`; the output's status tells whether it failed.
    pub fn etcdctl<S: AsRef<OsStr>>(&self, i: usize, args: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut command = Command::new(&self.binaries.etcdctl);
        member::remove_etcd_variables(&mut command);
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(self.client_endpoint(i));
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.ca);
            command.arg("--cert").arg(&tls.client.cert).arg("--key").arg(&tls.client.key);
        }
        process::run(command.args(args), ETCDCTL_LIMIT)
            .with_context(|| format!("run etcdctl against member {i}"))
    }

    /// Runs etcdctl, which must succeed, and returns its stdout.
    pub fn etcdctl_ok<S: AsRef<OsStr>>(&self, i: usize, args: impl IntoIterator<Item = S>) -> Result<String> {
        let output = self.etcdctl(i, args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "etcdctl: {}: {}", output.status, stderr.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Before the first is killed: what the others log about that would push out the cause of the panic.
            for member in &self.members {
                eprintln!("etcd member {}{}", member.name, member.log_tail());
            }
        }
        for member in &mut self.members {
            if let Err(error) = member.kill() {
                eprintln!("{error:#}");
            }
        }
    }
}
