//! One round: a layout, faults while a client writes, a recovery, and the same command once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use fs_err as fs;

use super::faults::{Injection, LAYOUTS, Layout};
use super::observe::{self, Disk, MachineState, Served};
use super::{baseline, verdict};
use crate::harness::Harness;
use crate::writer;

/// Longest one run of lifeboat may take.
const LIMIT: Duration = Duration::from_secs(420);
/// Between two looks that see the same: an election, or a member that does not survive its start.
const SETTLE: Duration = Duration::from_secs(4);
/// A member that never settles is started again and again.
const SETTLES: usize = 4;
/// Longest until a cluster that lost power serves again.
const REBOOT: Duration = Duration::from_secs(90);

/// What a seed decides.
#[derive(Debug)]
pub struct Draw {
    pub seed: u64,
    /// The layout, and the machines that have it.
    pub layout: Option<(Layout, Vec<String>)>,
    pub injections: Vec<Injection>,
    /// Whether a snapshot is taken before the last writes.
    pub snapshot: bool,
    /// Whether all machines lose power after the recovery.
    pub reboot: bool,
}

/// The result of one run of lifeboat.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// `None` if it had to be killed.
    pub code: Option<i32>,
    /// The report.
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// Everything observed in a round.
#[derive(Debug)]
pub struct Round {
    pub draw: Draw,
    /// Writes that were acknowledged before the recovery began.
    pub acknowledged: BTreeSet<String>,
    pub before: Served,
    pub machines_before: BTreeMap<String, MachineState>,
    pub disks: Vec<Disk>,
    pub first: RunResult,
    pub resumed: Option<RunResult>,
    pub after: Served,
    pub machines_after: BTreeMap<String, MachineState>,
    pub second: RunResult,
    pub finally: Served,
    pub machines_finally: BTreeMap<String, MachineState>,
    /// What is served after every machine lost power, where that was tried.
    pub rebooted: Option<Served>,
}

/// The outcome of a round.
pub struct Outcome {
    pub draw: String,
    /// Exit codes of the runs, and the writes that are lost.
    pub summary: String,
    pub violations: Vec<String>,
}

impl Draw {
    pub fn of(seed: u64, machines: &[String]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..=3);
        let layout = (rng.u32(..100) < 35).then(|| {
            let all = rng.bool();
            let one = machines[rng.usize(..machines.len())].clone();
            let layout = LAYOUTS[rng.usize(..LAYOUTS.len())];
            (layout, if all { machines.to_vec() } else { vec![one] })
        });
        let faults = if layout.is_some() { count.max(2) - 1 } else { count };
        let injections = match rng.u32(..3) {
            0 => Injection::draw_damage(&mut rng, machines),
            _ => Injection::draw_all(&mut rng, machines, faults),
        };
        let reboot = layout.is_some() || rng.u32(..4) == 0;
        Self { seed, layout, injections, snapshot: rng.bool(), reboot }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let mut text = format!("seed {}: ", self.seed);
        if let Some((layout, machines)) = &self.layout {
            let _ = write!(text, "{layout:?} on {}; ", machines.join("+"));
        }
        let faults: Vec<String> = self.injections.iter().map(ToString::to_string).collect();
        text.push_str(&faults.join("; "));
        if self.snapshot {
            text.push_str("; a snapshot");
        }
        text
    }
}

impl RunResult {
    /// The state that the report says to restore, where only a person may say that it is right: a member's, or else the
    /// snapshot that there is.
    fn advised_source(&self, snapshot: Option<&Path>) -> Option<String> {
        let named = self.stdout.split("lifeboat recover --source ").skip(1).find_map(|behind| {
            let is_end = |end: char| !(end.is_ascii_alphanumeric() || "-._:".contains(end));
            let source = behind.split(is_end).next()?;
            // Of several that serve, it names none.
            (source.starts_with("member:") && source != "member:NAME").then(|| source.to_owned())
        });
        let file = || snapshot.filter(|_| self.stdout.contains("lifeboat recover --source FILE"));
        named.or_else(|| file().map(|path| path.display().to_string()))
    }

    /// Whether it changed nothing, since the operator has to choose the right state.
    pub fn leaves_choice_to_operator(&self) -> bool {
        self.steps() == 0 && self.stdout.contains("etcd.state-lost")
    }

    /// The number of steps that were executed.
    pub fn steps(&self) -> usize {
        self.stderr.lines().filter(|line| line.starts_with('[') && !line.contains("] failed")).count()
    }

    fn run(harness: &Harness, arguments: &[impl AsRef<str>], dir: &Path, name: &str) -> Result<Self> {
        let [out, err] = ["out", "err"].map(|end| dir.join(format!("{name}.{end}")));
        let begin = Instant::now();
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut command = harness.command(&arguments);
        command.stdout(fs::File::create(&out)?.into_file()).stderr(fs::File::create(&err)?.into_file());
        let mut child = command.stdin(Stdio::null()).spawn()?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begin.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok(Self {
            code: status.and_then(|status| status.code()),
            stdout: fs::read_to_string(out)?,
            stderr: fs::read_to_string(err)?,
            took: begin.elapsed(),
        })
    }
}

/// Runs a round and checks it; outputs and observations are kept below `dir`.
pub fn run(harness: &Harness, draw: Draw, dir: &Path) -> Outcome {
    let described = draw.describe();
    eprintln!("--- {described}");
    let seen = execute(harness, draw, dir);
    let outcome = match &seen {
        Ok(round) => {
            Outcome { draw: described, summary: round.summary(), violations: verdict::violations(round) }
        }
        Err(error) => Outcome {
            draw: described,
            summary: "not run".into(),
            violations: vec![format!("harness: {error:#}")],
        },
    };
    let mut text = format!("{}\n{}\n", outcome.draw, outcome.summary);
    for violation in &outcome.violations {
        let _ = writeln!(text, "VIOLATED: {violation}");
    }
    eprint!("{text}");
    let _ = fs::write(dir.join("verdict.txt"), text);
    outcome
}

fn execute(harness: &Harness, draw: Draw, dir: &Path) -> Result<Round> {
    let dir = fresh(dir)?;
    fs::write(dir.join("faults.txt"), format!("{draw:#?}\n"))?;
    baseline::restore(harness).context("put the lab back")?;
    if let Some((layout, machines)) = &draw.layout {
        for machine in machines {
            layout.apply(harness, machine).with_context(|| format!("{layout:?} on {machine}"))?;
        }
        settle(harness)?;
    }
    let acknowledged = writes_and_faults(harness, &draw)?;
    let before = settled(harness)?;
    let machines_before = observe::machine_states(harness)?;
    let disks = observe::disks(harness, &dir)?;
    fs::write(dir.join("disks.txt"), described(&disks, &acknowledged))?;
    let facts = dir.join("facts.json").display().to_string();
    RunResult::run(harness, &["diagnose", "-o", "json", "--save-facts", &facts], &dir, "diagnose")?;

    let mut command = ["recover", "--yes", "-o", "json"].map(str::to_owned).to_vec();
    let mut first = RunResult::run(harness, &command, &dir, "recover")?;
    let snapshot = harness.dir.join("snapshots/snapshot.db");
    let snapshot = snapshot.exists().then_some(snapshot.as_path());
    if let (Some(3), Some(source)) = (first.code, first.advised_source(snapshot)) {
        command.extend(["--source".to_owned(), source]);
        if first.stdout.contains("stop etcd everywhere") {
            baseline::everywhere(harness, "systemctl stop etcd")?;
        }
        first = RunResult::run(harness, &command, &dir, "advised")?;
    }
    let resumed = match first.code {
        Some(5) => {
            Some(RunResult::run(harness, &["recover", "resume", "--yes", "-o", "json"], &dir, "resume")?)
        }
        _ => None,
    };
    let after = at_least(harness, before.healthy.len())?;
    let machines_after = observe::machine_states(harness)?;
    let second = RunResult::run(harness, &command, &dir, "again")?;
    let finally = at_least(harness, after.healthy.len())?;
    let machines_finally = observe::machine_states(harness)?;
    observe::keep_logs(harness, &dir)?;
    let rebooted = match draw.reboot && first.code == Some(0) {
        true => Some(lose_power(harness, finally.healthy.len())?),
        false => None,
    };
    Ok(Round {
        draw,
        acknowledged,
        before,
        machines_before,
        disks,
        first,
        resumed,
        after,
        machines_after,
        second,
        finally,
        machines_finally,
        rebooted,
    })
}

fn fresh(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    Ok(dir.into())
}

/// Waits until every member serves.
fn settle(harness: &Harness) -> Result<()> {
    let all = harness.etcd_machines().len();
    let served = at_least(harness, all)?;
    anyhow::ensure!(served.healthy.len() == all, "only {:?} serve with the new layout", served.healthy);
    Ok(())
}

/// Injects the faults while a client writes; the writes that were acknowledged.
fn writes_and_faults(harness: &Harness, draw: &Draw) -> Result<BTreeSet<String>> {
    let mut rng = Rng::with_seed(draw.seed ^ 0x5EED);
    let mut keys = writer::acknowledged(harness, "early", 60);
    if draw.snapshot {
        harness.snapshot();
        keys.extend(writer::acknowledged(harness, "late", 40));
    }
    let mut injected = Ok(());
    let account = writer::during(harness, &harness.lab.blueprint().etcd_endpoints(), || {
        for injection in &draw.injections {
            thread::sleep(Duration::from_millis(rng.u64(200..2500)));
            injected = injection.inject(harness).with_context(|| format!("inject {injection}"));
            if injected.is_err() {
                return;
            }
        }
        thread::sleep(Duration::from_millis(rng.u64(200..2500)));
    });
    injected?;
    keys.extend(account.acknowledged);
    Ok(keys)
}

/// What is served once it no longer changes, or the least that was observed.
fn settled(harness: &Harness) -> Result<Served> {
    let mut before = Served::ask(harness)?;
    for _ in 0..SETTLES {
        thread::sleep(SETTLE);
        let now = Served::ask(harness)?;
        if now.healthy == before.healthy {
            return Ok(now);
        }
        before = if now.healthy.len() < before.healthy.len() { now } else { before };
    }
    Ok(before)
}

/// What is served, with time for an election if fewer members than `healthy` serve.
fn at_least(harness: &Harness, healthy: usize) -> Result<Served> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let served = Served::ask(harness)?;
        if served.healthy.len() >= healthy || Instant::now() > deadline {
            return Ok(served);
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Cuts the power of every machine, switches it on again, and waits until as many members serve as before.
fn lose_power(harness: &Harness, healthy: usize) -> Result<Served> {
    let machines = harness.lab.machines();
    machines.iter().try_for_each(lab::machines::Machine::kill)?;
    machines.iter().try_for_each(lab::machines::Machine::start)?;
    let deadline = Instant::now() + REBOOT;
    loop {
        let served = Served::ask(harness)?;
        if served.healthy.len() >= healthy || Instant::now() > deadline {
            return Ok(served);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

fn described(disks: &[Disk], acknowledged: &BTreeSet<String>) -> String {
    let mut text = format!("{} writes acknowledged\n", acknowledged.len());
    for Disk { machine, dir, keys } in disks {
        let _ = match keys {
            Ok(keys) => {
                let missing = acknowledged.difference(keys).count();
                writeln!(text, "{machine} {dir}: {} keys, lacks {missing} of those acknowledged", keys.len())
            }
            Err(why) => writeln!(text, "{machine} {dir}: {why}"),
        };
    }
    text
}

impl Round {
    /// Acknowledged writes that are not served.
    pub fn lost(&self, served: &Served) -> Option<Vec<&String>> {
        let keys = served.keys.as_ref()?;
        Some(self.acknowledged.iter().filter(|key| !keys.contains(*key)).collect())
    }

    fn summary(&self) -> String {
        let code = |run: &RunResult| run.code.map_or("killed".into(), |code| code.to_string());
        let lost = |served: &Served| {
            self.lost(served).map_or("not served".into(), |lost| format!("{} lost", lost.len()))
        };
        let mut text = format!("exit {} in {:.0} s", code(&self.first), self.first.took.as_secs_f64());
        if let Some(resumed) = &self.resumed {
            let _ = write!(text, ", resumed {}", code(resumed));
        }
        let _ = write!(
            text,
            ", again {}; {} of {} acknowledged writes; healthy {} -> {} -> {}",
            code(&self.second),
            lost(&self.finally),
            self.acknowledged.len(),
            self.before.healthy.len(),
            self.after.healthy.len(),
            self.finally.healthy.len()
        );
        if let Some(rebooted) = &self.rebooted {
            let _ = write!(text, " -> {} after a power loss", rebooted.healthy.len());
        }
        text
    }
}
