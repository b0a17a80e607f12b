//! Wall time and peak memory of a process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lifeboat_client::messages::RangeRequest;
use wait4::Wait4;

use crate::cluster::{ClusterBuilder, ClusterLayout};
use crate::peers::EtcdVersion;
use crate::process;

/// More memory than any command reads and writes.
const WARM_BYTES: usize = 6 << 30;
const LIMIT: Duration = Duration::from_secs(120);

/// Time and memory of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    /// Peak resident memory in bytes; 0 where it is not measured.
    pub(super) peak_rss: u64,
}

/// Prepares the machine, so that all commands start from the same state: earlier writes are synced to disk, and memory
/// is touched, since on a virtual machine that returns free memory to its host, the first process to touch it waits.
///
/// Runs in a process of its own: otherwise its peak memory would count as that of the commands started after it.
fn prepare() -> Result<()> {
    let lab = std::env::current_exe().context("find this program")?;
    process::run_ok(Command::new(lab).arg("touch-memory"), LIMIT)?;
    Ok(())
}

/// Syncs earlier writes to disk and touches memory.
pub fn touch_memory() {
    rustix::fs::sync();
    let mut memory = vec![0_u8; WARM_BYTES];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// Runs and measures a command.
pub(super) fn measure(program: &Path, args: &[&str]) -> Result<Measured> {
    prepare()?;
    let begin = Instant::now();
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let ended = child.wait4().with_context(|| format!("wait for {}", program.display()))?;
    ensure!(ended.status.success(), "{} {args:?}: {}", program.display(), ended.status);
    Ok(Measured { wall: begin.elapsed(), peak_rss: ended.rusage.maxrss })
}

/// Measures from the start of etcd on a data dir, with these flags, to its first linearizable read.
pub(super) fn time_to_first_read(version: EtcdVersion, data_dir: &Path, flags: &[&str]) -> Result<Measured> {
    // The member ids follow from other peer URLs, which etcd does not check.
    let layout = ClusterLayout::new(1)?;
    prepare()?;
    let begin = Instant::now();
    let builder = ClusterBuilder::new(version)
        .layout(layout)
        .restored([data_dir])
        .flag("--quota-backend-bytes=8589934592");
    let mut cluster = flags.iter().fold(builder, |builder, flag| builder.flag(*flag)).spawn()?;
    cluster.wait_healthy(LIMIT)?;
    let client = cluster.client(0)?;
    cluster.block_on(client.range(RangeRequest::key("/registry/pods/namespace-000/workload-000000")))?;
    let wall = begin.elapsed();
    cluster.stop(0)?;
    Ok(Measured { wall, peak_rss: 0 })
}
