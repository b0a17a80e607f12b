//! etcd clusters on loopback: started, hurt and healed by tests.
//!
//! Members are child processes of the test, known by their process ids and killed when the [`Cluster`] goes out of
//! scope. The interface blocks; call it from plain threads, not from inside an async runtime.

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

/// How long one etcdctl may run.
const ETCDCTL_LIMIT: Duration = Duration::from_secs(60);

/// A running etcd cluster. Members are counted from 0; their names from `m1`.
#[derive(Debug)]
pub struct Cluster {
    version: EtcdVersion,
    binaries: EtcdBinaries,
    layout: ClusterLayout,
    members: Vec<Member>,
    tls: Option<TlsFiles>,
    runtime: Runtime,
    /// Removed after the members are dead.
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
        // Its worker runs between the calls of `block_on` too. On a runtime that stands still, connections would not
        // see a member's goodbye, and the member would wait seconds for them to close before it stops.
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

    /// The release it runs.
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

    /// How many members it has, dead ones included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The certificates, if it speaks TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// The data dir of member `i`.
    #[must_use]
    pub fn data_dir(&self, i: usize) -> &Path {
        &self.members[i].data_dir
    }

    /// Where clients reach member `i`.
    #[must_use]
    pub fn client_endpoint(&self, i: usize) -> &str {
        &self.members[i].client_url
    }

    /// Where all members are reached, in order.
    #[must_use]
    pub fn client_endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client_url.clone()).collect()
    }

    /// The log of member `i`, over all its lives.
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

    /// Like [`Cluster::restart`], with more flags for this one life, such as `--force-new-cluster`.
    pub fn restart_with(&mut self, i: usize, flags: &[&str]) -> Result<()> {
        // A member that finds its WAL ignores the state. One whose data dir was wiped must wait to be let in by the
        // others instead of starting a second cluster on its own.
        let flags = [&["--initial-cluster-state=existing"], flags].concat();
        self.members[i].stop()?;
        self.members[i].spawn(&flags)
    }

    /// Waits until every member that was started and not ended since knows a leader and answers a linearizable
    /// read; fails at once when one of them died by itself.
    pub fn wait_healthy(&mut self, limit: Duration) -> Result<()> {
        health::wait(self, limit)
    }

    /// A new connection to member `i`.
    pub fn client(&self, i: usize) -> Result<Client> {
        self.block_on(health::connect(self.client_endpoint(i), self.tls()))
            .with_context(|| format!("connect to etcd member {}", self.members[i].name))
    }

    /// Runs a future of the client to its end, on the runtime its connections belong to.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs etcdctl against member `i`; failure of the command is in the output's status.
    pub fn etcdctl<S: AsRef<OsStr>>(&self, i: usize, args: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut command = Command::new(&self.binaries.etcdctl);
        member::forget_etcd_settings(&mut command);
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(self.client_endpoint(i));
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.ca);
            command.arg("--cert").arg(&tls.client.cert).arg("--key").arg(&tls.client.key);
        }
        process::run(command.args(args), ETCDCTL_LIMIT)
            .with_context(|| format!("run etcdctl against member {i}"))
    }

    /// What etcdctl prints, which must succeed.
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
            // Before the first one dies: the complaints of the others would push out what led to the panic.
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
