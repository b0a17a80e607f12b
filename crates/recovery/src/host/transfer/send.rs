//! A file to a machine.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::super::{BUSY, Command, Host, HostError};
use super::{digest, prefix_digest};
use crate::transfer_time::limit;

/// Whether `$1` is `$2` bytes with the SHA-256 `$3`: `have`. Else how many bytes of it an earlier try left, and their
/// SHA-256.
const LOOK: &str = r#"
set -eu
target=$1 size=$2 digest=$3
hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
if [ -f "$target" ] && [ "$(wc -c < "$target")" -eq "$size" ] && [ "$(hash "$target")" = "$digest" ]; then
    echo have
elif [ -f "$target.part" ] && ! [ -L "$target.part" ]; then
    echo "part $(wc -c < "$target.part") $(hash "$target.part")"
else
    echo none
fi
"#;

/// Appends what comes compressed on standard input to the first `$4` bytes of what is there, and gives the whole its name
/// when it has the SHA-256 `$2`. What a try that is cut short has written stays for the next one.
const RECEIVE: &str = concat!(
    include_str!("../lock.sh"),
    r#"
set -eu
target=$1 digest=$2 mode=$3 offset=$4
umask 077
dir=${target%/*}
part=$target.part
mkdir -p -m 0700 "$dir/"
if [ -L "$part" ]; then echo "$part is a symbolic link" >&2; exit 65; fi
if ! lock "$part" 20; then echo "another transfer to $target is at work" >&2; exit 75; fi
# Another transfer may have completed or restarted meanwhile.
if [ -f "$target" ]; then
    sum=$(sha256sum < "$target")
    if [ "${sum%% *}" = "$digest" ]; then rm -f "$part"; exit 0; fi
fi
if [ "$(wc -c < "$part")" -lt "$offset" ]; then echo "another transfer to $target has restarted" >&2; exit 75; fi
truncate -s "$offset" "$part"
gzip -dc >> "$part"
sum=$(sha256sum < "$part")
if [ "${sum%% *}" != "$digest" ]; then rm -f "$part"; echo "it arrived different" >&2; exit 65; fi
chmod "$mode" "$part"
sync "$part"
mv -f "$part" "$target"
sync "$dir/"
"#
);

/// Bytes that are compressed at a time.
const CHUNK: usize = 1 << 18;

/// Whether a machine has a file of this size and SHA-256.
///
/// # Errors
/// The machine does not answer.
pub(crate) async fn has_digest(
    host: &dyn Host,
    path: &Path,
    size: u64,
    digest: &str,
) -> Result<bool, HostError> {
    Ok(query(host, path, size, digest).await? == "have")
}

async fn query(host: &dyn Host, path: &Path, size: u64, digest: &str) -> Result<String, HostError> {
    let arguments = [path.display().to_string(), size.to_string(), digest.to_owned()];
    let said = host.run_ok(&Command::script(LOOK, arguments).within(limit(size))).await?;
    Ok(said.text().trim().to_owned())
}

/// Copies a local file to an absolute path there, unless it is there already: compressed, compared by SHA-256, synced,
/// renamed. What an earlier try has brought there is not sent again. Nothing is written on another machine than `machine`.
///
/// # Errors
/// [`HostError::Unreachable`] and [`HostError::Timeout`], after which the next try goes on; [`HostError::Failed`] when it
/// could not be read or written, or arrived different.
pub async fn send(
    host: &dyn Host,
    machine: Option<&str>,
    from: &Path,
    to: &Path,
    mode: u32,
) -> Result<(), HostError> {
    let failed = |why: String| HostError::Failed {
        host: host.name().into(),
        command: format!("send {} to {}", from.display(), to.display()),
        why,
    };
    let io = |error: io::Error| failed(error.to_string());
    let target = to.to_str().filter(|path| path.starts_with('/'));
    let target = target.ok_or_else(|| failed("the remote path must be absolute and UTF-8".into()))?;
    let (size, digest) = digest(from.into()).await.map_err(io)?;
    let said = query(host, to, size, &digest).await?;
    if said == "have" {
        return Ok(());
    }
    let offset = match said.split(' ').collect::<Vec<_>>().as_slice() {
        ["part", length, there] => {
            let length = length.parse().unwrap_or(0);
            let ours = prefix_digest(from.into(), length).await.map_err(io)?;
            if ours.as_deref() == Some(*there) { length } else { 0 }
        }
        _ => 0,
    };
    let (mode, offset_text) = (format!("{mode:04o}"), offset.to_string());
    let time = limit(size.saturating_sub(offset));
    // Later than we give up here: a transfer that is too slow is tried again, and goes on.
    let ends = time + Duration::from_secs(10);
    let receive = Command::inline(RECEIVE, [target, &digest, &mode, &offset_text]).ended_there(ends);
    let mut input = compressed(from.into(), offset);
    let receive = receive.within(time);
    let receive = match machine {
        Some(id) => receive.on_machine(id),
        None => receive,
    };
    let output = host.pipe(&receive, &mut input, &mut tokio::io::sink()).await?;
    match (input.failure, output.success()) {
        (Some(error), _) => Err(io(error)),
        (None, true) => Ok(()),
        // What another run of Lifeboat has left there ends by itself.
        (None, false) if output.code == BUSY => {
            Err(HostError::Unreachable { host: host.name().into(), why: output.why() })
        }
        (None, false) => Err(failed(output.why())),
    }
}

/// A local file from `offset` on, compressed by a thread of its own.
fn compressed(path: PathBuf, offset: u64) -> Compressed {
    let (sender, chunks) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = compress(&path, offset, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Compressed { chunks, current: Vec::new(), at: 0, failure: None }
}

fn compress(path: &Path, offset: u64, sender: &mpsc::Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let ends = read == 0;
        let bytes = if ends {
            std::mem::replace(&mut encoder, GzEncoder::new(Vec::new(), Compression::fast())).finish()?
        } else {
            encoder.write_all(chunk.get(..read).unwrap_or_default())?;
            std::mem::take(encoder.get_mut())
        };
        // The receiver is gone: the connection was lost.
        if (!bytes.is_empty() && sender.blocking_send(Ok(bytes)).is_err()) || ends {
            return Ok(());
        }
    }
}

/// What a compressing thread makes. A file that cannot be read to its end ends the stream, and is told by `failure`.
struct Compressed {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
    failure: Option<io::Error>,
}

impl AsyncRead for Compressed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.at >= self.current.len() {
            match self.chunks.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok(chunk))) => (self.current, self.at) = (chunk, 0),
                Poll::Ready(Some(Err(error))) => {
                    self.failure = Some(error);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let rest = self.current.get(self.at..).unwrap_or_default();
        let take = rest.len().min(into.remaining());
        into.put_slice(rest.get(..take).unwrap_or_default());
        self.at += take;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LocalHost;

    struct Machine {
        dir: tempfile::TempDir,
        host: LocalHost,
    }

    impl Machine {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), host: LocalHost::new("here") }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        async fn send(&self) -> Result<(), HostError> {
            send(&self.host, None, &self.path("from"), &self.path("new/to"), 0o600).await
        }
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8 ^ (at / 4096) as u8).collect()
    }

    #[tokio::test]
    async fn a_file_arrives_whole_and_goes_on_after_what_is_there() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("this machine is a host as root only: not tried");
            return;
        }
        let machine = Machine::new();
        let bytes = content(3 << 20);
        fs::write(machine.path("from"), &bytes).unwrap();
        machine.send().await.unwrap();
        assert!(fs::read(machine.path("new/to")).unwrap() == bytes);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(machine.path("new/to")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);

        // What is there already is not sent: the same file stays.
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(machine.path("new/to")).unwrap());
        let before = inode();
        machine.send().await.unwrap();
        assert_eq!(inode(), before);

        // A part that fits is continued, others are started over; both arrive whole.
        for part in [bytes[..1_234_567].to_vec(), vec![7; 1000], content((3 << 20) + 5)] {
            fs::remove_file(machine.path("new/to")).unwrap();
            fs::write(machine.path("new/to.part"), part).unwrap();
            machine.send().await.unwrap();
            assert!(fs::read(machine.path("new/to")).unwrap() == bytes);
            assert!(!machine.path("new/to.part").exists());
        }
    }

    /// Another machine may have come to the address: it is given no state, with every Secret in it.
    #[tokio::test]
    async fn nothing_is_sent_to_another_machine() {
        let machine = Machine::new();
        fs::write(machine.path("from"), "state").unwrap();
        let sent =
            send(&machine.host, Some("c0ffee"), &machine.path("from"), &machine.path("to"), 0o600).await;
        let why = sent.unwrap_err().to_string();
        assert!(why.contains("another machine answers here"), "{why}");
        assert!(!machine.path("to").exists() && !machine.path("to.part").exists());
    }

    /// Only what is missing goes over the wire.
    #[tokio::test]
    async fn only_the_rest_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("from");
        let bytes = content(1 << 20);
        fs::write(&path, &bytes).unwrap();
        for offset in [0, 1000, bytes.len() - 1, bytes.len()] {
            let mut packed = Vec::new();
            let mut stream = compressed(path.clone(), offset as u64);
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut packed).await.unwrap();
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == bytes[offset..], "from {offset} on");
        }
        let mut gone = compressed(dir.path().join("not-there"), 0);
        tokio::io::AsyncReadExt::read_to_end(&mut gone, &mut Vec::new()).await.unwrap();
        assert!(gone.failure.is_some());
    }
}
