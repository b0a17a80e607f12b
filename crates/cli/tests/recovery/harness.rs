//! The lab's cluster, and runs of `lifeboat` against it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use lab::incident;
use lab::machines::{Lab, Layout, Machine, Role, Topology};
use lifeboat_client::{Client, ConnectOptions};
use serde_json::Value;

/// Timeout until a cluster that is up is healthy.
const SETTLE: Duration = Duration::from_secs(120);

/// Timeout until a cluster that a scenario has left is healthy; after it, a new one is made.
const REUSE: Duration = Duration::from_secs(40);

/// A finished run of `lifeboat`.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// All its output, for messages of failed tests.
    pub fn output(&self) -> String {
        format!("exit {:?} after {:.1?}\n{}\n{}", self.code, self.took, self.stdout, self.stderr)
    }

    /// The steps that were executed, as listed in the report of a recovery.
    pub fn steps(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with("  ") && line.contains(" s  ")).collect()
    }

    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.output());
        self
    }
}

/// A healthy cluster, its inventory, and a snapshot directory.
pub struct Harness {
    pub lab: Lab,
    pub dir: PathBuf,
    /// The file for the facts right before the first recovery, while they are to be recorded.
    recording: Mutex<Option<PathBuf>>,
}

impl Harness {
    /// A lab of this kind: the one that is up, if it is healthy, otherwise a new one.
    pub fn on(topology: Topology, layout: Layout) -> Self {
        STARTED.store(true, Ordering::Relaxed);
        if let Ok(lab) = Lab::open() {
            let same = (lab.blueprint().topology, lab.blueprint().layout) == (topology, layout);
            let harness = Self::new(lab);
            if same && harness.is_healthy_within(REUSE) {
                return harness;
            }
            tear_down();
        }
        let mut up = Command::new(lab_program());
        up.args(["up", "--topology", &topology.to_string(), "--layout", &layout.to_string()]);
        let status = up.stdin(Stdio::null()).status().expect("run lab");
        assert!(status.success(), "lab up: {status}");
        let harness = Self::new(Lab::open().expect("the lab that is up"));
        assert!(harness.is_healthy_within(SETTLE), "{}", harness.lifeboat(&["diagnose"]).output());
        harness
    }

    fn new(lab: Lab) -> Self {
        let dir = lab.state_dir().join("harness");
        incident::write_inventory(&dir).expect("write the inventory");
        Self::at(lab, dir)
    }

    /// A directory to run `lifeboat` in, which has the inventory.
    pub fn at(lab: Lab, dir: PathBuf) -> Self {
        Self { lab, dir, recording: Mutex::default() }
    }

    /// Waits until the cluster is healthy: right after a start, it still restarts what was there before its API
    /// servers.
    fn is_healthy_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.lifeboat(&["diagnose"]).code {
                Some(0) => return true,
                _ if Instant::now() >= deadline => return false,
                _ => thread::sleep(Duration::from_secs(1)),
            }
        }
    }

    /// `lifeboat`, to be run beside the inventory and inside the lab's network.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.ns_command(env!("CARGO_BIN_EXE_lifeboat"));
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    pub fn lifeboat(&self, arguments: &[&str]) -> Run {
        self.record_before(arguments);
        let begin = Instant::now();
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("run lifeboat");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run { code: status.code(), stdout: text(stdout), stderr: text(stderr), took: begin.elapsed() }
    }

    /// Has the facts right before the first recovery written to a file, for the tests of rules and planner.
    pub fn record_facts(&self, file: PathBuf) {
        *self.recording.lock().expect("lock") = Some(file);
    }

    fn record_before(&self, arguments: &[&str]) {
        let recovers = matches!(arguments, ["recover"] | ["recover", "--yes" | "plan", ..]);
        let Some(file) = self.recording.lock().expect("lock").take_if(|_| recovers) else { return };
        let saved = self.dir.join("facts.json");
        let text = saved.display().to_string();
        let output =
            self.command(&["recover", "plan", "--save-facts", &text]).output().expect("run lifeboat");
        assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{output:?}");
        // The facts name files of the inventory, which lie where the lab of this machine is.
        let facts = fs::read_to_string(&saved).expect("read facts");
        let here = self.lab.state_dir().display().to_string();
        fs::write(file, facts.replace(&here, "/lab")).expect("write recorded facts");
        fs::remove_file(saved).expect("remove facts");
    }

    /// Starts `lifeboat` with its output in a file.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.record_before(arguments);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("output.log"))
            .expect("open log");
        let mut command = self.command(arguments);
        command.stdout(log.try_clone().expect("clone").into_file()).stderr(log.into_file());
        command.spawn().expect("start lifeboat")
    }

    /// The ids of the causes that `diagnose` names.
    pub fn causes(&self) -> Vec<String> {
        let run = self.lifeboat(&["diagnose", "-o", "json"]);
        let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.output()));
        let causes = json["causes"].as_array().unwrap_or_else(|| panic!("{}", run.output()));
        causes.iter().map(|cause| cause["id"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until `diagnose` finds exactly these causes.
    pub fn wait_for_causes(&self, expected: &[&str]) {
        self.eventually(&format!("diagnose finds {expected:?}"), || {
            let causes = self.causes();
            let all = causes.len() == expected.len()
                && causes.iter().zip(expected).all(|(cause, expected)| cause == expected);
            if all { Ok(()) } else { Err(format!("{causes:?}")) }
        });
    }

    /// Waits until `diagnose` finds a cause with one of these ids.
    pub fn wait_for_any_cause(&self, ids: &[&str]) {
        self.eventually(&format!("diagnose finds one of {ids:?}"), || match self.causes() {
            causes if causes.iter().any(|cause| ids.contains(&cause.as_str())) => Ok(()),
            causes => Err(format!("{causes:?}")),
        });
    }

    /// Recovers without confirmations, prints the time of each step, and expects a healthy cluster.
    pub fn recover(&self, title: &str) -> Run {
        self.recover_with(title, &[])
    }

    pub fn recover_with(&self, title: &str, arguments: &[&str]) -> Run {
        let ended = AtomicBool::new(false);
        let (run, answers) = thread::scope(|scope| {
            let workload = scope.spawn(|| self.measure_workload_downtime(&ended));
            let run = self.lifeboat(&[&["recover", "--yes"], arguments].concat());
            ended.store(true, Ordering::Relaxed);
            (run, workload.join().expect("asking the workload"))
        });
        let (took, answers) = (run.took.as_secs_f64(), answers.as_secs_f64());
        eprintln!(
            "--- {title}: {took:.1} s from recover to its end; the workload answers after {answers:.1} s\n{}",
            run.stdout
        );
        let run = run.expect(0);
        self.assert_healthy();
        run
    }

    /// Polls the workload until `ended`; returns how long it took until it answered and kept answering.
    fn measure_workload_downtime(&self, ended: &AtomicBool) -> Duration {
        let (begin, mut answers) = (Instant::now(), None);
        while !ended.load(Ordering::Relaxed) {
            match self.ask_workload() {
                Ok(()) => drop(answers.get_or_insert_with(|| begin.elapsed())),
                Err(_) => answers = None,
            }
            thread::sleep(Duration::from_millis(200));
        }
        answers.unwrap_or_else(|| begin.elapsed())
    }

    /// Asks the workload through its Service, on the node that loses its NIC in the incident.
    fn ask_workload(&self) -> Result<(), String> {
        let Some(node) = self.lab.blueprint().with_role(Role::Node).next() else { return Ok(()) };
        let url = format!("http://{}:{}/", node.ip, lab::machines::WEB_PORT);
        answer(self.lab.ns_command("curl").args(["-sSf", "-m", "2", &url])).map(drop)
    }

    /// Expects a recovered cluster: no findings, every member with the same data, API servers ready, nodes Ready, and a
    /// workload that answers. Checked with `lifeboat` and, independently, with other tools.
    pub fn assert_healthy(&self) {
        let run = self.lifeboat(&["diagnose"]);
        assert_eq!(run.code, Some(0), "{}", run.output());
        assert_eq!(self.hashes().len(), 1, "the members' data differs: {:?}", self.hashes());
        for master in self.lab.blueprint().with_role(Role::Master) {
            let server = format!("--server=https://{}:6443", master.ip);
            assert_eq!(self.kubectl(&[&server, "get", "--raw", "/readyz"]).as_deref(), Ok("ok"));
        }
        let nodes = self.kubectl(&["get", "nodes", "--no-headers"]).expect("get nodes");
        assert!(nodes.lines().all(|line| line.split_whitespace().nth(1) == Some("Ready")), "{nodes}");
        self.ask_workload().expect("the workload answers");
    }

    /// HashKV of every member at one revision; a single entry if their data is equal.
    fn hashes(&self) -> std::collections::BTreeSet<String> {
        let mut endpoints = self.lab.blueprint().etcd_endpoints();
        let all = endpoints.join(",");
        let revision = self.etcd(&endpoints.remove(0), async |client| {
            client.status().await.expect("status").header.revision
        });
        let hashes =
            self.etcdctl(&["--endpoints", &all, "endpoint", "hashkv", "--rev", &revision.to_string()]);
        let lines = hashes.expect("hashkv");
        lines.lines().filter_map(|line| Some(line.split(", ").nth(1)?.to_owned())).collect()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        answer(self.lab.kubectl().arg("--request-timeout=10s").args(arguments))
    }

    /// Runs the real etcdctl with a client certificate.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let etcd = lab::peers::etcd(lab::peers::EtcdVersion::V3_6).expect("etcd");
        let (ca, cert, key) = self.lab.etcd_client_files();
        let mut command = self.lab.ns_command(etcd.etcdctl);
        command.arg("--cacert").arg(ca).arg("--cert").arg(cert).arg("--key").arg(key).args(arguments);
        answer(&mut command)
    }

    /// Connects to one member from inside the lab's network.
    pub fn etcd<T: Send>(&self, endpoint: &str, ask: impl AsyncFnOnce(Client) -> T + Send) -> T {
        let options = self.etcd_options();
        let work = || {
            runtime()
                .block_on(async { ask(Client::connect(&options, endpoint).await.expect("connect")).await })
        };
        self.lab.inside(work).expect("enter the lab's network")
    }

    pub fn etcd_options(&self) -> ConnectOptions {
        let (ca, cert, key) = self.lab.etcd_client_files();
        ConnectOptions { ca_cert: Some(ca), cert: Some(cert), key: Some(key), ..ConnectOptions::default() }
    }

    pub fn machine(&self, name: &str) -> Machine {
        self.lab.machine(name).expect("a machine of the lab")
    }

    /// The name of a machine's etcd member.
    pub fn member(&self, machine: &str) -> String {
        self.machine(machine).spec().member_name(self.lab.blueprint().layout)
    }

    /// The machines with etcd members.
    pub fn etcd_machines(&self) -> Vec<String> {
        self.lab.blueprint().with_role(Role::Etcd).map(|machine| machine.name.clone()).collect()
    }

    /// Saves a snapshot to the inventory's snapshot directory, as the only one there.
    pub fn snapshot(&self) -> PathBuf {
        let dir = self.dir.join("snapshots");
        fs::remove_dir_all(&dir).expect("remove old snapshots");
        fs::create_dir(&dir).expect("make the directory");
        let path = dir.join("snapshot.db");
        let (ca, cert, key) = self.lab.etcd_client_files();
        let text = |path: &Path| path.display().to_string();
        let endpoint = self.lab.blueprint().etcd_endpoints().remove(0);
        let files = [text(&ca), text(&cert), text(&key)];
        let [ca, cert, key] = &files;
        let file = text(&path);
        self.lifeboat(&["save", &endpoint, &file, "--cacert", ca, "--cert", cert, "--key", key]).expect(0);
        path
    }

    /// Runs a shell command in a machine, without its network.
    pub fn sh(&self, machine: &str, script: &str) -> String {
        self.machine(machine).exec(&["sh", "-c", script]).expect("run a command in a machine")
    }

    /// Retries until the question is answered with `Ok`.
    pub fn eventually(&self, what: &str, mut question: impl FnMut() -> Result<(), String>) {
        let deadline = Instant::now() + SETTLE;
        while let Err(why) = question() {
            assert!(Instant::now() < deadline, "waited too long: {what}: {why}");
            thread::sleep(Duration::from_millis(300));
        }
    }
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether any scenario has started, so that the lab is ours.
pub fn any_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// Takes the lab down, if one is up.
pub fn tear_down() {
    if let Err(error) = Lab::down(false) {
        eprintln!("{error:#}");
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start runtime")
}

/// `lab`, which `make lab-test` builds beside `lifeboat`.
fn lab_program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_lifeboat")).with_file_name("lab")
}

fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
