//! The benchmark: Lifeboat against etcd's own tools and plain copying, on one large snapshot; and against etcd itself,
//! on the data dir of a killed member.
//!
//! Every round runs each command once, so that a machine that slows down slows all of them. The result is the ratio
//! within a round; the table shows the minimum and the median.

mod data;
mod measure;
mod replay;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use fs_err as fs;

use crate::peers::{self, EtcdVersion};
pub use measure::touch_memory;
use measure::{Measured, measure, time_to_first_read};
use table::Table;

/// Rounds: enough for a median, few enough to finish in minutes.
const ROUNDS: usize = 5;
const VERSION: EtcdVersion = EtcdVersion::V3_6;
const ONE: &str = "m1=http://127.0.0.1:2380";
const THREE: &str = "m1=http://127.0.0.1:2380,m2=http://127.0.0.1:2382,m3=http://127.0.0.1:2384";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Restoring, checking and starting from a large snapshot.
    Snapshot,
    /// Replaying the log of a killed member.
    Replay,
    /// Inspecting a killed member with a large db.
    DataDir,
}

/// Runs the benchmark, or one case of it, with this `lifeboat`, and returns its tables in Markdown.
pub fn run(lifeboat: &Path, only: Option<Case>) -> Result<String> {
    let mut text = machine()?;
    for case in Case::value_variants().iter().filter(|case| only.is_none_or(|only| only == **case)) {
        text.push_str(&match case {
            Case::Snapshot => snapshot(lifeboat)?,
            Case::Replay => replay::LOG.run(VERSION, lifeboat)?,
            Case::DataDir => replay::DATA_DIR.run(VERSION, lifeboat)?,
        });
    }
    Ok(text)
}

fn snapshot(lifeboat: &Path) -> Result<String> {
    let peers = peers::etcd(VERSION)?;
    let etcdutl = peers.etcdutl.context("etcdutl 3.6")?;
    let snapshot = data::snapshot(VERSION, lifeboat)?;
    let work = tempfile::tempdir_in(snapshot.parent().context("directory of the snapshot")?)?;
    let case = SnapshotCase { lifeboat, etcdutl: &etcdutl, snapshot: &snapshot, work: work.path() };

    let table = rounds(|| case.round())?;
    let size = fs::metadata(&snapshot)?.len();
    let size = size as f64 / 1e9;
    let data = data::describe();
    Ok(format!("\nData: {data}; a snapshot of {size:.2} GB. {ROUNDS} rounds.\n\n{}", table.markdown()))
}

fn rounds(mut round: impl FnMut() -> Result<Vec<(&'static str, Measured)>>) -> Result<Table> {
    let mut table = Table::default();
    for number in 0..=ROUNDS {
        eprintln!("round {number} of {ROUNDS}{}", if number == 0 { " (not counted)" } else { "" });
        let results = round()?;
        if number > 0 {
            table.add(results);
        }
    }
    Ok(table)
}

struct SnapshotCase<'a> {
    lifeboat: &'a Path,
    etcdutl: &'a Path,
    snapshot: &'a Path,
    work: &'a Path,
}

impl SnapshotCase<'_> {
    /// Runs every command once.
    fn round(&self) -> Result<Vec<(&'static str, Measured)>> {
        let snapshot = self.snapshot.to_str().context("path of the snapshot")?;
        let dir = |name: &str| self.work.join(name).display().to_string();
        let (ours, three, theirs, copy) = (dir("ours"), dir("three"), dir("theirs"), dir("copy"));
        let run = |program: &Path, args: &[&str]| measure(program, args);
        let results = vec![
            ("cp", run(Path::new("cp"), &[snapshot, &copy])?),
            ("sha256sum", run(Path::new("sha256sum"), &[snapshot])?),
            ("lifeboat restore", restore(self.lifeboat, self.snapshot, ONE, Path::new(&ours), &[])?),
            ("etcdutl restore", self.etcdutl_restore(&theirs)?),
            (
                "lifeboat restore, 3 members",
                restore(self.lifeboat, self.snapshot, THREE, Path::new(&three), &[])?,
            ),
            ("lifeboat check", run(self.lifeboat, &["check", snapshot])?),
            ("etcdutl status", run(self.etcdutl, &["snapshot", "status", snapshot])?),
            ("first read, lifeboat's dir", time_to_first_read(VERSION, &self.work.join("ours/m1"), &[])?),
            ("first read, etcdutl's dir", time_to_first_read(VERSION, &self.work.join("theirs"), &[])?),
        ];
        for path in [&ours, &three, &theirs] {
            fs::remove_dir_all(path)?;
        }
        fs::remove_file(&copy)?;
        Ok(results)
    }

    /// With the flags for what Lifeboat does by default.
    fn etcdutl_restore(&self, dir: &str) -> Result<Measured> {
        let snapshot = self.snapshot.to_str().context("path of the snapshot")?;
        let mut args = vec!["snapshot", "restore", snapshot, "--name", "m1", "--data-dir", dir];
        args.extend(["--initial-cluster", ONE, "--initial-advertise-peer-urls", "http://127.0.0.1:2380"]);
        args.extend([
            "--initial-cluster-token",
            "bench",
            "--bump-revision",
            "1000000000",
            "--mark-compacted",
        ]);
        measure(self.etcdutl, &args)
    }
}

/// Restores the snapshot for every member.
fn restore(
    lifeboat: &Path,
    snapshot: &Path,
    initial_cluster: &str,
    dir: &Path,
    more: &[&str],
) -> Result<Measured> {
    let [snapshot, dir] = [snapshot, dir].map(|path| path.to_str().context("path"));
    let args = ["restore", snapshot?, "--all-members", dir?, "--initial-cluster", initial_cluster];
    measure(lifeboat, &[&args, more].concat())
}

/// One line that describes the machine.
fn machine() -> Result<String> {
    let read = |path: &str| fs::read_to_string(PathBuf::from(path)).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism()?;
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let sha = if read("/proc/cpuinfo").contains("sha_ni") { "with" } else { "without" };
    Ok(format!("Machine: {cores} cores of {cpu} ({sha} SHA instructions), {memory} of memory.\n"))
}
