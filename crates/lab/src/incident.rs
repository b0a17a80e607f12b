//! The incident on the lab's machines: an IP range is deleted in the cloud, and with it the NICs of the masters, the
//! etcd members, the NFS server and a node. `lifeboat` finds the cause and recovers the cluster. Then all etcd data
//! is damaged too, and it recovers the cluster from a snapshot.

mod delete_ip_range;
mod inventory;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::machines::{Lab, Role};
use crate::process;
pub use delete_ip_range::delete_reserved_range;
use inventory::inventory;

/// Time limit of one command.
const LIMIT: Duration = Duration::from_secs(600);

/// How long a new lab may take until `diagnose` finds nothing.
const SETTLE: Duration = Duration::from_secs(90);

/// Runs the incident with this `lifeboat`, on the running lab.
pub fn run(lifeboat: &Path) -> Result<()> {
    let scenario = Scenario::begin(lifeboat)?;
    scenario.heading("The cluster is healthy; save a snapshot");
    scenario.wait_until_healthy()?;
    scenario.lifeboat(&["diagnose"], 0)?;
    scenario.snapshot()?;

    scenario
        .heading("The cloud's IP range 10.123.0.230-10.123.0.250 is deleted: six machines lose their NICs");
    delete_reserved_range(&scenario.lab)?;
    scenario.lifeboat(&["diagnose"], 3)?;
    let took = scenario.recover()?;
    println!("NICs only: recovered in {:.1} s; the workload answers through its Service", took.as_secs_f64());

    scenario.heading("The range is deleted again, and the db of every etcd member is damaged");
    delete_reserved_range(&scenario.lab)?;
    for member in scenario.lab.blueprint().with_role(Role::Etcd) {
        scenario.lab.damage_etcd(&member.name)?;
    }
    let took = scenario.recover()?;
    println!(
        "With a restore: recovered in {:.1} s; the workload answers through its Service",
        took.as_secs_f64()
    );
    scenario.lifeboat(&["diagnose"], 0)
}

/// Writes the running lab's `lifeboat.yaml`, and the files it refers to, into a directory.
pub fn write_inventory(dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir)?;
    fs::create_dir_all(dir.join("snapshots"))?;
    Ok(fs::write(dir.join("lifeboat.yaml"), inventory(&Lab::open()?, &dir)?)?)
}

struct Scenario {
    lab: Lab,
    lifeboat: PathBuf,
    dir: PathBuf,
}

impl Scenario {
    fn begin(lifeboat: &Path) -> Result<Self> {
        let lab = Lab::open()?;
        let dir = lab.state_dir().join("incident");
        write_inventory(&dir)?;
        Ok(Self { lab, lifeboat: lifeboat.into(), dir })
    }

    fn heading(&self, text: &str) {
        println!("\n=== {text}\n");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.ns_command(&self.lifeboat);
        command.args(arguments).current_dir(&self.dir);
        command
    }

    /// Runs `lifeboat` and shows the command with its output; it must exit with this code.
    fn lifeboat(&self, arguments: &[&str], code: i32) -> Result<()> {
        println!("$ lifeboat {}", arguments.join(" "));
        let mut command = self.command(arguments);
        let output = process::run(&mut command, LIMIT)?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code),
            "lifeboat exited with {:?}: {stderr}",
            output.status.code()
        );
        Ok(())
    }

    /// Components that started before the API servers are restarted for a while after `lab up`.
    fn wait_until_healthy(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        while process::run(&mut self.command(&["diagnose"]), LIMIT)?.status.code() != Some(0) {
            ensure!(
                Instant::now() < deadline,
                "the lab is not healthy: run `lab ns -- lifeboat diagnose` in {}",
                self.dir.display()
            );
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<()> {
        let (ca, cert, key) = self.lab.etcd_client_files();
        let text = |path: &Path| path.display().to_string();
        let url = self.lab.blueprint().etcd_endpoints().first().context("no etcd member")?.clone();
        let file = text(&self.dir.join("snapshots").join(format!("{}.db", std::process::id())));
        let (ca, cert, key) = (text(&ca), text(&cert), text(&key));
        self.lifeboat(&["save", &url, &file, "--cacert", &ca, "--cert", &cert, "--key", &key], 0)
    }

    fn recover(&self) -> Result<Duration> {
        let begin = Instant::now();
        self.lifeboat(&["recover", "--yes"], 0)?;
        Ok(begin.elapsed())
    }
}
