//! The lab's network: a namespace without a route out, with a bridge that the machines' NICs are on.
//!
//! What connects to machines runs inside the namespace, so that packets for missing machines cannot leave this host.
//! Programs enter it with `nsenter --net`; `ip netns exec` would remount `/sys` and lose the cgroups.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use super::power;
use crate::process;

/// The network namespace, and the prefix of all of the lab's names in the kernel.
pub(crate) const NAMESPACE: &str = "lifeboat-lab";
const BRIDGE: &str = "labbr0";
/// The host's address on the bridge.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 1);
/// The cloud's address.
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 249);

const LIMIT: Duration = Duration::from_secs(20);

/// The path of the namespace `name`.
pub(crate) fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A command that runs inside the lab's network.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_path(NAMESPACE).display())).arg("--").arg(program);
    command
}

/// Whether the namespace exists.
pub(crate) fn is_up() -> bool {
    // A crash between the file and the mount of `ip netns add` leaves a plain file.
    ip(&["-n", NAMESPACE, "link", "show", "lo"]).is_ok()
}

/// The bridge's own MAC.
const BRIDGE_MAC: &str = "52:54:00:7b:01:01";

/// Creates the namespace and the bridge, or what is missing of them.
pub(crate) fn up() -> Result<()> {
    if !is_up() {
        let _ = ip(&["netns", "del", NAMESPACE]);
        ip(&["netns", "add", NAMESPACE])?;
    }
    let inside = |args: &[&str]| ip(&[&["-n", NAMESPACE], args].concat());
    inside(&["link", "set", "lo", "up"])?;
    if inside(&["link", "show", BRIDGE]).is_err() {
        // By default, a bridge has the MAC of one of its ports, which changes when that port is removed: machines would
        // then send to a MAC that no longer exists.
        inside(&["link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge"])?;
    }
    for address in [GATEWAY, CLOUD] {
        inside(&["addr", "replace", &format!("{address}/24"), "dev", BRIDGE])?;
    }
    inside(&["link", "set", BRIDGE, "up"])
}

/// Removes the namespace with the bridge and its NICs, and ends the programs that run inside.
pub(crate) fn down() -> Result<()> {
    if !namespace_path(NAMESPACE).exists() {
        return Ok(());
    }
    let _ = ip(&["-n", NAMESPACE, "link", "del", BRIDGE]);
    let left = end_programs()?;
    ip(&["netns", "del", NAMESPACE])?;
    ensure!(left.is_empty(), "the lab's network is removed, but processes still run inside it: {left:?}");
    Ok(())
}

/// Sends SIGTERM to every program inside, then SIGKILL; returns those that still run. An interrupted `up` leaves some
/// behind, such as ssh to a machine that is gone.
fn end_programs() -> Result<Vec<u32>> {
    let begin = Instant::now();
    loop {
        let pids = process::run_ok(Command::new("ip").args(["netns", "pids", NAMESPACE]), LIMIT)?;
        let own = std::process::id();
        let pids: Vec<u32> =
            pids.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != own).collect();
        if pids.is_empty() || begin.elapsed() > LIMIT {
            return Ok(pids);
        }
        let signal = if begin.elapsed() < Duration::from_secs(2) { "TERM" } else { "KILL" };
        for pid in pids {
            power::signal(signal, pid)?;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Removes a machine's namespace, if it exists.
pub(crate) fn delete_namespace(name: &str) -> Result<()> {
    if namespace_path(name).exists() { ip(&["netns", "del", name]) } else { Ok(()) }
}

/// The machines' namespaces.
pub(crate) fn machine_namespaces() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!("{NAMESPACE}-")) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The host's end of a machine's veth pair.
fn link(machine: &str) -> String {
    format!("vm-{machine}")
}

/// The `ip -batch` lines that create a NIC: a veth pair, one end on the bridge, the other `eth0` in the machine. The
/// machine has a NIC as long as the file with these lines exists; it is used at every power-on.
pub(crate) fn nic_batch(machine: &str, mac: &str) -> String {
    let link = link(machine);
    format!(
        "link add {link} type veth peer name eth0 address {mac} netns {NAMESPACE}-{machine}\n\
         link set {link} master {BRIDGE} up\n"
    )
}

/// The part of a machine's power script that prepares its network.
pub(crate) fn power_on_script(machine: &str, nic: &Path) -> String {
    let (link, nic) = (link(machine), super::quote(&nic.to_string_lossy()));
    format!(
        "ip netns del {NAMESPACE}-{machine} 2>/dev/null\n\
         ip -n {NAMESPACE} link del {link} 2>/dev/null\n\
         ip netns add {NAMESPACE}-{machine} || return 1\n\
         [ ! -e {nic} ] || ip -n {NAMESPACE} -batch {nic}\n"
    )
}

/// Creates the NIC of the batch file, replacing the present one.
pub(crate) fn add_nic(machine: &str, batch: &Path) -> Result<()> {
    let batch = batch.to_string_lossy();
    let mut tried = Ok(());
    // A machine that is being switched on may create its NIC at the same time.
    for _ in 0..5 {
        delete_nic(machine)?;
        tried = ip(&["-n", NAMESPACE, "-batch", &batch]);
        if tried.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    tried.with_context(|| format!("attach a NIC to {machine}"))
}

/// Removes the machine's NIC, if it has one.
pub(crate) fn delete_nic(machine: &str) -> Result<()> {
    let link = link(machine);
    if ip(&["-n", NAMESPACE, "link", "show", &link]).is_err() {
        return Ok(());
    }
    ip(&["-n", NAMESPACE, "link", "del", &link]).with_context(|| format!("remove the NIC of {machine}"))
}

/// Plugs or unplugs the cable, that is, the NIC's carrier.
pub(crate) fn set_cable(machine: &str, plugged: bool) -> Result<()> {
    let state = if plugged { "up" } else { "down" };
    ip(&["-n", NAMESPACE, "link", "set", &link(machine), state])
}

/// Runs `work` on its own thread inside the lab's network.
pub(crate) fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = fs::File::open(namespace_path(NAMESPACE))?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("enter the lab's network")?;
            Ok(work())
        });
        thread.join().map_err(|_| anyhow::anyhow!("the thread inside the lab's network panicked"))?
    })
}

/// Whether `address` accepts a connection from inside the lab's network.
pub(crate) fn answers(address: SocketAddr, limit: Duration) -> Result<bool> {
    inside(|| TcpStream::connect_timeout(&address, limit).is_ok())
}

fn ip(args: &[&str]) -> Result<()> {
    process::run_ok(Command::new("ip").args(args), LIMIT).map(drop)
}
