//! `lifeboat save` of what no member serves: the snapshot of a killed member's data dir is what the member would
//! have served, and etcd's own tools take it for one of theirs.

mod support;

use std::process::Command;

use lab::cluster::ClusterBuilder;
use lab::fill::{self, Plain};
use lab::peers::{self, EtcdVersion};
use support::{entries, fails, lifeboat, lifeboat_json, text};

#[test]
fn the_data_dir_of_a_killed_member_becomes_a_snapshot() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).start().unwrap();
    let model = fill::plain(&cluster, 0, &Plain { operations: 200, ..Plain::default() }).unwrap();
    cluster.kill(0).unwrap();
    let data_dir = cluster.data_dir(0).display().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rescued.db");
    let saved = lifeboat_json(["save", "--uncommitted", &data_dir, file.to_str().unwrap()]);
    assert_eq!(saved["revision"], model.revision, "every acknowledged write is in it");

    let of_dir = lifeboat_json(["hash", "--uncommitted", &data_dir]);
    let of_file = lifeboat_json(["hash", file.to_str().unwrap()]);
    assert_eq!((&of_dir["hash"], &of_dir["revision"]), (&of_file["hash"], &of_file["revision"]));

    let etcdutl = peers::etcd(EtcdVersion::V3_6).unwrap().etcdutl.unwrap();
    let mut restore = Command::new(etcdutl);
    restore.args(["snapshot", "restore", "--data-dir"]).arg(dir.path().join("restored")).arg(&file);
    let output = restore.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));

    let again = lifeboat(["save", &data_dir, file.to_str().unwrap()]);
    fails(&again, 4, &["exists"]);
    assert_eq!(entries(dir.path()).len(), 2, "nothing half written is left");
}
