//! Runs child processes with a time limit.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs `command` without input and returns its output; kills it after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {program}"))?;
    // Both pipes are read while waiting: a child that blocks on a full pipe would never end.
    let stdout = child.stdout.take().map(|pipe| thread::spawn(move || drain(pipe)));
    let stderr = child.stderr.take().map(|pipe| thread::spawn(move || drain(pipe)));
    let Some(status) = wait(&mut child, limit)? else {
        child.kill().with_context(|| format!("kill {program}"))?;
        child.wait().with_context(|| format!("wait for {program}"))?;
        bail!("{program} was still running after {limit:?}");
    };
    let collect = |reader: Option<thread::JoinHandle<io::Result<Vec<u8>>>>| match reader {
        Some(reader) => {
            reader.join().map_err(|_| anyhow::anyhow!("reader of {program} panicked"))?.context("read output")
        }
        None => Ok(Vec::new()),
    };
    Ok(Output { status, stdout: collect(stdout)?, stderr: collect(stderr)? })
}

/// Like [`run`], but returns stdout, and fails with the last line of stderr if the command fails.
pub(crate) fn run_ok(command: &mut Command, limit: Duration) -> Result<String> {
    let output = run(command, limit)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason =
            stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
        bail!("{}: {}: {reason}", command.get_program().to_string_lossy(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for `child` to end; `None` if it still runs after `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("wait for a child process")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn drain(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed_at_its_limit() {
        let begin = Instant::now();
        let error = run(Command::new("sleep").arg("30"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error:#}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_is_one_line_with_its_reason() {
        let error = run_ok(
            Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"]),
            Duration::from_secs(10),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "sh: exit status: 3: last");
    }
}
