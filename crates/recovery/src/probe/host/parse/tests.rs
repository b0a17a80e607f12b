use std::collections::BTreeMap;
use std::path::Path;

use super::*;

const ID: &str = "3d1219c7c4c5404aaa1f6d2a48adfda4";
const BOOT: &str = "2966aa09-16ef-4edc-950a-d411378916a7";

fn healthy() -> String {
    [
        &format!("machine-id\t{ID}"),
        &format!("boot-id\t{BOOT}"),
        "clock\t1700000000.250000000",
        "disk\trw\t/dev/vda1  264212084 26039052  69462212      28% /\t/dev/vda1  16777216 613336 16163880  4% /",
        "disk\tro\t//nas/my share 100 60 40 60% /var/lib/my data\tdf: -i: not known",
        "unit\tLoadState=loaded",
        "unit\tActiveState=activating",
        "unit\tSubState=auto-restart",
        "unit\tUnitFileState=enabled",
        "unit\tNRestarts=7",
        "unit\t",
        "unit\tLoadState=not-found",
        "unit\tActiveState=inactive",
        "unit\tSubState=dead",
        "unit\tUnitFileState=",
        "fence\tno",
        "fence\tyes",
        "pod\tyes\tno\tyes",
        "platform\tLinux x86_64",
        "kubelet\tok",
        "clock\t1700000001.750000000",
    ]
    .join("\n")
}

fn units() -> [String; 2] {
    ["etcd.service", "kubelet.service"].map(String::from)
}

#[test]
fn what_the_script_prints_is_understood() {
    let text = healthy();
    let said = ScriptOutput::of(&text);
    assert_eq!(said.machine_id().unwrap(), ID);
    assert_eq!(said.boot_id().unwrap(), BOOT);
    assert_eq!(said.clock().unwrap(), (1_700_000_000.25, 1_700_000_001.75));
    assert_eq!(said.platform().unwrap(), "Linux x86_64");
    let disks = said.disks(2).unwrap();
    let root = Disk {
        size: 264_212_084 << 10,
        available: 69_462_212 << 10,
        free_inodes: Some(16_163_880),
        read_only: false,
    };
    let data = Disk { size: 100 << 10, available: 40 << 10, free_inodes: None, read_only: true };
    assert_eq!(disks, BTreeMap::from([("/".into(), root), ("/var/lib/my data".into(), data)]));
    let [etcd, kubelet] = said.units(&units()).unwrap().try_into().unwrap();
    assert_eq!((etcd.active.as_str(), etcd.sub.as_str(), etcd.restarts), ("activating", "auto-restart", 7));
    assert!(etcd.enabled && !etcd.fenced && !etcd.is_running());
    assert_eq!((kubelet.active.as_str(), kubelet.sub.as_str()), ("inactive", "not-found"));
    assert!(!kubelet.enabled && kubelet.fenced);
    let [pod] = said.pods(1).unwrap().try_into().unwrap();
    assert!(pod.is_running() && pod.enabled && !pod.fenced);
    assert!(said.kubelet().unwrap().ok);
}

#[test]
fn a_login_that_says_hello_is_skipped_and_an_answer_cut_short_is_none() {
    assert_eq!(body("Welcome to m1!\nlifeboat-look\nclock\t1\nend\n"), Ok("clock\t1\n"));
    for cut in ["", "lifeboat-look\nclock\t1\n", "lifeboat-look\nclock\t1\nen", "clock\t1\nend\n"] {
        assert!(body(cut).is_err(), "{cut:?}");
    }
    assert!(body(&"x".repeat(LARGEST + 1)).is_err());
}

#[test]
fn clocks_without_a_fraction_count_as_the_middle_of_the_second() {
    for text in ["1700000000", "1700000000.%N", "1700000000.N"] {
        assert_eq!(seconds(text), Ok(1_700_000_000.5), "{text}");
    }
    for text in
        ["", ".5", "nan", "inf", "1e300", "-1", "0x10", "1700000000.5e9", "999999999999", "1 2", "1.\u{1b}"]
    {
        assert!(seconds(text).is_err(), "{text:?}");
    }
}

/// Each line that lies makes its own fact unknown, and leaves the others as they are.
#[test]
fn lies_are_not_believed() {
    let with = |from: &str, to: &str| {
        let text = healthy().replace(from, to);
        assert_ne!(text, healthy(), "{from:?} is not there");
        text
    };
    for id in ["", "3d12", &"g".repeat(32), "uninitialized", &format!("{ID}{ID}")] {
        assert!(ScriptOutput::of(&with(ID, id)).machine_id().is_err(), "{id:?}");
    }
    for platform in ["", "Linux", "Linux x86 64", "Linux \u{1b}[2J", &"x".repeat(50)] {
        assert!(ScriptOutput::of(&with("Linux x86_64", platform)).platform().is_err(), "{platform:?}");
    }
    let two = format!("{}\nmachine-id\t{}", healthy(), "0".repeat(32));
    assert!(ScriptOutput::of(&two).machine_id().is_err(), "two ids");
    assert!(ScriptOutput::of(&two).boot_id().is_ok());
    assert!(ScriptOutput::of(&with(BOOT, "../../../../../../../../../../etc/passwd")).boot_id().is_err());

    for (from, to) in [
        ("69462212", "-1"),
        ("69462212", "99999999999999999999999999"),
        ("28% /\t", "28% relative\t"),
        ("28% /\t", "28% /\u{1b}[2J\t"),
        ("28%", "%"),
        ("disk\trw", "disk\tsometimes"),
        ("disk\trw", "disk\t"),
        ("disk\trw\t", "disk\trw\trw\t"),
        ("disk\tro\t//nas/my share 100 60 40 60% /var/lib/my data\tdf: -i: not known\n", ""),
    ] {
        assert!(ScriptOutput::of(&with(from, to)).disks(2).is_err(), "{from:?} -> {to:?}");
    }
    for (from, to) in [
        ("ActiveState=activating", "ActiveState=\u{1b}[2Jactive"),
        ("ActiveState=activating", "SubState=active"),
        ("ActiveState=activating", "ActiveState="),
        ("unit\t\n", ""),
        ("unit\t\n", "unit\t\nunit\tActiveState=active\nunit\t\n"),
        ("fence\tno\n", ""),
        ("fence\tno", "fence\tmaybe"),
    ] {
        assert!(ScriptOutput::of(&with(from, to)).units(&units()).is_err(), "{from:?} -> {to:?}");
    }
    for line in ["pod\tyes\tno", "pod\tyes\tno\tyes\tyes", "pod\tyes\tno\tperhaps", "pod"] {
        assert!(ScriptOutput::of(&with("pod\tyes\tno\tyes", line)).pods(1).is_err(), "{line:?}");
    }
    let said = with("kubelet\tok", "kubelet\tnot ok\u{7}\u{1b}]0;title");
    let kubelet = ScriptOutput::of(&said).kubelet().unwrap();
    assert!(!kubelet.ok && kubelet.detail == "not ok ]0;title", "{kubelet:?}");
}

#[test]
fn leftovers_are_paths_or_nothing() {
    let text = "left\tlock\t\nleft\tsent\t/var/lib/lifeboat/20261124-030000-abcd\nleft\taside\t/var/lib/etcd.lifeboat-x\n\
                left\tsent\trelative\nleft\tsent\t/\u{1b}[2J\nleft\tother\t/x\nleft\n";
    let found = ScriptOutput::of(text).leftovers();
    assert!(found.locked);
    assert_eq!(found.sent, [Path::new("/var/lib/lifeboat/20261124-030000-abcd")]);
    assert_eq!(found.aside, [Path::new("/var/lib/etcd.lifeboat-x")]);
    assert!(ScriptOutput::of("").leftovers().is_empty());
}

#[test]
fn no_systemd_is_unknown_in_its_own_words() {
    let text = "unit\tSystem has not been booted with systemd\nfence\tno\nfence\tno\n";
    let why = ScriptOutput::of(text).units(&units()).unwrap_err();
    assert!(why.contains("not been booted"), "{why}");
    assert!(ScriptOutput::of("").kubelet().is_err());
}

#[test]
fn a_file_system_without_numbers_is_read() {
    let proc = df("proc                     0     0         0        - /proc").unwrap();
    assert_eq!((proc.total, proc.available, proc.mount), (0, 0, "/proc"));
    assert!(df("Filesystem 1024-blocks Used Available Capacity Mounted on").is_none());
    assert!(df("").is_none() && df("% ").is_none() && df("1 2 3 4% ").is_none());
    assert_eq!(Path::new(df("a 1 2 3 4% /a% b").unwrap().mount), Path::new("/a% b"));
}
