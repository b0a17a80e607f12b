//! A machine's disk: a sparse file with ext4, mounted on the host. It holds the machine's changes to the shared base,
//! and the directories that cannot be on an overlay. A machine can fill only its own disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::process;

const LIMIT: Duration = Duration::from_secs(30);
const SIZE: &str = "8G";
/// Directories on the disk itself, and their mount points in the machine: containerd's snapshots are overlays
/// themselves, and an NFS server needs file handles.
pub(crate) const PLAIN: [(&str, &str); 3] =
    [("containerd", "/var/lib/containerd"), ("kubelet", "/var/lib/kubelet"), ("export", "/srv/export")];

/// Creates and mounts the disk where needed; `dir` is the machine's directory.
pub(crate) fn attach(dir: &Path, base: &Path) -> Result<()> {
    let (image, disk, root) = (dir.join("disk.img"), dir.join("disk"), dir.join("root"));
    if !image.exists() {
        format(&image).context("create a disk")?;
    }
    fs::create_dir_all(&disk)?;
    fs::create_dir_all(&root)?;
    if !is_mounted(&disk)? {
        let mount = ["-o", "loop,discard,noatime"];
        process::run_ok(Command::new("mount").args(mount).arg(&image).arg(&disk), LIMIT)?;
    }
    for directory in PLAIN.iter().map(|(directory, _)| *directory).chain(["upper", "work"]) {
        fs::create_dir_all(disk.join(directory))?;
    }
    if !is_mounted(&root)? {
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            disk.join("upper").display(),
            disk.join("work").display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "lifeboat-lab", "-o", &options]).arg(&root);
        process::run_ok(&mut mount, LIMIT)?;
    }
    Ok(())
}

fn format(image: &Path) -> Result<()> {
    let making = image.with_extension("new");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"]).arg(&making).arg(SIZE);
    // A file from an interrupted attempt may have another size.
    if making.exists() {
        fs::remove_file(&making)?;
    }
    process::run_ok(&mut mkfs, LIMIT)?;
    fs::rename(making, image)?;
    Ok(())
}

/// Unmounts everything below `dir`, the newest mount first.
pub(crate) fn unmount_below(dir: &Path) -> Result<()> {
    for mount in mounts()?.iter().rev().filter(|mount| mount.starts_with(dir)) {
        let deadline = Instant::now() + LIMIT;
        // Busy until the kernel has released the last process of a killed machine.
        while let Err(error) = process::run_ok(Command::new("umount").arg(mount), LIMIT) {
            if Instant::now() > deadline {
                return Err(error.context(format!("unmount {}", mount.display())));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Whether something is mounted on `dir`.
pub(crate) fn is_mounted(dir: &Path) -> Result<bool> {
    Ok(mounts()?.iter().any(|mount| mount == dir))
}

fn mounts() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect())
}

/// Decodes the octal escapes that the kernel writes for white space and backslashes.
fn unescape(field: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(escapes.iter().fold(field.to_owned(), |text, (from, to)| text.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_decoded() {
        assert_eq!(unescape("/a\\040b"), Path::new("/a b"));
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
