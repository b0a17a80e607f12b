//! The lab's own network: a namespace with a bridge in it and no route out, and machines' NICs on that bridge.
//!
//! Whatever talks to machines runs inside the namespace, so a packet for a machine that is not there cannot leave
//! this host. Programs enter it with `nsenter --net`; `ip netns exec` would remount `/sys` and lose the cgroups.

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

/// The network namespace, and how everything that belongs to the lab in the kernel begins.
pub(crate) const NAMESPACE: &str = "lifeboat-lab";
const BRIDGE: &str = "labbr0";
/// The host's side of the bridge.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 1);
/// The cloud's own management address.
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 123, 0, 249);

const LIMIT: Duration = Duration::from_secs(20);

/// Where the kernel shows the namespace `name`.
pub(crate) fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A command that runs inside the lab's network.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_path(NAMESPACE).display())).arg("--").arg(program);
    command
}

/// Whether the namespace is there.
pub(crate) fn is_up() -> bool {
    // A crash between the file and the mount of `ip netns add` leaves a plain file.
    ip(&["-n", NAMESPACE, "link", "show", "lo"]).is_ok()
}

/// The bridge's own MAC.
const BRIDGE_MAC: &str = "52:54:00:7b:01:01";

/// Makes the namespace and the bridge, whatever is there of them already.
pub(crate) fn up() -> Result<()> {
    if !is_up() {
        let _ = ip(&["netns", "del", NAMESPACE]);
        ip(&["netns", "add", NAMESPACE])?;
    }
    let inside = |args: &[&str]| ip(&[&["-n", NAMESPACE], args].concat());
    inside(&["link", "set", "lo", "up"])?;
    if inside(&["link", "show", BRIDGE]).is_err() {
        // Left to itself, a bridge takes the MAC of one of its ports, and another when that port goes: every machine
        // would then look for the host's addresses at a MAC that is no more.
        inside(&["link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge"])?;
    }
    for address in [GATEWAY, CLOUD] {
        inside(&["addr", "replace", &format!("{address}/24"), "dev", BRIDGE])?;
    }
    inside(&["link", "set", BRIDGE, "up"])
}

/// Removes the namespace, with the bridge and every NIC on it, and ends the programs that still run inside.
pub(crate) fn down() -> Result<()> {
    if !namespace_path(NAMESPACE).exists() {
        return Ok(());
    }
    let _ = ip(&["-n", NAMESPACE, "link", "del", BRIDGE]);
    let left = end_programs()?;
    ip(&["netns", "del", NAMESPACE])?;
    ensure!(left.is_empty(), "the network's name is gone, but processes still run inside it: {left:?}");
    Ok(())
}

/// Asks every program inside to end, then makes it; returns those that run all the same. What an interrupted `up`
/// had started is among them, such as an ssh into a machine that has gone.
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

/// Removes a machine's own namespace, if it is there.
pub(crate) fn delete_namespace(name: &str) -> Result<()> {
    if namespace_path(name).exists() { ip(&["netns", "del", name]) } else { Ok(()) }
}

/// The names of all namespaces of machines.
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

/// The host's end of a machine's NIC.
fn link(machine: &str) -> String {
    format!("vm-{machine}")
}

/// The `ip -batch` lines that make a NIC: a veth pair, one end on the bridge, the other `eth0` in the machine. The
/// file with them is also the record that the machine has a NIC, for when it is switched on.
pub(crate) fn nic_batch(machine: &str, mac: &str) -> String {
    let link = link(machine);
    format!(
        "link add {link} type veth peer name eth0 address {mac} netns {NAMESPACE}-{machine}\n\
         link set {link} master {BRIDGE} up\n"
    )
}

/// The commands that prepare a machine's network at power-on, for its power script.
pub(crate) fn power_on_script(machine: &str, nic: &Path) -> String {
    let (link, nic) = (link(machine), super::quote(&nic.to_string_lossy()));
    format!(
        "ip netns del {NAMESPACE}-{machine} 2>/dev/null\n\
         ip -n {NAMESPACE} link del {link} 2>/dev/null\n\
         ip netns add {NAMESPACE}-{machine} || return 1\n\
         [ ! -e {nic} ] || ip -n {NAMESPACE} -batch {nic}\n"
    )
}

/// Makes the NIC that the batch file says, in place of one that is there.
pub(crate) fn add_nic(machine: &str, batch: &Path) -> Result<()> {
    let batch = batch.to_string_lossy();
    let mut tried = Ok(());
    // The machine may be in the middle of being switched on, and make its NIC itself.
    for _ in 0..5 {
        delete_nic(machine)?;
        tried = ip(&["-n", NAMESPACE, "-batch", &batch]);
        if tried.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    tried.with_context(|| format!("give {machine} a NIC"))
}

/// Removes the machine's NIC, if it has one.
pub(crate) fn delete_nic(machine: &str) -> Result<()> {
    let link = link(machine);
    if ip(&["-n", NAMESPACE, "link", "show", &link]).is_err() {
        return Ok(());
    }
    ip(&["-n", NAMESPACE, "link", "del", &link]).with_context(|| format!("take the NIC of {machine}"))
}

/// Pulls or plugs the cable: the NIC stays, its carrier goes or comes.
pub(crate) fn set_cable(machine: &str, plugged: bool) -> Result<()> {
    let state = if plugged { "up" } else { "down" };
    ip(&["-n", NAMESPACE, "link", "set", &link(machine), state])
}

/// Runs `work` on a thread of its own inside the lab's network.
pub(crate) fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = fs::File::open(namespace_path(NAMESPACE))?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("enter the lab's network")?;
            Ok(work())
        });
        thread.join().map_err(|_| anyhow::anyhow!("work inside the lab's network panicked"))?
    })
}

/// Whether `address` accepts a connection from inside the lab's network.
pub(crate) fn answers(address: SocketAddr, limit: Duration) -> Result<bool> {
    inside(|| TcpStream::connect_timeout(&address, limit).is_ok())
}

fn ip(args: &[&str]) -> Result<()> {
    process::run_ok(Command::new("ip").args(args), LIMIT).map(drop)
}
