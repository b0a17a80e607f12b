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

/// More than any command reads and writes.
const WARM_BYTES: usize = 6 << 30;
const LIMIT: Duration = Duration::from_secs(120);

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    /// Peak resident memory in bytes; 0 where it says nothing.
    pub(super) peak_rss: u64,
}

/// Makes the machine the same for every command: what was written before is brought to disk, so that nobody waits
/// for the writes of another; and memory is touched, because on a virtual machine whose free memory goes back to
/// its host, the first process that touches it waits for the host, page by page.
///
/// In a process of its own, or the commands started after it would have its peak memory for theirs.
fn level() -> Result<()> {
    let lab = std::env::current_exe().context("find this program")?;
    process::run_ok(Command::new(lab).arg("level"), LIMIT)?;
    Ok(())
}

/// Brings what was written to disk and touches memory: what goes before every measured command.
pub fn touch_memory() {
    rustix::fs::sync();
    let mut memory = vec![0_u8; WARM_BYTES];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// Runs a command to its end.
pub(super) fn measure(program: &Path, args: &[&str]) -> Result<Measured> {
    level()?;
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

/// From starting etcd on a data dir, with these flags, to the first linearizable read it serves.
pub(super) fn time_to_first_read(version: EtcdVersion, data_dir: &Path, flags: &[&str]) -> Result<Measured> {
    // The ids of its members were made with other peer URLs, which etcd does not hold against it.
    let layout = ClusterLayout::new(1)?;
    level()?;
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
