//! `kill -9` of `lifeboat` in the middle of the incident: a resumed run finishes what was begun, nothing is done
//! twice that must not be, and no data dir is lost.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use lab::incident::delete_reserved_range;
use lab::machines::{Layout, Topology};
use lifeboat_recovery::journal::{Entry, Event, Journal};

use crate::harness::Harness;
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("killed_at_every_step", Topology::Full, Layout::Systemd, killed_at_every_step),
    ("killed_at_random_moments", Topology::Full, Layout::Systemd, killed_at_random_moments),
];

/// Put into every member's data dir, to find it again wherever it is moved.
const MARK: &str = "/var/lib/etcd/member/lab-mark";
/// Number of kills at random moments; `LIFEBOAT_KILLS` overrides it.
const KILLS: usize = 6;
/// Timeout of one run.
const LIMIT: Duration = Duration::from_secs(300);
/// Step boundaries at most: an incident has about sixty, and a run that always starts over has no end of them.
const MAX_BOUNDARIES: usize = 400;

/// In the core scenarios, one boundary in so many; which ones changes from day to day.
const CORE_EVERY: u64 = 4;

/// A step that was begun, or was done.
type Boundary = (String, u32, &'static str);

/// What must be there again after the recovery.
struct Disaster {
    kept: BTreeSet<String>,
    aside_before: Vec<usize>,
}

impl Disaster {
    fn cause(harness: &Harness) -> Self {
        let kept = writer::acknowledged(harness, "before the kills", 20);
        harness.snapshot();
        let aside_before = aside(harness);
        delete_reserved_range(&harness.lab).expect("delete the range");
        for machine in harness.etcd_machines() {
            harness.lab.stop_etcd(&machine).expect("stop etcd");
            harness.sh(&machine, &format!("find /var/lib -name {} -delete; date > {MARK}", "lab-mark"));
            harness.machine(&machine).corrupt_etcd_db().expect("damage its db");
            harness.lab.start_etcd(&machine).expect("start etcd");
        }
        Self { kept, aside_before }
    }

    fn assert_recovered(&self, harness: &Harness) {
        harness.assert_healthy();
        assert_eq!(writer::lost(harness, &self.kept), Vec::<String>::new());
        for machine in harness.etcd_machines() {
            let marks = harness.sh(&machine, "find /var/lib -name lab-mark");
            assert_eq!(marks.lines().count(), 1, "{machine}'s old data dir: {marks}");
            assert!(marks.contains("lifeboat-"), "{machine}'s old data dir was not moved: {marks}");
            assert_eq!(harness.sh(&machine, "ls -A /var/lib/lifeboat"), "", "something is left on {machine}");
        }
        let moved: Vec<usize> = self.aside_before.iter().map(|before| before + 1).collect();
        assert_eq!(aside(harness), moved, "each data dir is moved aside once");
    }
}

/// How many old data dirs each member's machine has.
fn aside(harness: &Harness) -> Vec<usize> {
    let count = |machine: &String| {
        harness
            .sh(machine, "ls -d /var/lib/etcd.lifeboat-* 2>/dev/null | wc -l")
            .trim()
            .parse()
            .expect("a number")
    };
    harness.etcd_machines().iter().map(count).collect()
}

/// The journal of the newest operation.
pub fn journal(harness: &Harness) -> Vec<Entry> {
    let operations = harness.dir.join(".lifeboat");
    let Ok(entries) = fs::read_dir(&operations) else { return Vec::new() };
    let newest: Option<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).max();
    newest.and_then(|dir| Journal::read(&dir.join("journal.jsonl")).ok()).unwrap_or_default()
}

fn boundaries(harness: &Harness) -> BTreeSet<Boundary> {
    let mut plan = String::new();
    let mut found = BTreeSet::new();
    for entry in journal(harness) {
        match entry.event {
            Event::Plan { plan: id } => plan = id,
            Event::Begin { step, .. } => drop(found.insert((plan.clone(), step, "begun"))),
            Event::Done { step, .. } => drop(found.insert((plan.clone(), step, "done"))),
            _ => {}
        }
    }
    found
}

/// Waits until the run ends and returns its exit code, or kills it when `is_time` is true.
pub fn run_until(mut run: Child, mut is_time: impl FnMut() -> bool) -> Option<i32> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = run.try_wait().expect("wait") {
            return Some(status.code().expect("an exit code"));
        }
        assert!(Instant::now() < deadline, "a run takes longer than {LIMIT:?}");
        if is_time() {
            run.kill().expect("kill it");
            run.wait().expect("wait");
            return None;
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// Resumes what was killed; starts a recovery if there is none.
pub fn resume_or_start(harness: &Harness) -> Child {
    let unfinished = journal(harness);
    let ended = |entry: &Entry| matches!(entry.event, Event::Ended { .. });
    match unfinished.is_empty() || unfinished.iter().any(ended) {
        true => harness.start(&["recover", "--yes"]),
        false => harness.start(&["recover", "resume", "--yes"]),
    }
}

pub fn output(harness: &Harness) -> String {
    fs::read_to_string(harness.dir.join("output.log")).unwrap_or_default()
}

/// Every how many boundaries a run is killed, and at which of them first.
fn kill_interval() -> (u64, u64) {
    match crate::only_core() {
        false => (1, 0),
        true => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
            (CORE_EVERY, since.as_secs() / 86400 % CORE_EVERY)
        }
    }
}

/// Once when each step has begun, and once when it is done.
fn killed_at_every_step(harness: &Harness) {
    let (every, first) = kill_interval();
    eprintln!("--- killed at one step boundary in {every}, from number {first} on");
    let mut number = every - first;
    let disaster = Disaster::cause(harness);
    let before = boundaries(harness);
    let mut seen = before.clone();
    let begin = Instant::now();
    loop {
        let code = run_until(resume_or_start(harness), || {
            let new = boundaries(harness).difference(&seen).next().cloned();
            let Some(boundary) = new else { return false };
            seen.insert(boundary);
            number += 1;
            (number - 1).is_multiple_of(every)
        });
        match code {
            None => {}
            Some(0) => break,
            Some(code) => panic!("exit code {code}\n{}", output(harness)),
        }
        assert!(seen.len() - before.len() < MAX_BOUNDARIES, "no end\n{}", output(harness));
    }
    eprintln!("--- {} step boundaries, {:.0?} in all", seen.len() - before.len(), begin.elapsed());
    disaster.assert_recovered(harness);
}

fn killed_at_random_moments(harness: &Harness) {
    let kills = std::env::var("LIFEBOAT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut killed, mut rounds) = (0, 0);
    while killed < kills {
        rounds += 1;
        let disaster = Disaster::cause(harness);
        loop {
            let moment = Instant::now() + Duration::from_millis(random.u64(50..7000));
            let is_time = || killed < kills && Instant::now() >= moment;
            match run_until(resume_or_start(harness), is_time) {
                None => killed += 1,
                Some(0) => break,
                Some(code) => panic!("exit code {code}, seed {seed}\n{}", output(harness)),
            }
        }
        disaster.assert_recovered(harness);
    }
    eprintln!("--- killed at {killed} random moments in {rounds} incidents, seed {seed}");
}
