//! Container images made by hand, one program each, as archives that `ctr images import` takes. Everything in them
//! is statically linked, so a program and its folder are a whole image; nothing is pulled from anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::binaries::Binaries;
use crate::{cache, process};

const LIMIT: Duration = Duration::from_secs(120);
const PAUSE_C: &str = include_str!("../../../../lab/guest/pause.c");

/// The image that holds a Pod together. Images are called `lab.local/<name>:1`.
pub(crate) const PAUSE: &str = "lab.local/pause:1";
/// The image of a program of the control plane.
pub(crate) fn control_plane(program: &str) -> String {
    format!("lab.local/{program}:1")
}

/// The archive of each image, `<dir>/<name>.tar`.
pub(crate) struct Images {
    dir: PathBuf,
}

impl Images {
    /// Makes those that are not in the cache yet.
    pub fn get(binaries: &Binaries, base: &Path) -> Result<Self> {
        let (kubernetes, coredns, base_text) =
            (binaries.kubernetes.to_string_lossy(), binaries.coredns.to_string_lossy(), base.to_string_lossy());
        let etcd = binaries.etcd.etcd.to_string_lossy();
        // The folders in the cache are named after what is in them.
        let digest = cache::digest(&[PAUSE_C, &kubernetes, &coredns, &etcd, &base_text]);
        let dir = cache::install("machines", &format!("images-{digest}"), |dir| {
            make_all(dir, binaries, base).context("make container images")
        })?;
        Ok(Self { dir })
    }

    /// The archive of the image `name`.
    pub fn archive(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.tar"))
    }
}

fn make_all(dir: &Path, binaries: &Binaries, base: &Path) -> Result<()> {
    let tree = |name: &str| -> Result<PathBuf> {
        let tree = dir.join("trees").join(name);
        fs::create_dir_all(&tree)?;
        Ok(tree)
    };
    let pause = tree("pause")?;
    fs::write(dir.join("pause.c"), PAUSE_C)?;
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-s", "-static", "-o"]).arg(pause.join("pause")).arg(dir.join("pause.c"));
    process::run_ok(&mut cc, LIMIT)?;
    archive(dir, "pause", &pause, "/pause")?;

    let busybox = tree("busybox")?;
    for folder in ["bin", "tmp", "etc", "www", "root"] {
        fs::create_dir_all(busybox.join(folder))?;
    }
    fs::copy(base.join("bin/busybox"), busybox.join("bin/busybox"))?;
    let mut install = Command::new("chroot");
    process::run_ok(install.arg(&busybox).args(["/bin/busybox", "--install", "-s", "/bin"]), LIMIT)?;
    fs::write(busybox.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    archive(dir, "busybox", &busybox, "/bin/sh")?;

    let mut programs = vec![("coredns", binaries.coredns.clone()), ("etcd", binaries.etcd.etcd.clone())];
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        programs.push((name, binaries.kubernetes.join(name)));
    }
    for (name, program) in programs {
        let tree = tree(name)?;
        fs::copy(program, tree.join(name))?;
        archive(dir, name, &tree, &format!("/{name}"))?;
    }
    fs::remove_dir_all(dir.join("trees"))?;
    Ok(())
}

/// Writes `<dir>/<name>.tar`: a manifest, the image's configuration, and one layer.
fn archive(dir: &Path, name: &str, tree: &Path, entrypoint: &str) -> Result<()> {
    let parts = dir.join("parts");
    fs::create_dir_all(&parts)?;
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"]);
    process::run_ok(tar.arg(tree).arg("-cf").arg(parts.join("layer.tar")).arg("."), LIMIT)?;
    let layer = hex_sha256(&fs::read(parts.join("layer.tar"))?);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [entrypoint],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin:/"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created_by": "lab" }],
    })
    .to_string();
    let config_name = format!("{}.json", hex_sha256(config.as_bytes()));
    fs::write(parts.join(&config_name), config)?;
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [format!("lab.local/{name}:1")],
        "Layers": ["layer.tar"],
    }]);
    fs::write(parts.join("manifest.json"), manifest.to_string())?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&parts).arg("-cf").arg(dir.join(format!("{name}.tar")));
    process::run_ok(tar.args(["manifest.json", &config_name, "layer.tar"]), LIMIT)?;
    fs::remove_dir_all(parts)?;
    Ok(())
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
