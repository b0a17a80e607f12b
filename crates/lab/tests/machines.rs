//! The lab's machines are real, and a lab leaves nothing behind. Needs root, and up to half an hour: `make lab-test`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lab::machines::{self, Lab, Layout, Machine, Topology, UpOptions, WEB_PORT};

const LIMIT: Duration = Duration::from_secs(90);
/// A host has one lab at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Takes the lab down at the end of the test, also after a panic.
struct Alone<'a>(#[expect(dead_code, reason = "held, not used")] MutexGuard<'a, ()>);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Err(error) = Lab::down(false) {
            eprintln!("{error:#}");
        }
    }
}

fn alone() -> Alone<'static> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        remains().is_empty(),
        "a lab is running, which these tests would remove; take it down first: make lab-down"
    );
    Alone(guard)
}

fn up(topology: Topology, layout: Layout) -> Lab {
    Lab::up(&UpOptions { topology, layout }, &mut |phase| eprintln!("{phase}")).unwrap()
}

fn small() -> Lab {
    up(Topology::Small, Layout::Systemd)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is left of a lab: namespaces, mounts, loop devices, cgroups, processes.
fn remains() -> String {
    let mut found = Vec::new();
    let named = |text: String| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains("lifeboat-lab") || line.contains("/disk.img"))
            .map(Into::into)
            .collect()
    };
    found.extend(named(output("ip", &["netns", "list"])));
    found.extend(named(output("ip", &["link"])));
    found.extend(named(output("losetup", &["--all"])));
    found.extend(named(fs_err::read_to_string("/proc/self/mountinfo").unwrap()));
    found.extend(named(output("find", &["/sys/fs/cgroup", "-name", "lifeboat-lab*"])));
    found.extend(named(output("ps", &["-eo", "args"])).into_iter().filter(|line| !line.contains("ps -eo")));
    found.join("\n")
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn ssh(lab: &Lab, machine: &str, command: &str) -> Option<String> {
    let output = lab.ssh(machine).arg(command).stdin(Stdio::null()).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn answers(lab: &Lab, machine: &Machine, port: u16) -> bool {
    let address = SocketAddr::from((machine.spec().ip, port));
    lab.inside(|| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()).unwrap()
}

fn boot_id(machine: &Machine) -> Option<String> {
    machine.exec(&["systemctl", "show", "--property=UserspaceTimestampMonotonic"]).ok()
}

fn readyz(lab: &Lab, master: &str) -> Result<String, String> {
    let server = format!("--server=https://{}:6443", lab.machine(master).unwrap().spec().ip);
    let output =
        lab.kubectl().args([&server, "--request-timeout=3s", "get", "--raw", "/readyz"]).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn a_lab_comes_up_twice_and_leaves_nothing() {
    lab::or_skip!(machines::available());
    let alone = alone();
    let lab = small();
    assert_eq!(ssh(&lab, "m1", "hostname").unwrap(), "m1");
    let id = ssh(&lab, "m1", "cat /etc/machine-id").unwrap();
    assert_eq!(id, lab.machine("m1").unwrap().spec().machine_id);
    let routes = lab.ns_command("ip").args(["route", "show", "default"]).output().unwrap();
    assert!(routes.stdout.is_empty(), "the lab's network has a default route");

    let booted = boot_id(&lab.machine("m1").unwrap());
    let again = small();
    assert_eq!(again.blueprint(), lab.blueprint());
    assert_eq!(boot_id(&lab.machine("m1").unwrap()), booted, "a running machine was booted again");
    let other = UpOptions { topology: Topology::Full, layout: Layout::Systemd };
    let refusal = Lab::up(&other, &mut |_| ()).unwrap_err();
    assert!(refusal.to_string().contains("take it down first"), "{refusal:#}");

    let state = lab.state_dir().to_owned();
    Lab::down(false).unwrap();
    assert_eq!(remains(), "");
    assert!(!state.exists());
    assert!(!Path::new("/run/lifeboat-lab").exists());
    Lab::down(false).unwrap();
    drop(alone);
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn an_interrupted_up_can_be_completed_or_removed() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    for milliseconds in [150, 600, 4000] {
        interrupted_up(milliseconds);
        Lab::down(false).unwrap();
        assert_eq!(remains(), "", "after a kill at {milliseconds} ms");
    }
    for milliseconds in [100, 300, 5000] {
        interrupted_up(milliseconds);
    }
    let lab = small();
    assert_eq!(readyz(&lab, "m3").as_deref(), Ok("ok"));
}

/// Starts `up` and kills it with SIGKILL.
fn interrupted_up(milliseconds: u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["up", "--topology", "small"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn disks_are_kept_on_request() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    let lab = small();
    let create = ["create", "configmap", "kept", "--from-literal=a=b"];
    assert!(lab.kubectl().args(create).status().unwrap().success());
    Lab::down(true).unwrap();
    assert_eq!(remains(), "");
    let lab = small();
    assert!(lab.kubectl().args(["get", "configmap", "kept"]).status().unwrap().success());
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn nics_and_power_are_real() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    let lab = small();
    let [m1, m2, m3] = ["m1", "m2", "m3"].map(|name| lab.machine(name).unwrap());

    m1.detach_nic().unwrap();
    m1.detach_nic().unwrap();
    assert!(!answers(&lab, &m1, 22));
    assert!(!m1.exec(&["ip", "link"]).unwrap().contains("eth0"), "the machine still has a NIC");
    m1.reboot().unwrap();
    eventually("m1 boots", || m1.exec(&["systemctl", "is-active", "ssh"]).is_ok());
    assert_eq!(m1.nic().unwrap(), None, "a reboot brought the NIC back");
    m1.attach_nic("52:54:00:00:00:01").unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(!m1.exec(&["ip", "-4", "addr", "show", "eth0"]).unwrap().contains("10.123.0."));
    m1.attach_nic(&m1.spec().mac).unwrap();
    eventually("m1 answers with its own MAC", || ssh(&lab, "m1", "true").is_some());
    m1.unplug().unwrap();
    assert!(!answers(&lab, &m1, 22));
    m1.plug().unwrap();
    eventually("m1 answers when plugged in", || ssh(&lab, "m1", "true").is_some());

    let before = boot_id(&m2);
    ssh(&lab, "m2", "systemctl reboot");
    eventually("m2 reboots by itself", || boot_id(&m2).is_some_and(|now| Some(now) != before));
    ssh(&lab, "m2", "true");

    m3.write_file("/root/kept", "by power loss").unwrap();
    m3.kill().unwrap();
    assert!(!m3.is_running().unwrap());
    assert!(!answers(&lab, &m3, 22), "a machine without power answers");
    assert_eq!(m3.read_file("/root/kept").unwrap(), b"by power loss");
    m3.start().unwrap();
    eventually("m3 boots", || ssh(&lab, "m3", "cat /root/kept").as_deref() == Some("by power loss"));
    m3.power_off().unwrap();
    assert!(!m3.is_running().unwrap());
    m3.start().unwrap();
    for master in ["m1", "m2", "m3"] {
        eventually(master, || readyz(&lab, master).is_ok());
    }
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn faults_are_real() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    let lab = small();
    let [m1, m2, m3] = ["m1", "m2", "m3"].map(|name| lab.machine(name).unwrap());

    m1.freeze_unit("kube-apiserver").unwrap();
    assert!(readyz(&lab, "m1").is_err());
    m1.thaw_unit("kube-apiserver").unwrap();
    eventually("a thawed apiserver answers", || readyz(&lab, "m1").is_ok());

    lab.expire_apiserver_certificate("m1").unwrap();
    m1.exec(&["systemctl", "restart", "kube-apiserver"]).unwrap();
    eventually("the certificate has expired", || {
        readyz(&lab, "m1").is_err_and(|error| error.contains("certificate has expired"))
    });

    m2.fill_disk().unwrap();
    assert!(m2.exec(&["sh", "-c", "dd if=/dev/zero of=/root/more bs=1M count=1"]).is_err());
    m2.free_disk().unwrap();
    m2.exec(&["sh", "-c", "dd if=/dev/zero of=/root/more bs=1M count=1"]).unwrap();

    m3.stop_unit("etcd").unwrap();
    m3.corrupt_etcd_db().unwrap();
    let check = "etcdutl snapshot status /var/lib/etcd/member/snap/db";
    assert!(m3.exec(&["sh", "-c", check]).is_err(), "the db is sound");
    m3.destroy_etcd_data().unwrap();
    assert_eq!(m3.exec(&["ls", "-A", "/var/lib/etcd"]).unwrap(), "");
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn static_pods_come_up() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    let lab = up(Topology::Small, Layout::StaticPods);
    // kubelet creates their mirror Pods once it reaches the apiserver.
    for pod in
        ["pod/etcd-m1", "pod/kube-apiserver-m2", "pod/kube-controller-manager-m3", "pod/kube-scheduler-m1"]
    {
        let get = ["--namespace=kube-system", "get", pod];
        eventually(pod, || lab.kubectl().args(get).output().unwrap().status.success());
    }
}

#[test]
#[ignore = "needs root and the lab's machines: make lab-test"]
fn the_incidents_topology_comes_up_in_both_layouts() {
    lab::or_skip!(machines::available());
    let _alone = alone();
    for layout in [Layout::StaticPods, Layout::Systemd] {
        let lab = up(Topology::Full, layout);
        assert!(answers(&lab, &lab.machine("nfs").unwrap(), 2049), "no NFS server");
        for node in ["n1", "n2"] {
            assert!(answers(&lab, &lab.machine(node).unwrap(), WEB_PORT), "no workload through {node}");
        }
        let lookup = ["exec", "deployment/web", "--", "nslookup", "web.default.svc.cluster.local"];
        // A node refuses until its kube-proxy knows CoreDNS.
        eventually("cluster DNS", || lab.kubectl().args(lookup).output().unwrap().status.success());
        Lab::down(false).unwrap();
        assert_eq!(remains(), "");
    }
}
