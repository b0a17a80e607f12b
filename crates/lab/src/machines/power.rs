//! Switches machines on and off. While a machine is on, a small script runs beside it: it creates the machine's
//! network, boots the machine, also after a reboot, and cleans up when it is off.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use super::disk::PLAIN;
use super::network::NAMESPACE;
use super::{cgroup, network, quote};
use crate::process;

/// systemd kills what still runs after 8 to 10 s.
const OFF_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(50);
const SCRIPT: &str = include_str!("power.sh");

/// Writes the machine's power script; `binds` are files of this host to mount read-only in the machine.
pub(crate) fn install(name: &str, dir: &Path, binds: &[(PathBuf, String)]) -> Result<()> {
    let mut container = String::from(
        "SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network exec systemd-nspawn \
         --register=no --keep-unit --quiet --boot --console=read-only",
    );
    let mut flag = |text: String| {
        container.push(' ');
        container.push_str(&quote(&text));
    };
    flag(directory_flag(dir));
    flag(format!("--machine={name}"));
    flag(format!("--hostname={name}"));
    flag(format!("--network-namespace-path={}", network::namespace_path(&namespace(name)).display()));
    for text in
        ["--capability=all", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--bind=/dev/kmsg"]
    {
        flag(text.into());
    }
    for (directory, path) in PLAIN {
        flag(format!("--bind={}:{path}", dir.join("disk").join(directory).display()));
    }
    for (file, path) in binds {
        flag(format!("--bind-ro={}:{path}", file.display()));
    }
    let text = format!(
        "#!/bin/sh\nnetwork() {{\n{}}}\nnetwork_off() {{\nip netns del {}\n}}\ncontainer() {{\n{container}\n}}\n{SCRIPT}",
        network::power_on_script(name, &dir.join("nic")),
        namespace(name),
    );
    let path = script(dir);
    // A shell reads its script while it runs: the file of a running machine must not be changed in place.
    if fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)?;
    Ok(())
}

/// Switches the machine on, if it is off.
pub(crate) fn on(name: &str, dir: &Path) -> Result<()> {
    if is_on(dir)? {
        return Ok(());
    }
    let console = fs::File::create(dir.join("console.log"))?;
    let (out, err) = (console.try_clone()?, console);
    let mut command = Command::new("setsid");
    command.args(["--fork", "sh"]).arg(script(dir)).args(cgroup::paths(name)?);
    command.stdin(Stdio::null()).stdout(out.into_file()).stderr(err.into_file()).current_dir("/");
    let status = command.status().with_context(|| format!("switch {name} on"))?;
    ensure!(status.success(), "switch {name} on: setsid: {status}");
    Ok(())
}

/// Shuts the machine down and waits until it is off.
pub(crate) fn off(name: &str, dir: &Path) -> Result<()> {
    let deadline = Instant::now() + OFF_LIMIT;
    let mut asked: Option<Instant> = None;
    while is_on(dir)? {
        ensure!(Instant::now() < deadline, "{name} does not shut down within {OFF_LIMIT:?}");
        // The signal is lost if systemd is not ready yet, so it is repeated.
        if asked.is_none_or(|at| at.elapsed() > Duration::from_secs(3)) {
            if let Some(leader) = leader(dir)? {
                signal("RTMIN+4", leader)?;
            }
            asked = Some(Instant::now());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Cuts the power: kills every process of the machine at once.
pub(crate) fn kill(name: &str, dir: &Path) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while is_on(dir)? {
        ensure!(Instant::now() < deadline, "{name} still runs {LIMIT:?} after its power was cut");
        let target = match leader(dir)? {
            Some(leader) => Some(leader),
            None => container(dir)?,
        };
        if let Some(pid) = target {
            signal("KILL", pid)?;
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// Whether the machine has power.
pub(crate) fn is_on(dir: &Path) -> Result<bool> {
    Ok(!with_argument(&script(dir).to_string_lossy())?.is_empty())
}

/// The pid, on this host, of the machine's init; `None` while it does not run.
pub(crate) fn leader(dir: &Path) -> Result<Option<u32>> {
    let Some(container) = container(dir)? else { return Ok(None) };
    Ok(pids()?
        .into_iter()
        .find(|pid| parent(*pid) == Some(container) && comm(*pid).as_deref() == Some("systemd")))
}

/// The pid of the machine's systemd-nspawn.
fn container(dir: &Path) -> Result<Option<u32>> {
    let found = with_argument(&directory_flag(dir))?;
    // It forks while it sets the machine up; the outermost process waits for the machine to end.
    Ok(found.iter().copied().find(|pid| parent(*pid).is_none_or(|parent| !found.contains(&parent))))
}

/// The machine's network namespace.
pub(crate) fn namespace(name: &str) -> String {
    format!("{NAMESPACE}-{name}")
}

fn script(dir: &Path) -> PathBuf {
    dir.join("power.sh")
}

fn directory_flag(dir: &Path) -> String {
    format!("--directory={}", dir.join("root").display())
}

/// Sends a signal; it is not an error if the process has ended.
pub(crate) fn signal(name: &str, pid: u32) -> Result<()> {
    process::run(Command::new("kill").args(["-s", name, &pid.to_string()]), LIMIT)?;
    Ok(())
}

/// The processes with exactly this argument. Zombies have no arguments.
pub(crate) fn with_argument(argument: &str) -> Result<Vec<u32>> {
    let has = |pid: &u32| {
        std::fs::File::open(format!("/proc/{pid}/cmdline"))
            .and_then(std::io::read_to_string)
            .is_ok_and(|line| line.split('\0').any(|word| word == argument))
    };
    Ok(pids()?.into_iter().filter(has).collect())
}

fn pids() -> Result<Vec<u32>> {
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}

fn comm(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent`; the name may contain any character.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
