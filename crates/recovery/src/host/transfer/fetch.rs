//! A file from a machine.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::write::GzDecoder;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use tokio::io::AsyncWrite;

use super::super::{Command, Host, HostError};
use super::{digest, prefix_digest};
use crate::transfer_time::limit;

/// SHA-256 of `$1`, and of its first `$2` bytes.
const LOOK: &str = r#"
set -eu
sha256sum < "$1" | cut -d ' ' -f 1
head -c "$2" "$1" | sha256sum | cut -d ' ' -f 1
"#;

/// Writes `$1` from byte `$2` on, compressed.
const SEND: &str = r#"tail -c "+$(($2 + 1))" "$1" | gzip -1 -c"#;

/// Copies a file from an absolute path there to a local path, 0600: compressed, compared by SHA-256, synced, renamed. What an
/// earlier try has brought, beside the target as `.part`, is not sent again.
///
/// # Errors
/// [`HostError::Unreachable`] and [`HostError::Timeout`], after which the next try goes on; [`HostError::Failed`] when it
/// could not be read or written, or arrived different.
pub async fn fetch(host: &dyn Host, from: &Path, to: &Path) -> Result<(), HostError> {
    let failed = |why: String| HostError::Failed {
        host: host.name().into(),
        command: format!("fetch {} to {}", from.display(), to.display()),
        why,
    };
    let io = |error: io::Error| failed(error.to_string());
    let source = from.to_str().filter(|path| path.starts_with('/'));
    let source = source.ok_or_else(|| failed("the remote path must be absolute and UTF-8".into()))?;
    let part = part(to);
    let there = fs::symlink_metadata(&part).ok().filter(std::fs::Metadata::is_file).map_or(0, |at| at.len());
    let said = host.run(&Command::script(r#"wc -c < "$1""#, [source])).await?;
    let size = said.text().trim().parse::<u64>().ok().filter(|_| said.success());
    let size = size.ok_or_else(|| failed(said.why()))?;
    // It is read twice.
    let look = Command::script(LOOK, [source, &there.to_string()]).within(2 * limit(size));
    let said = host.run(&look).await?;
    let text = said.text();
    let (expected, prefix) = match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [digest, prefix] if said.success() => (*digest, *prefix),
        _ => return Err(failed(said.why())),
    };
    let ours = prefix_digest(part.clone(), there).await.ok().flatten();
    let offset = if there <= size && ours.as_deref() == Some(prefix) { there } else { 0 };

    let mut output = Decompressed::open(&part, offset, size).map_err(io)?;
    let offset = offset.to_string();
    let send = Command::inline(SEND, [source, offset.as_str()]).within(limit(size));
    let sent = host.pipe(&send, &mut tokio::io::empty(), &mut output).await;
    // What has come so far stays, also of a connection that broke.
    let (refused, kept) = output.finish();
    if let Some(error) = refused {
        return Err(failed(format!("write {} here: {error}", part.display())));
    }
    let sent = sent?;
    if !sent.success() {
        return Err(failed(sent.why()));
    }
    kept.map_err(io)?;
    let (_, arrived) = digest(part.clone()).await.map_err(io)?;
    if arrived != expected {
        fs::remove_file(&part).map_err(io)?;
        return Err(failed("digest mismatch: the transfer is corrupt or the file changed meanwhile".into()));
    }
    fs::rename(&part, to).map_err(io)?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// Where the bytes of a file are kept until it is whole.
fn part(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Decompresses what is written to it into a file. Short writes to the page cache: they are not worth a thread.
struct Decompressed {
    decoder: GzDecoder<Bounded>,
    /// Why something was not taken.
    refused: Option<io::Error>,
}

impl Decompressed {
    fn open(part: &Path, offset: u64, size: u64) -> io::Result<Self> {
        // A link is not followed: an earlier try leaves a regular file.
        if fs::symlink_metadata(part).is_ok_and(|at| !at.is_file()) {
            return Err(io::Error::other(format!("{} is not a regular file", part.display())));
        }
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(part)?;
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        let decoder = GzDecoder::new(Bounded { file, left: size.saturating_sub(offset) });
        Ok(Self { decoder, refused: None })
    }

    /// Writes down what has come, whole or not. Why something was not taken, and whether the stream has come to its end.
    fn finish(mut self) -> (Option<io::Error>, io::Result<()>) {
        let ended = self.decoder.try_finish();
        let synced = self.decoder.get_ref().file.sync_all();
        (self.refused, ended.and(synced))
    }
}

impl AsyncWrite for Decompressed {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.decoder.write(bytes);
        if let Err(error) = &written {
            self.refused = Some(io::Error::new(error.kind(), error.to_string()));
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.decoder.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

/// A file that takes so many bytes more: a few compressed ones must not fill the disk.
struct Bounded {
    file: fs::File,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.left.checked_sub(written) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it is larger than announced")),
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LocalHost;

    #[tokio::test]
    async fn a_file_arrives_whole_and_goes_on_after_what_is_here() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("this machine is a host as root only: not tried");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let bytes: Vec<u8> = (0..3_u32 << 20).map(|at| (at % 251) as u8 ^ (at >> 12) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let part = dir.path().join("to.part");
        let longer = [bytes.as_slice(), b"more"].concat();
        for there in [&[][..], &bytes[..1_234_567], &[7; 1000], &bytes, &longer] {
            fs::write(&part, there).unwrap();
            let _ = fs::remove_file(&to);
            fetch(&LocalHost::new("here"), &from, &to).await.unwrap();
            assert!(fs::read(&to).unwrap() == bytes, "after {} bytes", there.len());
            assert!(!part.exists());
        }
        std::os::unix::fs::symlink("elsewhere", &part).unwrap();
        let refused = fetch(&LocalHost::new("here"), &from, &to).await.unwrap_err().to_string();
        assert!(refused.contains("to.part is not a regular file"), "{refused}");
    }

    #[test]
    fn what_has_come_of_a_stream_that_is_cut_is_kept_and_a_longer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let bytes: Vec<u8> =
            (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        let packed = packed.finish().unwrap();
        let size = bytes.len() as u64;

        let mut cut = Decompressed::open(&part, 0, size).unwrap();
        cut.decoder.write_all(&packed[..packed.len() / 2]).unwrap();
        assert!(cut.finish().1.is_err());
        let kept = fs::read(&part).unwrap();
        assert!(kept.len() > bytes.len() / 3 && bytes.starts_with(&kept), "{} bytes", kept.len());

        let mut longer = Decompressed::open(&part, 0, size - 1).unwrap();
        let ended = longer.decoder.write_all(&packed).and_then(|()| longer.finish().1);
        assert!(ended.unwrap_err().to_string().contains("larger than announced"));
        assert!(fs::metadata(&part).unwrap().len() < size);
    }
}
