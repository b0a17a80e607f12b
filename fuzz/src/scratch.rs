//! Files for what reads files.

use std::path::Path;

use tempfile::TempDir;

/// A directory that goes with the value; in memory where there is such a place, since a target runs thousands of
/// times a second.
pub fn dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    dir.expect("make a temporary directory")
}

/// Writes a file and the directories above it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().expect("a file in a directory")).expect("make directories");
    fs_err::write(path, bytes).expect("write a file");
}
