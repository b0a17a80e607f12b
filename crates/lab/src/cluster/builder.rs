//! Builds a cluster: its release, size and settings, and the resulting command lines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use super::member::{Member, MemberCommand};
use super::tls::TlsFiles;
use super::{Cluster, ClusterLayout, tls};
use crate::peers::{self, EtcdVersion};

/// Time limit for a new cluster to become healthy, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a cluster is started with other ports, because another process took one just before it listened.
const PORT_CLASHES: usize = 3;

/// Settings of a cluster to start.
#[derive(Debug)]
pub struct ClusterBuilder {
    version: EtcdVersion,
    members: usize,
    tls: bool,
    layout: Option<ClusterLayout>,
    dir: Option<PathBuf>,
    restored: Vec<PathBuf>,
    flags: Vec<String>,
    env: Vec<(String, String)>,
}

impl ClusterBuilder {
    /// One member without TLS, its data in a temporary directory.
    #[must_use]
    pub fn new(version: EtcdVersion) -> Self {
        Self {
            version,
            members: 1,
            tls: false,
            layout: None,
            dir: None,
            restored: Vec::new(),
            flags: Vec::new(),
            env: Vec::new(),
        }
    }

    /// How many members, 1 to 5. A [`layout`](Self::layout) overrides it.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// TLS with client certificates, for clients and peers. A [`layout`](Self::layout) overrides it.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Names, URLs and token chosen beforehand, for clusters whose data dirs are restored first.
    #[must_use]
    pub fn layout(mut self, layout: ClusterLayout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Keeps data dirs, logs and certificates in `dir` after the cluster is dropped, as `m1`, `m1.log`, ..., `tls`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Starts from data dirs that exist already (each holds `member`), one for each member in the layout's order.
    /// They are used in place, and not removed.
    #[must_use]
    pub fn restored<P: Into<PathBuf>>(mut self, data_dirs: impl IntoIterator<Item = P>) -> Self {
        self.restored = data_dirs.into_iter().map(Into::into).collect();
        self
    }

    /// One more flag for every member, such as `--snapshot-count=100`; it overrides the usual ones.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// One more environment variable for every member, such as `ETCD_VERIFY` = `all`.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Never syncs to disk. Much faster, and a kill -9 still loses nothing: the page cache keeps it.
    #[must_use]
    pub fn unsafe_no_fsync(self) -> Self {
        self.flag("--unsafe-no-fsync")
    }

    /// Starts the members and waits until the cluster is healthy.
    pub fn start(mut self) -> Result<Cluster> {
        // Ports can be chosen again only if they were chosen here.
        let attempts = if self.layout.is_some() || self.dir.is_some() { 1 } else { PORT_CLASHES };
        let mut attempt = 1;
        loop {
            let layout = self.take_layout()?;
            let result = self.assemble(layout).and_then(|mut cluster| {
                cluster.wait_healthy(START_LIMIT)?;
                Ok(cluster)
            });
            match result {
                Err(error)
                    if attempt < attempts && format!("{error:#}").contains("address already in use") =>
                {
                    attempt += 1;
                }
                result => return result.with_context(|| format!("start an etcd {} cluster", self.version)),
            }
        }
    }

    /// Starts the members without waiting, for clusters that are not expected to become healthy.
    pub fn spawn(mut self) -> Result<Cluster> {
        let layout = self.take_layout()?;
        self.assemble(layout)
    }

    fn take_layout(&mut self) -> Result<ClusterLayout> {
        match self.layout.take() {
            Some(layout) => Ok(layout),
            None if self.tls => ClusterLayout::with_tls(self.members),
            None => ClusterLayout::new(self.members),
        }
    }

    fn assemble(&self, layout: ClusterLayout) -> Result<Cluster> {
        let binaries = peers::etcd(self.version)?;
        let (dir, temporary) = match &self.dir {
            Some(dir) => {
                fs::create_dir_all(dir)?;
                (dir.clone(), None)
            }
            None => {
                let temporary =
                    tempfile::Builder::new().prefix("lab-etcd-").tempdir().context("create a directory")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let data_dirs = self.data_dirs(&dir, &layout)?;
        let tls = layout.tls().then(|| tls::issue(&dir.join("tls"))).transpose()?;
        let members = layout.members().iter().zip(data_dirs).enumerate().map(|(i, (member, data_dir))| {
            let command = MemberCommand {
                program: binaries.etcd.clone(),
                flags: self.flags(&layout, i, &data_dir, tls.as_ref()),
                env: self.environment(),
            };
            let log = dir.join(format!("{}.log", member.name));
            Member::new(member.name.clone(), member.client_url.clone(), data_dir, log, command)
        });
        let members = members.collect();
        let mut cluster = Cluster::new(self.version, binaries, layout, members, tls, temporary)?;
        cluster.spawn_all()?;
        Ok(cluster)
    }

    fn data_dirs(&self, dir: &Path, layout: &ClusterLayout) -> Result<Vec<PathBuf>> {
        if self.restored.is_empty() {
            return Ok(layout.members().iter().map(|member| dir.join(&member.name)).collect());
        }
        let (dirs, members) = (self.restored.len(), layout.members().len());
        ensure!(dirs == members, "got {dirs} restored data dirs for {members} members");
        // etcd would bootstrap an empty member in a directory without one, and the test would prove nothing.
        for dir in &self.restored {
            ensure!(
                dir.join("member").is_dir(),
                "{} is not a data dir (no `member` directory)",
                dir.display()
            );
        }
        Ok(self.restored.clone())
    }

    fn flags(
        &self,
        layout: &ClusterLayout,
        i: usize,
        data_dir: &Path,
        tls: Option<&TlsFiles>,
    ) -> Vec<String> {
        let member = &layout.members()[i];
        let mut flags = vec![
            format!("--name={}", member.name),
            format!("--data-dir={}", data_dir.display()),
            format!("--listen-client-urls={}", member.client_url),
            format!("--advertise-client-urls={}", member.client_url),
            format!("--listen-peer-urls={}", member.peer_url),
            format!("--initial-advertise-peer-urls={}", member.peer_url),
            format!("--initial-cluster={}", layout.initial_cluster()),
            format!("--initial-cluster-token={}", layout.token()),
            // Under systemd, the default is the journal.
            "--log-outputs=stderr".to_owned(),
        ];
        if self.version == EtcdVersion::V3_4 {
            flags.push("--logger=zap".to_owned());
        }
        if let Some(tls) = tls {
            for (prefix, pair) in [("", &tls.server), ("peer-", &tls.peer)] {
                flags.push(format!("--{prefix}cert-file={}", pair.cert.display()));
                flags.push(format!("--{prefix}key-file={}", pair.key.display()));
                flags.push(format!("--{prefix}trusted-ca-file={}", tls.ca.display()));
                flags.push(format!("--{prefix}client-cert-auth=true"));
            }
        }
        flags.extend(self.flags.iter().cloned());
        flags
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut env = Vec::new();
        if self.version == EtcdVersion::V3_4 && cfg!(target_arch = "aarch64") {
            // 3.4 refuses to run on arm64 without this variable.
            env.push(("ETCD_UNSUPPORTED_ARCH".to_owned(), "arm64".to_owned()));
        }
        env.extend(self.env.iter().cloned());
        env
    }
}
