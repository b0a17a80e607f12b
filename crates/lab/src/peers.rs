//! The programs Lifeboat is tested against: etcd with its tools, bbolt, and Kubernetes with CoreDNS.
//!
//! They are built (or, for etcd 3.4, taken from Debian's packages) once, into a cache outside the source tree:
//! `$LIFEBOAT_CACHE`, else `$XDG_CACHE_HOME/lifeboat`, else `~/.cache/lifeboat`. Nothing is installed.

mod debian;
mod golang;
mod skip;

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;

pub use self::skip::need;
/// The etcd releases tests run against; 3.4 comes from the packages of Debian 12.
pub use lifeboat_etcd::EtcdVersion;

/// Paths of one etcd release's programs.
#[derive(Clone, Debug)]
pub struct EtcdBinaries {
    /// The server.
    pub etcd: PathBuf,
    /// The client.
    pub etcdctl: PathBuf,
    /// The offline tool; 3.4 has none, and uses `etcdctl snapshot` instead.
    pub etcdutl: Option<PathBuf>,
}

/// Why a peer is not available on this machine.
#[derive(Clone, Debug)]
pub struct Unavailable {
    /// The peer, such as `etcd 3.6`.
    pub what: String,
    /// The reason, in one line.
    pub why: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Unavailable {}

/// The programs of etcd `version`, built first if they are not in the cache.
///
/// The first call for a version can take minutes. Concurrent processes and threads wait for one build. The result is
/// kept for the life of the process.
pub fn etcd(version: EtcdVersion) -> Result<EtcdBinaries, Unavailable> {
    static FOUND: [OnceLock<Result<PathBuf, Unavailable>>; 4] = [const { OnceLock::new() }; 4];
    let slot = match version {
        EtcdVersion::V3_4 => 0,
        EtcdVersion::V3_5 => 1,
        EtcdVersion::V3_6 => 2,
        EtcdVersion::V3_7 => 3,
    };
    let dir = find(&FOUND[slot], &format!("etcd {version}"), || match version {
        EtcdVersion::V3_4 => debian::etcd_3_4(),
        EtcdVersion::V3_5 => golang::build(&golang::ETCD_3_5),
        EtcdVersion::V3_6 => golang::build(&golang::ETCD_3_6),
        EtcdVersion::V3_7 => golang::build(&golang::ETCD_3_7),
    })?;
    Ok(EtcdBinaries {
        etcd: dir.join("etcd"),
        etcdctl: dir.join("etcdctl"),
        etcdutl: (version != EtcdVersion::V3_4).then(|| dir.join("etcdutl")),
    })
}

/// The `bbolt` command, built first if it is not in the cache.
pub fn bbolt() -> Result<PathBuf, Unavailable> {
    static FOUND: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    Ok(find(&FOUND, "bbolt", || golang::build(&golang::BBOLT))?.join("bbolt"))
}

/// The directory with Kubernetes' programs (`kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet`,
/// `kube-proxy`, `kubectl`), built first if they are not in the cache, which takes about ten minutes on two cores.
pub fn kubernetes() -> Result<PathBuf, Unavailable> {
    static FOUND: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    find(&FOUND, "kubernetes", || golang::build(&golang::KUBERNETES))
}

/// The `coredns` server, built first if it is not in the cache.
pub fn coredns() -> Result<PathBuf, Unavailable> {
    static FOUND: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    Ok(find(&FOUND, "coredns", || golang::build(&golang::COREDNS))?.join("coredns"))
}

fn find(
    found: &OnceLock<Result<PathBuf, Unavailable>>,
    what: &str,
    install: impl FnOnce() -> Result<PathBuf>,
) -> Result<PathBuf, Unavailable> {
    let result = found.get_or_init(|| {
        install()
            .map_err(|error| Unavailable { what: what.into(), why: format!("{error:#}").replace('\n', "; ") })
    });
    result.clone()
}
