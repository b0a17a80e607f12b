//! Peers written in Go, built from the modules in `lab/peers`. Their `go.mod` pins the releases and their `go.sum` the
//! content; a build needs no network once the modules are in Go's cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::cache;
use crate::process;

/// A cold build of one etcd program with all downloads takes minutes on two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// A Go module that names its programs in `tool` directives.
pub(super) struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Package path, and the name of its program.
    programs: &'static [(&'static str, &'static str)],
    /// Flags for the linker.
    link: &'static str,
}

/// The files are embedded in the binary, so that it works from any directory and a build never writes to the source
/// tree.
macro_rules! module {
    ($name:literal, $programs:expr, $link:expr) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../../../../lab/peers/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../../../lab/peers/", $name, "/go.sum")),
            programs: $programs,
            link: $link,
        }
    };
}

const ETCD_PROGRAMS: &[(&str, &str)] = &[
    ("go.etcd.io/etcd/server/v3", "etcd"),
    ("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
    ("go.etcd.io/etcd/etcdutl/v3", "etcdutl"),
];

const KUBERNETES_PROGRAMS: &[(&str, &str)] = &[
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
    ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
    ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
];

pub(super) const ETCD_3_5: Module = module!("etcd-3.5", ETCD_PROGRAMS, "");
pub(super) const ETCD_3_6: Module = module!("etcd-3.6", ETCD_PROGRAMS, "");
pub(super) const ETCD_3_7: Module = module!("etcd-3.7", ETCD_PROGRAMS, "");
pub(super) const BBOLT: Module = module!("bbolt", &[("go.etcd.io/bbolt/cmd/bbolt", "bbolt")], "");
/// Kubernetes gets its version from the linker.
pub(super) const KUBERNETES: Module =
    module!("kubernetes", KUBERNETES_PROGRAMS, "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4");
pub(super) const COREDNS: Module = module!("coredns", &[("github.com/coredns/coredns", "coredns")], "-s -w");

/// The directory with the module's programs.
pub(super) fn build(module: &Module) -> Result<PathBuf> {
    let toolchain =
        process::run_ok(go().args(["env", "GOVERSION", "GOOS", "GOARCH"]), Duration::from_secs(60))
            .context("find the Go compiler")?;
    let mut made_from = vec![module.go_mod, module.go_sum, toolchain.trim()];
    if !module.link.is_empty() {
        made_from.push(module.link);
    }
    let digest = cache::digest(&made_from);
    cache::install("peers", &format!("{}-{digest}", module.name), |dir| {
        fs::write(dir.join("go.mod"), module.go_mod)?;
        fs::write(dir.join("go.sum"), module.go_sum)?;
        module
            .programs
            .iter()
            .try_for_each(|(package, program)| build_program(dir, package, program, module.link))
    })
}

fn build_program(dir: &Path, package: &str, program: &str, link: &str) -> Result<()> {
    // No VCS stamp: the cache may be inside an unrelated git tree.
    let flags = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", link];
    process::run_ok(go().args(flags).args(["-o", program, package]).current_dir(dir), BUILD_LIMIT)
        .with_context(|| format!("build {program}"))?;
    ensure!(dir.join(program).is_file(), "go built {package} but left no {program}");
    Ok(())
}

fn go() -> Command {
    let mut command = Command::new("go");
    // Without cgo, no C compiler is needed, and the programs run in any container.
    command.env("GOWORK", "off").env("CGO_ENABLED", "0");
    command
}
