//! The script itself, under every shell there is.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::parse::{ScriptOutput, body};
use crate::facts::{ServiceState, ToldBy};

use super::{FENCE_DROP_IN, FENCED_MANIFESTS, SCRIPT};

fn run(shell: &[&str], script: &str, arguments: &[&str]) -> Option<String> {
    let (program, options) = shell.split_first()?;
    let command = Command::new(program)
        .args(options)
        .args(["-s", "--"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = command.ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{shell:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Runs it under each shell of this machine; at least one of them is there.
fn under_every_shell(arguments: &[&str], check: impl Fn(&str, &ScriptOutput<'_>)) {
    script_under_every_shell(SCRIPT, arguments, check);
}

fn script_under_every_shell(script: &str, arguments: &[&str], check: impl Fn(&str, &ScriptOutput<'_>)) {
    let shells: [&[&str]; 4] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
    let mut ran = 0;
    for shell in shells {
        let Some(text) = run(shell, script, arguments) else { continue };
        check(shell[0], &ScriptOutput::of(body(&text).unwrap()));
        ran += 1;
    }
    assert!(ran > 0, "no shell at all");
}

#[test]
fn every_shell_tells_ids_clock_and_disks() {
    let dir = tempfile::tempdir().unwrap();
    let lost = dir.path().join("not/there").display().to_string();
    let arguments = [FENCE_DROP_IN, FENCED_MANIFESTS, "no", "node-2", "/", &lost, "relative", "--", "--"];
    let ours = super::now();
    under_every_shell(&arguments, |shell, said| {
        let expected = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(said.boot_id().as_deref(), Ok(expected.trim()), "{shell}");
        let (begin, end) = said.clock().unwrap();
        assert!(begin >= ours - 1.0 && begin <= end && end < ours + 600.0, "{shell}: {begin} {end}");
        let disks = said.disks(3).unwrap();
        assert!(disks.contains_key(Path::new("/")), "{shell}: {disks:?}");
        assert!(disks.values().all(|disk| disk.size >= disk.available), "{shell}: {disks:?}");
        assert!(said.units(&[]).unwrap().is_empty() && said.kubelet().is_err(), "{shell}");
    });
}

/// A machine's `/proc` and pod logs, made up.
struct Machine(tempfile::TempDir);

const ETCD: &str = "/kubepods/burstable/podaaaa0000aaaa0000aaaa0000aaaa0000/c1";
const EVENTS: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podbbbb0000bbbb0000bbbb0000bbbb0000.slice/cri-containerd-c2.scope";
const CALICO: &str = "/kubepods/besteffort/pod11111111-2222-3333-4444-555555555555/c3";
const UNIT: &str = "/system.slice/patroni-etcd.service";

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for log in [
            "kube-system_etcd-m2_aaaa0000aaaa0000aaaa0000aaaa0000",
            "kube-system_etcd-events-m2_bbbb0000bbbb0000bbbb0000bbbb0000",
            "kube-system_calico-etcd-x7k2p_11111111-2222-3333-4444-555555555555",
        ] {
            fs::create_dir_all(machine.path("logs").join(log)).unwrap();
        }
        fs::create_dir_all(machine.path("proc/1/ns")).unwrap();
        symlink("net:[1]", machine.path("proc/1/ns/net")).unwrap();
        fs::create_dir_all(machine.path("proc/sys/kernel")).unwrap();
        fs::write(machine.path("proc/sys/kernel/hostname"), "M2\n").unwrap();
        fs::create_dir_all(machine.path("fenced")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn process(&self, pid: u32, cgroup: &str, words: &[&str]) {
        let dir = self.path("proc").join(pid.to_string());
        fs::create_dir_all(dir.join("ns")).unwrap();
        fs::write(dir.join("cmdline"), words.join("\0") + "\0").unwrap();
        let name = words[0].rsplit('/').next().unwrap();
        fs::write(dir.join("comm"), format!("{name:.15}\n")).unwrap();
        fs::write(dir.join("cgroup"), format!("12:cpu:/\n1:name=systemd:{cgroup}\n0::/\n")).unwrap();
        symlink("net:[1]", dir.join("ns/net")).unwrap();
    }

    fn manifest(&self, text: &str) {
        fs::write(self.path("etcd.yaml"), text).unwrap();
    }

    fn script(&self) -> String {
        let [proc, logs] = ["proc", "logs"].map(|name| self.path(name).display().to_string());
        SCRIPT.replacen("proc=/proc pod_logs=/var/log/pods", &format!("proc={proc} pod_logs={logs}"), 1)
    }

    fn check(&self, process: &str, check: impl Fn(&str, ServiceState)) {
        let [manifest, fenced] = ["etcd.yaml", "fenced"].map(|name| self.path(name).display().to_string());
        let arguments = [FENCE_DROP_IN, &fenced, "no", "node-2", "--", &manifest, process, "--"];
        script_under_every_shell(&self.script(), &arguments, |shell, said| {
            check(shell, said.pods(1).unwrap().pop().unwrap());
        });
    }

    /// What each process is told by, and which PIDs would be stopped; an error where that is not clear.
    fn told(&self) -> Told {
        let told = std::cell::RefCell::new(Vec::new());
        self.check("etcd", |_, pod| {
            let mut by: Vec<_> = pod.processes.iter().map(|process| (process.pid, process.told_by)).collect();
            by.sort_unstable();
            *told.borrow_mut() = by;
        });
        let script = self.script().replace("main \"$@\" </dev/null", "pod_pids \"$@\"");
        let [manifest, kept] = ["etcd.yaml", "fenced/etcd.yaml"].map(|name| self.path(name));
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(manifest).arg("etcd").arg(kept).arg("node-2");
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pids = match output.status.success() {
            true => Ok(text(&output.stdout).lines().map(|pid| pid.parse().unwrap()).collect()),
            false => Err(text(&output.stderr)),
        };
        (told.into_inner(), pids)
    }
}

type Told = (Vec<(u32, ToldBy)>, Result<Vec<u32>, String>);

const KUBEADM: &str = "apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/etcd.advertise-client-urls: https://10.0.0.2:2379
  labels:
    component: etcd
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    # - --data-dir=/old
    - --data-dir=/var/lib/etcd
    - --name=m2
    name: etcd
";

#[test]
fn a_static_pod_is_told_by_its_manifest_and_by_the_whole_name_of_its_process() {
    let machine = Machine::new();
    let expect = |process: &str, running: bool, enabled: bool, held: bool| {
        machine.check(process, |shell, pod| {
            assert_eq!(
                (pod.is_running(), pod.enabled, pod.fenced),
                (running, enabled, held),
                "{shell}: {process}"
            );
        });
    };
    expect("lifeboat-test-process", false, false, false);
    machine.manifest("");
    machine.process(7, "/kubepods/pod9999/c", &["/bin/lifeboat-test-process"]);
    expect("lifeboat-test-process", true, true, false);
    // The kernel has the same 15 letters for both.
    expect("lifeboat-test-protest", false, true, false);
    fs::rename(machine.path("etcd.yaml"), machine.path("fenced/etcd.yaml")).unwrap();
    expect("lifeboat-test-process", true, false, true);
    fs::remove_dir_all(machine.path("proc/7")).unwrap();
    expect("lifeboat-test-process", false, false, true);
    // An application's, in a pod with a network of its own.
    machine.process(8, "/kubepods/pod9999/c", &["/bin/lifeboat-test-process"]);
    fs::remove_file(machine.path("proc/8/ns/net")).unwrap();
    symlink("net:[2]", machine.path("proc/8/ns/net")).unwrap();
    expect("lifeboat-test-process", false, false, true);
}

/// An etcd for events, Calico's, and one that systemd runs: each has a keeper of its own that would start it again.
#[test]
fn other_processes_of_the_same_name_are_not_the_pods() {
    let machine = Machine::new();
    machine.manifest(KUBEADM);
    machine.process(10, ETCD, &["etcd", "--data-dir=/var/lib/etcd", "--name=m2"]);
    machine.process(11, EVENTS, &["etcd", "--data-dir=/var/lib/etcd", "--name=m2"]);
    machine.process(12, CALICO, &["/usr/local/bin/etcd", "--data-dir", "/var/etcd/calico-data"]);
    machine.process(13, UNIT, &["/usr/bin/etcd", "--data-dir=/var/lib/etcd", "--name=m2"]);
    let (told, pids) = machine.told();
    assert_eq!(told, [(10, ToldBy::Pod), (11, ToldBy::Other), (12, ToldBy::Other), (13, ToldBy::Other)]);
    assert_eq!(pids, Ok(vec![10]));
    // While it is fenced, its manifest lies elsewhere.
    fs::rename(machine.path("etcd.yaml"), machine.path("fenced/etcd.yaml")).unwrap();
    assert_eq!(machine.told().1, Ok(vec![10]));
    fs::remove_dir_all(machine.path("proc/10")).unwrap();
    assert_eq!(machine.told().1, Ok(vec![]));
    machine.check("etcd", |shell, pod| assert!(!pod.is_running(), "{shell}"));
}

/// A kubelet that keeps its logs elsewhere, or calls its node by another name.
#[test]
fn flags_tell_where_the_pods_name_does_not() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.path("logs")).unwrap();
    machine.manifest(KUBEADM);
    machine.process(10, ETCD, &["etcd", "--data-dir=/var/lib/etcd", "--name=m2"]);
    machine.process(11, EVENTS, &["etcd", "--data-dir=/var/lib/etcd-events", "--name=events"]);
    machine.process(12, CALICO, &["etcd", "--data-dir", "/var/etcd/calico-data"]);
    let (told, pids) = machine.told();
    assert_eq!(told, [(10, ToldBy::Flags), (11, ToldBy::Other), (12, ToldBy::Other)]);
    assert_eq!(pids, Ok(vec![10]));
    machine.process(14, "/kubepods/podcccc/c", &["etcd", "--name", "m2", "-data-dir=/var/lib/etcd"]);
    let (told, pids) = machine.told();
    assert_eq!(told.last(), Some(&(14, ToldBy::Flags)));
    let why = pids.unwrap_err();
    assert!(why.contains("several processes") && why.contains("pid 14: --name=m2"), "{why}");
}

#[test]
fn one_process_is_the_pods_and_two_are_not_told_apart_where_nothing_can_be_compared() {
    let machine = Machine::new();
    machine.manifest("{\"kind\": \"Pod\", \"metadata\": {\"name\": \"etcd\"}}\n");
    machine.process(10, "/kubepods/podffff/c1", &["etcd"]);
    assert_eq!(machine.told(), (vec![(10, ToldBy::Unclear)], Ok(vec![10])));
    machine.process(11, "/kubepods/podeeee/c1", &["etcd"]);
    let (told, pids) = machine.told();
    assert_eq!(told, [(10, ToldBy::Unclear), (11, ToldBy::Unclear)]);
    assert!(pids.is_err());
    machine.check("etcd", |shell, pod| assert_eq!(pod.ambiguous().len(), 2, "{shell}"));
}

/// What cannot be told is unknown: a fence that was not seen would be taken for one that is not there.
#[test]
fn a_path_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let looped = dir.path().join("loop");
    symlink("loop", &looped).unwrap();
    let inside = looped.join("manifest.yaml").display().to_string();
    let fenced = looped.display().to_string();
    let arguments = [FENCE_DROP_IN, &fenced, "no", "node-2", &inside, "--", &inside, "etcd", "--"];
    under_every_shell(&arguments, |shell, said| {
        let why = said.pods(1).unwrap_err();
        assert!(why.contains("symbolic links"), "{shell}: {why}");
        let why = said.disks(1).unwrap_err();
        // BusyBox's df does not say why.
        let reasons = ["symbolic links", "can't find mount point"];
        assert!(reasons.iter().any(|reason| why.contains(reason)), "{shell}: {why}");
    });
}

#[test]
fn clocks_that_may_agree_do() {
    let seconds = |clock, asked| super::Offset::of(clock, asked).seconds;
    // Logging in took a second before the machine read its clock for the first time.
    assert!(seconds((101.0, 103.0), (100.0, 103.0)).abs() < 1e-9);
    assert!((seconds((3_700.0, 3_702.0), (100.0, 102.0)) - 3_600.0).abs() < 1e-9);
    // An hour behind, told a quarter of a second short.
    assert!((seconds((6_400.5, 6_402.0), (10_000.0, 10_002.0)) + 3_599.5).abs() < 1e-9);
}
