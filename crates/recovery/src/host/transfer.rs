//! Files to and from machines: streamed, compared by SHA-256, synced, renamed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{Command, Host, HostError};

/// Writes standard input to `$1` with mode `$2`, when it has the SHA-256 `$3`.
const RECEIVE: &str = r#"
set -eu
umask 077
dir=${1%/*}
mkdir -p "$dir/"
part=$(mktemp "$dir/.lifeboat-upload.XXXXXX")
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT PIPE TERM
cat > "$part"
sum=$(sha256sum < "$part")
if [ "${sum%% *}" != "$3" ]; then echo "it arrived different" >&2; exit 65; fi
chmod "$2" "$part"
sync "$part"
mv -f "$part" "$1"
sync "$dir/"
"#;

/// Size and SHA-256 of `$1`.
const DIGEST: &str = r#"
set -eu
wc -c < "$1"
sha256sum < "$1"
"#;

/// Longest the digest of a file may take there.
const HASH: Duration = Duration::from_secs(300);

pub(super) async fn upload<H: Host + ?Sized>(
    host: &H,
    machine: Option<&str>,
    from: &Path,
    to: &Path,
    mode: u32,
) -> Result<(), HostError> {
    let failed = |why: String| HostError::Failed {
        host: host.name().into(),
        command: format!("upload {} to {}", from.display(), to.display()),
        why,
    };
    let target = to.to_str().filter(|path| path.starts_with('/'));
    let target = target.ok_or_else(|| failed("its path there must be absolute, and text".into()))?;
    let (size, digest) = digest(from.into()).await.map_err(|error| failed(error.to_string()))?;
    let mut file = tokio::fs::File::open(from).await.map_err(|error| failed(error.to_string()))?;
    let mode = format!("{mode:04o}");
    let receive = Command::inline(RECEIVE, [target, &mode, &digest]).within(limit(size));
    let receive = match machine {
        Some(id) => receive.on_machine(id),
        None => receive,
    };
    let output = host.pipe(&receive, &mut file, &mut tokio::io::sink()).await?;
    if output.success() { Ok(()) } else { Err(failed(output.why())) }
}

pub(super) async fn download<H: Host + ?Sized>(host: &H, from: &Path, to: &Path) -> Result<(), HostError> {
    let failed = |why: String| HostError::Failed {
        host: host.name().into(),
        command: format!("download {} to {}", from.display(), to.display()),
        why,
    };
    let source = from.to_str().filter(|path| path.starts_with('/'));
    let source = source.ok_or_else(|| failed("its path there must be absolute, and text".into()))?;
    let said = host.run(&Command::script(DIGEST, [source]).within(HASH)).await?;
    let text = said.text();
    let (size, expected) = match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [size, digest, ..] if said.success() => (size.parse().unwrap_or(0), (*digest).to_owned()),
        _ => return Err(failed(said.why())),
    };
    let io = |error: std::io::Error| failed(error.to_string());
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // 0600, as temporary files are made.
    let part = NamedTempFile::new_in(dir).map_err(io)?;
    let mut file = tokio::fs::File::from_std(part.reopen().map_err(io)?);
    let cat = Command::new(["cat", "--", source]).within(limit(size));
    let output = host.pipe(&cat, &mut tokio::io::empty(), &mut file).await?;
    if !output.success() {
        return Err(failed(output.why()));
    }
    file.sync_all().await.map_err(io)?;
    let (_, arrived) = digest(part.path().into()).await.map_err(io)?;
    if arrived != expected {
        return Err(failed("it arrived different, or was written to meanwhile".into()));
    }
    part.persist(to).map_err(|error| io(error.error))?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// Longest a transfer may take: a minute, and 1 MiB a second.
pub(super) fn limit(size: u64) -> Duration {
    Duration::from_secs(60 + size / (1 << 20))
}

/// Size and SHA-256 of a local file.
pub(crate) async fn digest(path: PathBuf) -> std::io::Result<(u64, String)> {
    tokio::task::spawn_blocking(move || hash(fs::File::open(path)?)).await?
}

/// Size and SHA-256 of what is read.
pub(super) fn hash(mut file: impl Read) -> std::io::Result<(u64, String)> {
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            let digest = hash.finalize();
            return Ok((size, digest.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hash.update(chunk.get(..read).unwrap_or_default());
        size += read as u64;
    }
}
