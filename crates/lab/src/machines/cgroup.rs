//! A cgroup for each machine in every hierarchy, below the caller's own: it confines what the machine's systemd and
//! kubelet do to the cgroup tree.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err as fs;

use super::network::NAMESPACE;

const ROOT: &str = "/sys/fs/cgroup";
/// The kernel takes a moment to release the last process of a killed machine.
const LIMIT: Duration = Duration::from_secs(10);

/// The machine's cgroup in every hierarchy, as seen from this process. They need not exist.
pub(crate) fn paths(machine: &str) -> Result<Vec<PathBuf>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(own
        .lines()
        .filter_map(|line| hierarchy(line, Path::new(ROOT)))
        .map(|dir| group(&dir, machine))
        .collect())
}

/// The directory of a line of `/proc/self/cgroup` (`id:controllers:path`), if that hierarchy is mounted.
fn hierarchy(line: &str, root: &Path) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let mount = match controllers {
        // Version 2: beside the others on a hybrid host, alone on a unified one.
        "" if root.join("unified").is_dir() => root.join("unified"),
        "" => root.to_owned(),
        controllers => root.join(controllers.trim_start_matches("name=")),
    };
    let dir = mount.join(path.trim_start_matches('/'));
    dir.is_dir().then_some(dir)
}

/// The machine's cgroup, which is never inside another machine's.
fn group(dir: &Path, machine: &str) -> PathBuf {
    let outside = dir
        .ancestors()
        .filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAMESPACE)))
        .last()
        .and_then(Path::parent)
        .unwrap_or(dir);
    outside.join(format!("{NAMESPACE}-{machine}"))
}

/// Removes the cgroups of all machines, wherever they were made.
pub(crate) fn remove_all() -> Result<()> {
    let mut found = Vec::new();
    find(Path::new(ROOT), 0, &mut found);
    for dir in found {
        remove(&dir)?;
    }
    Ok(())
}

fn find(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    const MAX_DEPTH: usize = 12;
    for child in children(dir) {
        if child.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{NAMESPACE}-")))
        {
            found.push(child);
        } else if depth < MAX_DEPTH {
            find(&child, depth + 1, found);
        }
    }
}

fn remove(dir: &Path) -> Result<()> {
    for child in children(dir) {
        remove(&child)?;
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context("a machine's process is still running");
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for dir in ["unified", "memory/session/1", "systemd", "cpu,cpuacct"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let at = |line| hierarchy(line, root);
        assert_eq!(at("0::/").unwrap(), root.join("unified"));
        assert_eq!(at("4:memory:/session/1").unwrap(), root.join("memory/session/1"));
        assert_eq!(at("9:name=systemd:/").unwrap(), root.join("systemd"));
        assert_eq!(at("2:cpu,cpuacct:/").unwrap(), root.join("cpu,cpuacct"));
        assert_eq!(at("3:misc:/"), None);
    }

    #[test]
    fn the_cgroup_of_a_machine_is_never_inside_another() {
        let at = |dir: &str| group(Path::new(dir), "m1");
        assert_eq!(at("/c/memory/x"), Path::new("/c/memory/x/lifeboat-lab-m1"));
        assert_eq!(at("/c/memory/x/lifeboat-lab-m2/payload"), Path::new("/c/memory/x/lifeboat-lab-m1"));
    }
}
