//! etcd 3.4 from Debian 12's packages, unpacked rather than installed: installing would start a service.
//!
//! 3.4 predates the module layout that lets Go build a tagged release by path, hence the package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::cache;
use crate::process;

const LIMIT: Duration = Duration::from_secs(300);
/// Package, and the program taken from it.
const PACKAGES: [(&str, &str); 2] = [("etcd-server", "etcd"), ("etcd-client", "etcdctl")];

/// The directory with `etcd` and `etcdctl` 3.4.
pub(super) fn etcd_3_4() -> Result<PathBuf> {
    let digest = cache::digest(&["debian", "3.4", std::env::consts::ARCH]);
    cache::install("peers", &format!("etcd-3.4-{digest}"), |dir| {
        PACKAGES.iter().try_for_each(|(package, program)| {
            unpack(dir, package, program).with_context(|| format!("get {program} from Debian's {package}"))
        })
    })
}

fn unpack(dir: &Path, package: &str, program: &str) -> Result<()> {
    let download = format!("{package}={}", offered_version(package)?);
    process::run_ok(Command::new("apt-get").args(["download", &download]).current_dir(dir), LIMIT)?;
    let archive = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    let tree = dir.join("tree");
    process::run_ok(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&tree), LIMIT)?;
    fs::rename(tree.join("usr/bin").join(program), dir.join(program))?;
    fs::remove_dir_all(tree)?;
    fs::remove_file(archive)?;
    Ok(())
}

/// The 3.4 version of `package` that apt can download.
fn offered_version(package: &str) -> Result<String> {
    // One `package | version | source` a line.
    let offers = process::run_ok(Command::new("apt-cache").args(["madison", package]), LIMIT)?;
    pick(&offers).with_context(|| format!("choose a version of {package}"))
}

fn pick(offers: &str) -> Result<String> {
    let versions: Vec<&str> =
        offers.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    if versions.is_empty() {
        bail!("apt has no candidate: run `apt-get update`");
    }
    match versions.iter().find(|version| version.starts_with("3.4.")) {
        Some(version) => Ok((*version).to_owned()),
        None => bail!("apt has {}; only Debian 12 has 3.4", versions.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_3_4_package_will_do() {
        let line =
            |version| format!("etcd-server | {version} | http://deb.debian.org/debian main amd64 Packages\n");
        assert_eq!(pick(&(line("3.5.16-4") + &line("3.4.23-4+b4"))).unwrap(), "3.4.23-4+b4");
        assert_eq!(
            pick(&line("3.5.16-4")).unwrap_err().to_string(),
            "apt has 3.5.16-4; only Debian 12 has 3.4"
        );
        assert_eq!(pick("").unwrap_err().to_string(), "apt has no candidate: run `apt-get update`");
    }
}
