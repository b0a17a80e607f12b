//! Runs the lab's cloud as a background process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use super::state::State;
use super::{CLOUD, Lab, network, power};

/// Its port, at the address [`CLOUD`].
pub const PORT: u16 = 8080;
const LIMIT: Duration = Duration::from_secs(20);

/// The directory of its state.
pub(crate) fn state_dir(state: &State) -> PathBuf {
    state.dir().join("cloud")
}

/// Starts the cloud unless it runs; `program` is `lab`.
pub(crate) fn start(lab: &Lab, program: &Path) -> Result<()> {
    let dir = state_dir(&lab.state);
    let address = SocketAddr::from((CLOUD, PORT));
    if power::with_argument(&dir.to_string_lossy())?.is_empty() {
        fs::create_dir_all(&dir)?;
        let log = fs::File::create(lab.state_dir().join("cloud.log"))?;
        let mut command = network::command("setsid");
        command.arg("--fork").arg(program).args(["cloud", "--state"]).arg(&dir).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone()?.into_file()).stderr(log.into_file());
        let status = command.status().context("start the cloud")?;
        ensure!(status.success(), "start the cloud: {status}");
    }
    let deadline = Instant::now() + LIMIT;
    while !network::answers(address, Duration::from_secs(1))? {
        ensure!(
            Instant::now() < deadline,
            "the lab's cloud does not answer; see {}",
            lab.state_dir().join("cloud.log").display()
        );
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Kills the cloud, if it runs. It saves its state before it answers, so it can be killed at any time.
pub(crate) fn stop(state: &State) -> Result<()> {
    let argument = state_dir(state);
    let deadline = Instant::now() + LIMIT;
    loop {
        let running = power::with_argument(&argument.to_string_lossy())?;
        if running.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the cloud does not stop");
        for pid in running {
            power::signal("KILL", pid)?;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
