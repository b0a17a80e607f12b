//! What `recover` refuses before it looks at anything.

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use lab::fixture::FieldInput;
use lifeboat_recovery::facts::{Snapshot, Snapshots};
use lifeboat_recovery::probe::snapshots;
use support::{fails, lifeboat};

const INVENTORY: &str = include_str!("../../../docs/lifeboat.example.yaml");

/// Machines of the example are never asked: 10.123.0.0/24 is nowhere, and a look would end in a finding (3).
fn recover(dir: &Path, args: &[&str]) -> std::process::Output {
    let inventory = dir.join("lifeboat.yaml");
    fs::write(&inventory, INVENTORY).unwrap();
    lifeboat(["recover", "--inventory", inventory.to_str().unwrap()].iter().chain(args))
}

#[test]
fn flags_without_effect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["plan", "--yes"][..],
        &["abandon", "--yes"],
        &["abandon", "--source", "member:etcd-232"],
        &["abandon", "--reboot-nodes"],
        &["rollback", "--reboot-nodes"],
    ] {
        fails(&recover(dir.path(), args), 2, &["unexpected argument"]);
    }
    for (args, words) in [
        (&["--yes", "plan"][..], "--yes has no effect with `recover plan`"),
        (&["--reboot-nodes", "rollback"], "--reboot-nodes has no effect with `recover rollback`"),
        (&["--yes", "abandon"], "--yes has no effect with `recover abandon`"),
    ] {
        fails(&recover(dir.path(), args), 2, &[words]);
    }
}

#[test]
fn a_missing_state_is_reported_before_the_cluster_is_queried() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(dir.path().join("etcd/member")).unwrap();
    fs::write(dir.path().join("text"), [b'x'; 4096]).unwrap();
    for verb in [&["plan"][..], &[], &["resume"]] {
        let with = |source: &str| recover(dir.path(), &[verb, &["--source", source]].concat());
        fails(&with(&path("nope.db")), 2, &["no such file or directory", "nope.db"]);
        fails(&with("member:m9"), 2, &["no etcd member m9 in the inventory, which has etcd-230, etcd-232"]);
        fails(&with(&path("etcd")), 2, &["is a data dir", "lifeboat save"]);
        fails(&with(&path("text")), 3, &["damaged"]);
    }
    fails(
        &recover(dir.path(), &["apply", &path("nope.json")]),
        2,
        &["no such file", "recover plan --out FILE"],
    );
}

/// The inventory of a foreign directory names an `ssh_config`, and that a command.
#[test]
fn an_inventory_that_others_can_write_is_refused_and_none_of_its_commands_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (inventory, mark) = (dir.path().join("lifeboat.yaml"), dir.path().join("pwned"));
    let config = dir.path().join("ssh_config");
    fs::write(&inventory, INVENTORY).unwrap();
    fs::write(&config, format!("Host *\n  ProxyCommand touch {}\n", mark.display())).unwrap();
    for file in [&inventory, &config] {
        set_mode(file, 0o666);
        for verb in [
            &["diagnose"][..],
            &["status"],
            &["recover", "plan"],
            &["recover", "--yes"],
            &["recover", "resume"],
        ] {
            let output = lifeboat(verb.iter().chain(&["--inventory", inventory.to_str().unwrap()]));
            fails(&output, 4, &["can be written by others", &format!("chmod go-w {}", file.display())]);
        }
        set_mode(file, 0o644);
    }
    assert!(!mark.exists() && !dir.path().join(".lifeboat").exists());
}

#[test]
fn a_tampered_plan_is_refused_before_anything_is_queried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.json");
    let plan = |id: &str, action: serde_json::Value| {
        let step = serde_json::json!({ "number": 1, "title": "Wait for a leader", "action": action, "changes": [],
            "irreversible": false, "timeoutSeconds": 1 });
        let plan = serde_json::json!({ "schemaVersion": 1, "id": id, "cluster": "prod",
            "observedAt": "2026-03-02T08:30:00Z", "treats": [], "candidates": [], "steps": [step], "manual": [],
            "fingerprint": {} });
        fs::write(&path, plan.to_string()).unwrap();
        set_mode(&path, 0o600);
        recover(dir.path(), &["apply", path.to_str().unwrap(), "--yes"])
    };
    let clean = |hosts: &[&str]| serde_json::json!({ "do": "cleanUp", "hosts": hosts });
    fails(&plan("../../../etc", clean(&["m1"])), 4, &["not a plan of lifeboat", "its id"]);
    fails(
        &plan("20261124-030000-abcd", clean(&["m9"])),
        4,
        &["step 1 (Clean up", "names m9", "not in the inventory"],
    );
    let state = serde_json::json!({ "do": "distribute", "source": { "snapshot": "/tmp/evil.db" }, "revision": 1, "hosts": ["m1"] });
    fails(
        &plan("20261124-030000-abcd", state),
        4,
        &["/tmp/evil.db", "does not list under snapshots", "--source"],
    );
}

fn set_mode(path: &Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, mode).unwrap();
}

/// A db that is named beside its log, as many guides say, would lose what the log adds; and a packed snapshot takes its
/// unpacked size too.
#[test]
fn a_db_next_to_its_log_is_not_used_and_a_compressed_snapshot_counts_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    FieldInput::DB_WITH_LOG_BESIDE.unpack(dir.path());
    let db = dir.path().join("f2/member/snap/db");
    let read = |path: &Path| snapshots::find(&[], Some(path), 1, |_| true).read.remove(0);
    let why = read(&db).revision.unwrap_err();
    for words in ["the log beside this db goes up to", "with the log 40 keys", "lifeboat save", "copy the db"]
    {
        assert!(why.contains(words), "{why}");
    }
    let alone = dir.path().join("alone.db");
    fs::copy(&db, &alone).unwrap();
    assert!(read(&alone).revision.is_ok());

    let sound = fs::read(lab::fixture::kubernetes_snapshot()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &sound).unwrap();
    let packed = packed.finish().unwrap();
    let path = dir.path().join("nightly.db.gz");
    fs::write(&path, &packed).unwrap();
    let snapshot = read(&path);
    assert_eq!((snapshot.revision, snapshot.size), (Ok(496), (packed.len() + sound.len()) as u64));
}

/// Ninety snapshots of gigabytes each are not all read to find the newest sound one.
#[test]
fn snapshots_are_read_newest_first_until_one_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let sound = fs::read(lab::fixture::kubernetes_snapshot()).unwrap();
    let file = |name: &str, content: &[u8], hours: u64| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let then = SystemTime::now() - Duration::from_secs(3600 * hours);
        fs::File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
    };
    file("a-newest-and-torn.db", &sound[..sound.len() / 2], 1);
    file("z-older.db", &sound, 3);
    file("m-newer.db", &sound, 2);
    for hours in 4..91 {
        file(&format!("old-{hours}.db"), b"never read", hours);
    }
    let places = [dir.path().to_path_buf()];
    let found = snapshots::find(&places, None, 1, |_| true);
    let names = |found: &Snapshots| -> Vec<String> {
        let name = |snapshot: &Snapshot| snapshot.path.file_name().unwrap().to_string_lossy().into_owned();
        found.read.iter().map(name).collect()
    };
    assert_eq!(names(&found), ["a-newest-and-torn.db", "m-newer.db"]);
    assert_eq!((found.read[0].revision.is_ok(), found.read[1].revision.clone()), (false, Ok(496)));
    assert_eq!(found.unread, 88);

    let two = snapshots::find(&places, None, 2, |_| true);
    assert_eq!(names(&two), ["a-newest-and-torn.db", "m-newer.db", "z-older.db"]);
    let foreign = snapshots::find(&places, None, 1, |identity| identity == &Default::default());
    assert_eq!(foreign.unread, 0, "another cluster's do not end the search");
    let named = snapshots::find(&places, Some(&dir.path().join("old-50.db")), 1, |_| true);
    assert_eq!((names(&named), named.unread), (vec!["old-50.db".into()], 0));
    assert!(named.read[0].revision.is_err());
    let missing = snapshots::find(&[dir.path().join("not-there")], None, 1, |_| true);
    assert!(missing.read[0].revision.is_err());
}
