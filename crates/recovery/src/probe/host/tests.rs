//! The script itself, under every shell there is.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::said::{Said, body};
use super::{FENCE_DROP_IN, FENCED_MANIFESTS, SCRIPT};

fn run(shell: &[&str], arguments: &[&str]) -> Option<String> {
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
    child.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{shell:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Runs it under each shell of this machine; at least one of them is there.
fn under_every_shell(arguments: &[&str], check: impl Fn(&str, &Said<'_>)) {
    let shells: [&[&str]; 4] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
    let mut ran = 0;
    for shell in shells {
        let Some(text) = run(shell, arguments) else { continue };
        check(shell[0], &Said::of(body(&text).unwrap()));
        ran += 1;
    }
    assert!(ran > 0, "no shell at all");
}

/// A process with a name the kernel cuts short, ended with its owner.
struct Process(Child);

impl Process {
    fn start(program: &Path) -> Self {
        Self(Command::new(program).arg("60").stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn every_shell_tells_ids_clock_and_disks() {
    let dir = tempfile::tempdir().unwrap();
    let lost = dir.path().join("not/there").display().to_string();
    let arguments = [FENCE_DROP_IN, FENCED_MANIFESTS, "no", "/", &lost, "relative", "--", "--"];
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

#[test]
fn a_static_pod_is_told_by_its_manifest_and_by_the_whole_name_of_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, fenced) = (dir.path().join("manifest.yaml"), dir.path().join("fenced"));
    let program = dir.path().join("lifeboat-test-process");
    symlink("/bin/sleep", &program).unwrap();
    fs::create_dir(&fenced).unwrap();
    let expect = |process: &str, running: bool, enabled: bool, held: bool| {
        let (manifest, fenced) = (manifest.display().to_string(), fenced.display().to_string());
        let arguments = [FENCE_DROP_IN, &fenced, "no", "--", &manifest, process, "--"];
        under_every_shell(&arguments, |shell, said| {
            let pod = said.pods(1).unwrap().pop().unwrap();
            assert_eq!(
                (pod.is_running(), pod.enabled, pod.fenced),
                (running, enabled, held),
                "{shell}: {process}"
            );
        });
    };
    expect("lifeboat-test-process", false, false, false);
    fs::write(&manifest, "").unwrap();
    let process = Process::start(&program);
    expect("lifeboat-test-process", true, true, false);
    // The kernel has the same 15 letters for both.
    expect("lifeboat-test-protest", false, true, false);
    fs::rename(&manifest, fenced.join("manifest.yaml")).unwrap();
    expect("lifeboat-test-process", true, false, true);
    drop(process);
    expect("lifeboat-test-process", false, false, true);
}

/// What cannot be told is unknown: a fence that was not seen would be taken for one that is not there.
#[test]
fn a_path_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let looped = dir.path().join("loop");
    symlink("loop", &looped).unwrap();
    let inside = looped.join("manifest.yaml").display().to_string();
    let fenced = looped.display().to_string();
    let arguments = [FENCE_DROP_IN, &fenced, "no", &inside, "--", &inside, "etcd", "--"];
    under_every_shell(&arguments, |shell, said| {
        let why = said.pods(1).unwrap_err();
        assert!(why.contains("symbolic links"), "{shell}: {why}");
        let why = said.disks(1).unwrap_err();
        assert!(why.contains("symbolic links"), "{shell}: {why}");
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
