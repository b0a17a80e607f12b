use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;

use super::*;
use crate::facts::{Disk, Fact, HostFacts, KubernetesFacts, Login, Snapshot, Snapshots};
use crate::inventory::{Etcd, Inventory, Kubernetes, Ssh};
use crate::operation::write_json;

fn inventory() -> Inventory {
    Inventory {
        version: 1,
        cluster: "test".into(),
        ssh: Ssh::default(),
        hosts: BTreeMap::new(),
        etcd: Etcd { tls: None, members: BTreeMap::new() },
        kubernetes: Kubernetes {
            kubeconfig: "admin.conf".into(),
            uid: None,
            control_plane: BTreeMap::new(),
            nodes: BTreeMap::new(),
        },
        cloud: None,
        snapshots: Vec::new(),
        checks: Vec::new(),
    }
}

fn facts() -> Facts {
    fn unknown<T>() -> Fact<T> {
        Fact::unknown("Kubernetes API", "no API server answers")
    }
    let disk = Disk { size: u64::MAX, available: 1, free_inodes: Some(0), read_only: true };
    let host = HostFacts {
        login: Fact::value("ssh m1: login", Login::HostKeyChanged("another".into())),
        machine_id: unknown(),
        boot_id: unknown(),
        platform: None,
        clock_offset: Fact::value("ssh m1: date", -3600.25),
        disks: Fact::value("ssh m1: df", BTreeMap::from([("/var".into(), disk)])),
        services: unknown(),
        leftovers: crate::facts::Leftovers::default(),
        kubelet: None,
        kubelet_api: None,
        logs: Some(Fact::value(
            "ssh m1: logs",
            BTreeMap::from([("etcd.service".into(), vec!["error: x".into()])]),
        )),
    };
    let torn = Snapshot {
        path: "/backups/torn.db".into(),
        written: None,
        size: u64::MAX,
        revision: Err("damaged".into()),
        raft_index: None,
        identity: None,
    };
    let sound = Snapshot { revision: Ok(i64::MAX), raft_index: Some(1), ..torn.clone() };
    Facts {
        schema_version: SCHEMA_VERSION,
        platform: String::new(),
        observed_at: Timestamp::now(),
        inventory: inventory(),
        cloud: None,
        hosts: BTreeMap::from([("m1".into(), host)]),
        members: BTreeMap::new(),
        control_plane: BTreeMap::new(),
        kubernetes: KubernetesFacts {
            controller_manager: unknown(),
            scheduler: unknown(),
            nodes: unknown(),
            leases_without_node: unknown(),
        },
        checks: BTreeMap::new(),
        pending_operation: None,
        snapshots: Some(Snapshots { read: vec![torn, sound], unread: 1, named: None }),
    }
}

#[test]
fn what_was_saved_is_loaded_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (path, facts) = (dir.path().join("facts.json"), facts());
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    write_json(&path, &facts).unwrap();
    assert_eq!(Facts::load(&path).unwrap(), facts);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn facts_of_another_version_are_refused_by_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("facts.json");
    // What else a later version holds does not matter.
    fs::write(&path, r#"{ "schemaVersion": 2, "news": true }"#).unwrap();
    let error = Facts::load(&path).unwrap_err();
    assert!(matches!(error, FactsFileError::Version { found: 2, .. }), "{error}");
}

#[test]
fn other_files_are_refused_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("facts.json");
    for text in ["", "{}", "[]", r#"{ "schemaVersion": 1 }"#, "\u{0}\u{1}"] {
        fs::write(&path, text).unwrap();
        let error = Facts::load(&path).unwrap_err();
        assert!(error.to_string().contains("facts.json"), "{text:?}: {error}");
    }
    let missing = Facts::load(&dir.path().join("missing")).unwrap_err();
    assert!(matches!(missing, FactsFileError::Missing(_)), "{missing}");
}
