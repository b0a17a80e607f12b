//! The programs of the machines.

use std::path::PathBuf;

use anyhow::Result;

use crate::peers::{self, EtcdBinaries, EtcdVersion};

/// Their directory on a machine, as in kubeasz.
pub(crate) const BIN: &str = "/opt/kube/bin";

/// Programs in the cache.
pub(crate) struct Binaries {
    /// etcd 3.6.
    pub etcd: EtcdBinaries,
    /// The directory with Kubernetes' programs.
    pub kubernetes: PathBuf,
    /// CoreDNS.
    pub coredns: PathBuf,
}

impl Binaries {
    /// Builds what is not in the cache.
    pub fn get() -> Result<Self> {
        Ok(Self {
            etcd: peers::etcd(EtcdVersion::V3_6)?,
            kubernetes: peers::kubernetes()?,
            coredns: peers::coredns()?,
        })
    }

    /// Each program, and its path on a machine.
    pub fn in_machine(&self) -> Vec<(PathBuf, String)> {
        let kubernetes = [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ]
        .map(|name| self.kubernetes.join(name));
        let etcd = [Some(self.etcd.etcd.clone()), Some(self.etcd.etcdctl.clone()), self.etcd.etcdutl.clone()];
        kubernetes
            .into_iter()
            .chain(etcd.into_iter().flatten())
            .filter_map(|path| {
                let name = path.file_name()?.to_string_lossy().into_owned();
                Some((path, format!("{BIN}/{name}")))
            })
            .collect()
    }
}
