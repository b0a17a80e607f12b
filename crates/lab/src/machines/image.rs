//! Container images, each with one statically linked program, so that nothing is pulled.
//!
//! containerd imports them once, into a store that is kept in the cache. Machines share its layers, and have their own
//! copy of what containerd writes to.

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
const MAKE_STORE: &str = include_str!("../../../../lab/guest/make-store.sh");

/// A machine's store, and the directories and files in it.
const STORE: &str = "/var/lib/containerd";
const METADATA: &str = "io.containerd.metadata.v1.bolt/meta.db";
const BLOBS: &str = "io.containerd.content.v1.content/blobs/sha256";
const SNAPSHOTTER_METADATA: &str = "io.containerd.snapshotter.v1.overlayfs/metadata.db";
const SNAPSHOTS: &str = "io.containerd.snapshotter.v1.overlayfs/snapshots";

/// The image of a Pod's sandbox. Images are called `lab.local/<name>:1`.
pub(crate) const PAUSE: &str = "lab.local/pause:1";

/// The image of a control plane program.
pub(crate) fn control_plane(program: &str) -> String {
    format!("lab.local/{program}:1")
}

/// containerd's store with all images.
pub(crate) struct Images {
    store: PathBuf,
}

impl Images {
    /// The store, built first if it is not in the cache.
    pub fn get(binaries: &Binaries, base: &Path) -> Result<Self> {
        // The names of directories in the cache depend on their content.
        let parts = [&binaries.kubernetes, &binaries.coredns, &binaries.etcd.etcd, base];
        let parts = parts.map(|path: &Path| path.to_string_lossy());
        let digest = cache::digest(&[PAUSE_C, MAKE_STORE, &parts.concat()]);
        let dir = cache::install("machines", &format!("images-{digest}"), |dir| {
            make_archives(dir, binaries, base).context("build container images")?;
            make_store(dir, base).context("import container images")
        })?;
        Ok(Self { store: dir.join("store") })
    }

    /// Copies what containerd writes to into a machine's `store`, unless it exists there.
    pub fn copy_databases(&self, store: &Path) -> Result<()> {
        for file in self.files()?.into_iter().filter(|file| !file.shared) {
            let to = store.join(&file.path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            if !to.exists() {
                fs::copy(self.store.join(&file.path), to)?;
            }
        }
        Ok(())
    }

    /// The files that machines share, and their paths in a machine.
    pub fn binds(&self) -> Result<Vec<(PathBuf, String)>> {
        let shared = self.files()?.into_iter().filter(|file| file.shared);
        Ok(shared
            .map(|file| (self.store.join(&file.path), format!("{STORE}/{}", file.path.display())))
            .collect())
    }

    /// Lists the store. Layers and their unpacked directories are shared; everything else is small.
    fn files(&self) -> Result<Vec<Stored>> {
        const LARGE: u64 = 1 << 20;
        let mut files = Vec::new();
        for database in [METADATA, SNAPSHOTTER_METADATA] {
            files.push(Stored { path: database.into(), shared: false });
        }
        for entry in fs::read_dir(self.store.join(BLOBS))? {
            let entry = entry?;
            let shared = entry.metadata()?.len() > LARGE;
            files.push(Stored { path: Path::new(BLOBS).join(entry.file_name()), shared });
        }
        for entry in fs::read_dir(self.store.join(SNAPSHOTS))? {
            files.push(Stored { path: Path::new(SNAPSHOTS).join(entry?.file_name()), shared: true });
        }
        Ok(files)
    }
}

/// A part of containerd's store.
struct Stored {
    /// Relative to the store.
    path: PathBuf,
    shared: bool,
}

fn make_store(dir: &Path, base: &Path) -> Result<()> {
    let (store, archives) = (dir.join("store"), dir.join("archives"));
    fs::create_dir_all(&store)?;
    let script = dir.join("make-store.sh");
    fs::write(&script, MAKE_STORE)?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh"])
        .arg(script)
        .arg(base)
        .arg(store)
        .arg(&archives);
    process::run_ok(&mut command, LIMIT)?;
    fs::remove_dir_all(archives)?;
    Ok(())
}

fn make_archives(dir: &Path, binaries: &Binaries, base: &Path) -> Result<()> {
    let tree = |name: &str| -> Result<PathBuf> {
        let tree = dir.join("trees").join(name);
        fs::create_dir_all(&tree)?;
        Ok(tree)
    };
    fs::create_dir_all(dir.join("archives"))?;
    let pause = tree("pause")?;
    fs::write(dir.join("pause.c"), PAUSE_C)?;
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-s", "-static", "-o"]).arg(pause.join("pause")).arg(dir.join("pause.c"));
    process::run_ok(&mut cc, LIMIT)?;
    archive(dir, "pause", &pause, "/pause")?;

    let busybox = tree("busybox")?;
    for directory in ["bin", "tmp", "etc", "www", "root"] {
        fs::create_dir_all(busybox.join(directory))?;
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

/// Writes `<dir>/archives/<name>.tar`: a manifest, the image's configuration, and one layer.
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
    tar.arg("-C").arg(&parts).arg("-cf").arg(dir.join("archives").join(format!("{name}.tar")));
    process::run_ok(tar.args(["manifest.json", &config_name, "layer.tar"]), LIMIT)?;
    fs::remove_dir_all(parts)?;
    Ok(())
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
