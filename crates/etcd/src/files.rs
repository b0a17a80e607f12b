//! Opening files that somebody else wrote. Only a regular file is ever opened: a named pipe blocks its reader until a
//! writer comes, and opening a device may do something. What cannot be read is an error and never the same as absent.

use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Opens a regular file for reading.
///
/// # Errors
/// [`Error::NotAFile`] for anything but a regular file, which is not opened; a failed system call.
pub(crate) fn open_regular(path: &Path) -> Result<fs_err::File> {
    ensure_regular(path, fs_err::metadata(path)?.file_type())?;
    // Another file may have come to the path meanwhile: opening it must not block either.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = fs_err::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    ensure_regular(path, file.metadata()?.file_type())?;
    Ok(file)
}

/// What is at a path; `None` when nothing is.
///
/// # Errors
/// It cannot be determined: no permission, a failing disk, an unreachable file server.
pub(crate) fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs_err::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(metadata?)),
    }
}

/// Whether a directory is at a path.
///
/// # Errors
/// As [`metadata`].
pub(crate) fn is_dir(path: &Path) -> Result<bool> {
    Ok(metadata(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,@%:=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Refuses what is not a regular file.
pub(crate) fn ensure_regular(path: &Path, kind: FileType) -> Result<()> {
    if kind.is_file() { Ok(()) } else { Err(Error::NotAFile { path: path.into(), found: name(kind) }) }
}

fn name(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a named pipe (FIFO)",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "a special file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    fn refused(path: &Path) -> &'static str {
        match open_regular(path) {
            Err(Error::NotAFile { found, .. }) => found,
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn what_is_not_a_regular_file_is_named_and_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(refused(&fifo), "a named pipe (FIFO)");
        let socket = dir.path().join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(refused(&socket), "a socket");
        assert_eq!(refused(Path::new("/dev/zero")), "a character device");
        assert_eq!(refused(dir.path()), "a directory");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        assert_eq!(refused(&link), "a named pipe (FIFO)");
        let file = dir.path().join("file");
        fs_err::write(&file, "x").unwrap();
        assert!(open_regular(&file).is_ok());
    }
}
