use std::path::PathBuf;
use std::process::{Command as Process, Output};

use fs_err as fs;

use super::*;
use crate::plan::RestoredCluster;

/// A machine's directory with a data dir in it.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn data(&self, dir: &str, content: &str) {
        fs::create_dir_all(self.path(dir).join("member/snap")).unwrap();
        fs::write(self.path(dir).join("member/snap/db"), content).unwrap();
    }

    fn db(&self, dir: &str) -> Option<String> {
        fs::read_to_string(self.path(dir).join("member/snap/db")).ok()
    }

    fn put_back(&self) -> Output {
        self.run(PUT_BACK)
    }

    /// Ends at the command that would be the next change after so many.
    fn put_back_up_to(&self, changes: u32) {
        let counted = ["mv", "rm", "rmdir", "mkdir"].map(|program| {
            format!("{program}() {{ [ $changes -lt {changes} ] || exit 137; changes=$((changes + 1)); command {program} \"$@\"; }}\n")
        });
        self.run(&format!("changes=0\n{}{PUT_BACK}", counted.concat()));
    }

    fn run(&self, script: &str) -> Output {
        let paths = ["etcd", "aside", "etcd/inside", "wal", "wal-aside"];
        let mut process = Process::new("sh");
        process.args(["-c", script, "sh"]).args(paths.map(|path| self.path(path)));
        process.output().unwrap()
    }

    fn done(&self) {
        for _again in 0..2 {
            let output = self.put_back();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn the_old_data_dir_goes_back_and_the_restored_one_beside_it() {
    let disk = Disk::new();
    disk.data("aside", "old");
    disk.data("etcd", "restored");
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("old"));
    assert_eq!(disk.db("aside-undone").as_deref(), Some("restored"));
    assert!(!disk.path("aside").exists());
}

#[test]
fn a_data_dir_that_was_not_restored_yet_goes_back_alone() {
    let disk = Disk::new();
    disk.data("aside", "old");
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("old"));
    assert!(!disk.path("aside-undone").exists());

    // The kubelet makes the directory that a pod mounts.
    let disk = Disk::new();
    disk.data("aside", "old");
    fs::create_dir(disk.path("etcd")).unwrap();
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("old"));
}

#[test]
fn a_data_dir_that_was_gone_before_is_gone_again() {
    let disk = Disk::new();
    fs::create_dir(disk.path("aside")).unwrap();
    fs::write(disk.path("aside/lifeboat-was-absent"), "").unwrap();
    disk.data("etcd", "restored");
    disk.done();
    assert_eq!((disk.db("etcd"), disk.db("aside-undone").as_deref()), (None, Some("restored")));
    assert!(!disk.path("etcd").exists() && !disk.path("aside").exists());
}

#[test]
fn a_data_dir_that_is_a_mount_point_gets_its_content_back() {
    let disk = Disk::new();
    disk.data("etcd/inside", "old");
    disk.data("etcd", "restored");
    fs::create_dir(disk.path("etcd/.lifeboat-restoring-m1")).unwrap();
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("old"));
    assert_eq!(disk.db("etcd/inside-undone").as_deref(), Some("restored"));
    assert!(!disk.path("etcd/inside").exists() && !disk.path("etcd/.lifeboat-restoring-m1").exists());
}

/// The machine died while the data was moved, in one direction or the other.
#[test]
fn a_move_within_a_mount_point_that_was_cut_short_is_taken_back() {
    let moved = Disk::new();
    moved.data("etcd/inside.moving", "old");
    let not_yet_moved = Disk::new();
    not_yet_moved.data("etcd", "old");
    fs::create_dir(not_yet_moved.path("etcd/inside.moving")).unwrap();
    for disk in [moved, not_yet_moved] {
        disk.done();
        assert_eq!(disk.db("etcd").as_deref(), Some("old"));
        assert!(!disk.path("etcd/inside.moving").exists() && !disk.path("etcd/inside-undone").exists());
    }

    let absent = Disk::new();
    fs::create_dir(absent.path("aside.moving")).unwrap();
    fs::write(absent.path("aside.moving/lifeboat-was-absent"), "").unwrap();
    absent.done();
    assert!(!absent.path("aside.moving").exists() && !absent.path("etcd").exists());
}

#[test]
fn a_rollback_within_a_mount_point_goes_on_wherever_it_was_cut_short() {
    // Each command that changes something is the last one of a first run.
    for last in 1..=12 {
        let disk = Disk::new();
        disk.data("etcd/inside", "old");
        fs::create_dir(disk.path("etcd/inside/.lifeboat-restoring-m1")).unwrap();
        disk.put_back_up_to(last);
        disk.done();
        assert_eq!(disk.db("etcd").as_deref(), Some("old"), "cut short after {last} changes");
    }
}

#[test]
fn a_wal_dir_goes_back_with_its_data_dir() {
    let log = |disk: &Disk, dir: &str, content: &str| {
        fs::create_dir(disk.path(dir)).unwrap();
        fs::write(disk.path(dir).join("0.wal"), content).unwrap();
    };
    let read = |disk: &Disk, dir: &str| fs::read_to_string(disk.path(dir).join("0.wal")).ok();
    let disk = Disk::new();
    disk.data("aside", "old");
    log(&disk, "wal-aside", "old log");
    disk.data("etcd", "restored");
    log(&disk, "wal", "restored log");
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("old"));
    assert_eq!(read(&disk, "wal").as_deref(), Some("old log"));
    assert_eq!(read(&disk, "wal-aside-undone").as_deref(), Some("restored log"));

    // A move that was cut short behind the log.
    let disk = Disk::new();
    disk.data("etcd", "old");
    log(&disk, "wal-aside", "old log");
    disk.done();
    assert_eq!((disk.db("etcd").as_deref(), read(&disk, "wal").as_deref()), (Some("old"), Some("old log")));

    // There was no log.
    let disk = Disk::new();
    disk.data("aside", "old");
    disk.data("etcd", "restored");
    log(&disk, "wal", "restored log");
    disk.done();
    assert_eq!((disk.db("etcd").as_deref(), read(&disk, "wal")), (Some("old"), None));
    assert_eq!(read(&disk, "wal-aside-undone").as_deref(), Some("restored log"));
}

/// What was never moved is not touched, and nothing is overwritten.
#[test]
fn nothing_is_moved_or_overwritten_that_must_not_be() {
    let disk = Disk::new();
    disk.data("etcd", "never moved");
    disk.done();
    assert_eq!(disk.db("etcd").as_deref(), Some("never moved"));

    disk.data("aside", "old");
    disk.data("aside-undone", "of an earlier time");
    let refused = disk.put_back();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is in the way"));
    assert_eq!(disk.db("etcd").as_deref(), Some("never moved"));
    assert_eq!(disk.db("aside").as_deref(), Some("old"));
}

fn step(number: u32, action: Action, irreversible: bool) -> Step {
    Step {
        number,
        title: format!("step {number}"),
        action,
        changes: Vec::new(),
        irreversible,
        timeout_seconds: 1,
        needs: crate::plan::Needs::default(),
        holds_until: None,
        guards: Vec::new(),
    }
}

/// A restore of one member, from its fence to its start.
fn plan() -> Plan {
    let member = || String::from("a");
    let dirs = || DataDirs { data: "/x".into(), wal: None };
    let steps = vec![
        step(1, Action::StartVm { host: "m1".into(), vm: "1".into() }, false),
        step(2, Action::Fence { services: Vec::new() }, false),
        step(3, Action::MoveAside { member: member(), dirs: dirs(), to: "/y".into() }, false),
        step(
            4,
            Action::RestoreMember {
                member: member(),
                dirs: dirs(),
                cluster: RestoredCluster {
                    initial_cluster: "a=http://10.0.0.1:2380".into(),
                    token: "t".into(),
                },
            },
            false,
        ),
        step(5, Action::Release { services: Vec::new() }, true),
    ];
    Plan { steps, ..crate::recover::tests::restore() }
}

fn begun(steps: std::ops::RangeInclusive<u32>) -> Vec<Entry> {
    let at = "2026-03-02T08:30:00Z".parse().unwrap();
    steps.map(|step| Entry { at, event: Event::Begin { step, title: String::new() } }).collect()
}

fn numbers(steps: &[&Step]) -> Vec<u32> {
    steps.iter().map(|step| step.number).collect()
}

#[test]
fn what_was_begun_is_taken_back_from_the_newest_step_on() {
    let plan = plan();
    let mut recorded = begun(1..=4);
    let undo = Undo::of(&plan, &recorded);
    assert_eq!((numbers(&undo.steps), numbers(&undo.kept)), (vec![4, 3, 2], vec![1]));
    assert!(undo.is_possible());
    // A rollback that was cut short goes on.
    recorded.push(Entry { event: Event::Undone { step: 4 }, ..recorded[0].clone() });
    assert_eq!(numbers(&Undo::of(&plan, &recorded).steps), [3, 2]);
    assert_eq!(numbers(&Undo::of(&plan, &[]).steps), Vec::<u32>::new());
}

#[test]
fn there_is_no_way_back_once_etcd_was_started() {
    let (plan, recorded) = (plan(), begun(1..=5));
    let undo = Undo::of(&plan, &recorded);
    assert_eq!(undo.final_step.map(|step| step.number), Some(5));
    assert!(!undo.is_possible());
}
