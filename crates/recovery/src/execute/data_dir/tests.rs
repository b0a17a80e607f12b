//! The scripts, as a machine runs them.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command as Process, Output, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::*;

fn sh(script: &str, arguments: &[&Path]) -> Output {
    let command = Command::script(script, arguments.iter().map(|argument| argument.display().to_string()));
    let (program, rest) = command.argv.split_first().unwrap();
    let mut process = Process::new(program);
    process.args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&command.stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn succeeds(script: &str, arguments: &[&Path]) {
    let output = sh(script, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A data dir, a WAL dir beside it, and the places they are moved to.
struct Machine {
    _base: TempDir,
    dir: PathBuf,
    to: PathBuf,
    inside: PathBuf,
    wal: PathBuf,
    wal_to: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        let machine = Self {
            dir: at("etcd"),
            to: at("etcd.aside"),
            inside: at("etcd/lifeboat-aside-1"),
            wal: at("wal"),
            wal_to: at("wal.aside"),
            _base: base,
        };
        fs::create_dir_all(machine.dir.join("member/snap")).unwrap();
        fs::write(machine.dir.join("member/snap/db"), "db").unwrap();
        machine
    }

    fn aside(&self, wal: bool) -> [&Path; 5] {
        let none = Path::new("");
        let (wal, wal_to) = if wal { (self.wal.as_path(), self.wal_to.as_path()) } else { (none, none) };
        [&self.dir, &self.to, &self.inside, wal, wal_to]
    }

    fn own(&self, owner: &str) {
        let none = Path::new("");
        succeeds(OWN, &[&self.dir, &self.to, &self.inside, none, none, owner.as_ref(), none]);
    }
}

/// The inventory's unit is stopped, and an etcd of another name runs on the data dir all the same.
#[test]
fn a_data_dir_that_an_etcd_has_open_is_not_moved() {
    let machine = Machine::new();
    let db = machine.dir.join("member/snap/db");
    let open = fs::File::open(&db).unwrap();
    flock(open.file(), FlockOperation::LockExclusive).unwrap();
    let refused = sh(MOVE_ASIDE, &machine.aside(false));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("still has"), "{said}");
    assert!(db.exists() && !machine.to.exists());
    drop(open);
    succeeds(MOVE_ASIDE, &machine.aside(false));
    assert!(!machine.dir.exists() && machine.to.join("member/snap/db").exists());
}

/// A link that came up since the plan: renaming it would leave the data where it was.
#[test]
fn a_data_dir_that_became_a_link_is_not_moved() {
    let machine = Machine::new();
    let elsewhere = machine.dir.with_file_name("elsewhere");
    fs::rename(&machine.dir, &elsewhere).unwrap();
    symlink(&elsewhere, &machine.dir).unwrap();
    let refused = sh(MOVE_ASIDE, &machine.aside(false));
    assert!(!refused.status.success());
    assert!(elsewhere.join("member/snap/db").exists() && !machine.to.exists());
}

#[test]
fn a_wal_dir_is_moved_with_its_data_dir_and_a_move_that_was_cut_short_goes_on() {
    let machine = Machine::new();
    fs::create_dir(&machine.wal).unwrap();
    fs::write(machine.wal.join("0.wal"), "log").unwrap();
    // Cut short between the two.
    fs::rename(&machine.wal, &machine.wal_to).unwrap();
    succeeds(MOVE_ASIDE, &machine.aside(true));
    assert!(machine.to.join("member/snap/db").exists() && machine.wal_to.join("0.wal").exists());
    // Once over, what is restored since stays.
    fs::create_dir_all(&machine.dir).unwrap();
    fs::create_dir(&machine.wal).unwrap();
    succeeds(MOVE_ASIDE, &machine.aside(true));
    assert!(machine.dir.exists() && machine.wal.exists());
}

/// Hazard 9: owner and mode are those of the old data dir; where there is none, the inventory's.
#[test]
fn a_new_data_dir_gets_what_the_old_one_had() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can give a file away: not tried");
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let restore = |machine: &Machine| {
        fs::create_dir_all(machine.dir.join("member/snap")).unwrap();
        fs::write(machine.dir.join("member/snap/db"), "new").unwrap();
    };
    let owner = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o777)
    };
    let machine = Machine::new();
    std::os::unix::fs::chown(&machine.dir, Some(12345), Some(12346)).unwrap();
    fs::set_permissions(&machine.dir, std::fs::Permissions::from_mode(0o750)).unwrap();
    succeeds(MOVE_ASIDE, &machine.aside(false));
    restore(&machine);
    machine.own("");
    assert_eq!(owner(&machine.dir), (12345, 12346, 0o750));
    assert_eq!(owner(&machine.dir.join("member/snap/db")).0, 12345);

    let gone = Machine::new();
    fs::remove_dir_all(&gone.dir).unwrap();
    succeeds(MOVE_ASIDE, &gone.aside(false));
    restore(&gone);
    gone.own("12347");
    assert_eq!(owner(&gone.dir).0, 12347, "what stands for a data dir that was gone has no owner to give");
}

/// Programs of a machine with SELinux and ACLs that only say how they were called; its etcd runs as `nobody`.
const STAND_INS: [(&str, &str); 6] = [
    ("systemctl", "case $3 in User) echo User=nobody;; Group) echo Group=nogroup;; esac"),
    ("selinuxenabled", ":"),
    ("chcon", "echo chcon \"$@\" >> \"$CALLS\""),
    ("restorecon", "echo restorecon \"$@\" >> \"$CALLS\""),
    ("getfacl", "echo getfacl \"$@\" >> \"$CALLS\"; echo user::rwx"),
    ("setfacl", "echo setfacl \"$(cat)\" \"$@\" >> \"$CALLS\""),
];

/// Gives a restored data dir away as [`STAND_INS`] have it: what was called, and what the script ended with.
fn own_as_nobody(machine: &Machine) -> (String, Output) {
    let programs = tempfile::tempdir().unwrap();
    for (name, script) in STAND_INS {
        let path = programs.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let calls = programs.path().join("calls");
    fs::write(&calls, "").unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut process = Process::new("sh");
    process.args(["-c", OWN, "sh"]).args([&machine.dir, &machine.to, &machine.inside]);
    process.args(["", "", "", "etcd.service"]).env("CALLS", &calls);
    process.env("PATH", format!("{}:{path}", programs.path().display()));
    let output = process.output().unwrap();
    (fs::read_to_string(calls).unwrap(), output)
}

/// Hazard 9: label and ACL of the old data dir; without one, the label of the path and the user of the unit, who must be
/// able to open it.
#[test]
fn label_and_acl_are_carried_over_and_the_units_user_can_open_the_data() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can give a file away: not tried");
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let open_to = |machine: &Machine, mode: u32| {
        let parent = machine.dir.parent().unwrap();
        fs::set_permissions(parent, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let restore = |machine: &Machine| {
        fs::create_dir_all(machine.dir.join("member/snap")).unwrap();
        fs::write(machine.dir.join("member/snap/db"), "new").unwrap();
    };
    let machine = Machine::new();
    open_to(&machine, 0o755);
    std::os::unix::fs::chown(&machine.dir, Some(65534), Some(65534)).unwrap();
    succeeds(MOVE_ASIDE, &machine.aside(false));
    restore(&machine);
    let (calls, output) = own_as_nobody(&machine);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (dir, old) = (machine.dir.display(), machine.to.display());
    let expected = format!(
        "getfacl -p --omit-header {old}\nsetfacl user::rwx --set-file=- {dir}\nchcon -R --reference={old} {dir}\n"
    );
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&calls), sorted(&expected));

    let gone = Machine::new();
    fs::remove_dir_all(&gone.dir).unwrap();
    succeeds(MOVE_ASIDE, &gone.aside(false));
    restore(&gone);
    // Nobody can enter what is above it.
    open_to(&gone, 0o700);
    let (calls, output) = own_as_nobody(&gone);
    assert_eq!(calls, format!("restorecon -R {}\n", gone.dir.display()));
    assert_eq!(fs::metadata(&gone.dir).unwrap().uid(), 65534);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("nobody, the user of etcd.service, cannot read"),
        "{said}"
    );
}

/// Hazard 10: what a killed restore left is our own copy; each try would fill the disk further.
#[test]
fn what_a_killed_restore_left_is_removed_and_no_more() {
    let machine = Machine::new();
    succeeds(MOVE_ASIDE, &machine.aside(true));
    let (stage, wal_stage) =
        (machine.dir.join(".lifeboat-restoring-7"), machine.wal.with_file_name("wal.lifeboat-restoring-7"));
    let write = machine.dir.join("member");
    let make = |wal: &Path| {
        succeeds(RESTORE, &[&machine.dir, wal, "mkdir".as_ref(), "-p".as_ref(), &write.join("snap")]);
    };
    fs::create_dir_all(stage.join("member")).unwrap();
    fs::create_dir_all(&wal_stage).unwrap();
    make(&machine.wal);
    assert!(!stage.exists() && !wal_stage.exists() && write.join("snap").exists());
    // The data dir is in place and its log is not: neither is a member yet.
    fs::create_dir_all(&stage).unwrap();
    fs::write(write.join("old"), "").unwrap();
    make(&machine.wal);
    assert!(!write.join("old").exists() && write.join("snap").exists());
    // What is whole is not written again, nor touched.
    fs::write(write.join("new"), "").unwrap();
    succeeds(RESTORE, &[&machine.dir, "".as_ref(), "false".as_ref()]);
    assert!(write.join("new").exists() && machine.to.join("member/snap/db").exists());
}
