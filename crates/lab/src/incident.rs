//! The incident, told on real machines: an IP range is deleted in the cloud, and with it go the NICs of the masters,
//! the etcd members, the NFS server and a node. `lifeboat` finds the cause and brings the cluster back; then all etcd
//! data is destroyed, and it does so again from a snapshot.

mod click;
mod inventory;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::machines::{Lab, Role};
use crate::process;
pub use click::delete_reserved_range;
use inventory::inventory;

/// Longest one command of the story may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Longest until a lab that is up has settled.
const SETTLE: Duration = Duration::from_secs(90);

/// Tells it with this `lifeboat`, on the lab that is up.
pub fn run(lifeboat: &Path) -> Result<()> {
    let story = Story::begin(lifeboat)?;
    story.say("A healthy cluster");
    story.wait_until_healthy()?;
    story.lifeboat(&["diagnose"], 0)?;
    story.snapshot()?;

    story.say("The cloud's IP range 10.123.0.230-250 is deleted: six machines lose their NICs");
    delete_reserved_range(&story.lab)?;
    story.lifeboat(&["diagnose"], 3)?;
    let took = story.recover()?;
    println!(
        "NICs only: {:.1} s from recover to the workload answering through its Service",
        took.as_secs_f64()
    );

    story.say("And once more, with the data of every etcd member damaged");
    delete_reserved_range(&story.lab)?;
    for member in story.lab.blueprint().with_role(Role::Etcd) {
        story.lab.damage_etcd(&member.name)?;
    }
    let took = story.recover()?;
    println!("With a restore: {:.1} s from recover to the workload answering", took.as_secs_f64());
    story.lifeboat(&["diagnose"], 0)
}

/// Writes `lifeboat.yaml` of the lab that is up into a folder, with what it refers to.
pub fn write_inventory(dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir)?;
    fs::create_dir_all(dir.join("snapshots"))?;
    Ok(fs::write(dir.join("lifeboat.yaml"), inventory(&Lab::open()?, &dir)?)?)
}

struct Story {
    lab: Lab,
    lifeboat: PathBuf,
    dir: PathBuf,
}

impl Story {
    fn begin(lifeboat: &Path) -> Result<Self> {
        let lab = Lab::open()?;
        let dir = lab.state_dir().join("incident");
        write_inventory(&dir)?;
        Ok(Self { lab, lifeboat: lifeboat.into(), dir })
    }

    fn say(&self, what: &str) {
        println!("\n=== {what}\n");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.ns_command(&self.lifeboat);
        command.args(arguments).current_dir(&self.dir);
        command
    }

    /// Runs `lifeboat`, showing it, and expects its exit code.
    fn lifeboat(&self, arguments: &[&str], code: i32) -> Result<()> {
        println!("$ lifeboat {}", arguments.join(" "));
        let mut command = self.command(arguments);
        let output = process::run(&mut command, LIMIT)?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "lifeboat ended with {:?}: {said}", output.status.code());
        Ok(())
    }

    /// A cluster that has just come up still restarts what was there before its API servers.
    fn wait_until_healthy(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        while process::run(&mut self.command(&["diagnose"]), LIMIT)?.status.code() != Some(0) {
            ensure!(
                Instant::now() < deadline,
                "the lab is not well: run `lab ns -- lifeboat diagnose` in {}",
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
