//! Child processes with input, output and a time limit.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Bytes of stderr that are kept.
const STDERR_LIMIT: usize = 64 << 10;

/// How a child ended, and the end of what it said.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stderr: Vec<u8>,
}

/// Why a child has no exit status.
pub(super) enum Failure {
    /// The time was up; the child is killed.
    Timeout,
    /// The child could not be started, or what it wrote could not be kept.
    Io(io::Error),
}

/// Runs a child to its end. It gets a process group of its own: Ctrl-C is for us, who stop at a safe point, not for
/// what is half done.
pub(super) async fn drive(
    mut command: Command,
    mut input: impl AsyncRead + Unpin,
    output: &mut (dyn AsyncWrite + Send + Unpin),
    limit: Duration,
) -> Result<Ended, Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(Failure::Io)?;
    match tokio::time::timeout(limit, exchange(&mut child, &mut input, output)).await {
        Ok(ended) => ended.map_err(Failure::Io),
        Err(_) => Err(Failure::Timeout),
    }
}

async fn exchange(
    child: &mut Child,
    input: &mut (impl AsyncRead + Unpin),
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> io::Result<Ended> {
    let (mut stdin, mut stdout, mut stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin.take() {
            match tokio::io::copy(input, &mut stdin).await {
                // It need not read all it is given.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                copied => drop(copied?),
            }
            let _ = stdin.shutdown().await;
        }
        Ok(())
    };
    let drain = async {
        if let Some(stdout) = &mut stdout {
            tokio::io::copy(stdout, output).await?;
            output.flush().await?;
        }
        Ok(())
    };
    let listen = async {
        match &mut stderr {
            Some(stderr) => tail(stderr).await,
            None => Ok(Vec::new()),
        }
    };
    let ((), (), stderr) = tokio::try_join!(feed, drain, listen)?;
    Ok(Ended { status: child.wait().await?, stderr })
}

/// The end of what is read.
async fn tail(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(kept);
        }
        kept.extend(chunk.iter().take(read));
        let excess = kept.len().saturating_sub(STDERR_LIMIT);
        kept.drain(..excess);
    }
}

/// Keeps what is written, up to a limit: beyond it, writing fails.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
}

impl Kept {
    const LIMIT: usize = 64 << 20;
}

impl AsyncWrite for Kept {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() + bytes.len() > Self::LIMIT {
            return Poll::Ready(Err(io::Error::other("wrote more than 64 MiB")));
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
