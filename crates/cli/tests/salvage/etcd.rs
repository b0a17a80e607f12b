//! What was salvaged, restored and served by a real etcd.

use std::collections::BTreeMap;

use fastrand::Rng;
use lab::cluster::{ClusterBuilder, ClusterLayout};
use lab::peers::{self, EtcdVersion};
use lifeboat_etcd::KeyValue;

use crate::sample::sample;
use crate::support::{bbolt_check, fails, lifeboat, lifeboat_json, restore_all, served, text};
use crate::truth::{PAGE, live, salvage_of};

#[test]
fn etcd_serves_what_was_salvaged() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let (broken, saved) = (dir.path().join("broken.db"), dir.path().join("saved.db"));
    let mut rng = Rng::with_seed(11);
    let count = sample().db.len() / PAGE;
    let pages: Vec<_> = (0..count / 50).map(|_| rng.usize(2..count)).collect();
    let mut bytes = sample().db.clone();
    pages.into_iter().for_each(|page| rng.fill(&mut bytes[page * PAGE..(page + 1) * PAGE]));
    fs_err::write(&broken, bytes).unwrap();

    let output = lifeboat(["salvage", broken.to_str().unwrap(), saved.to_str().unwrap(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let account: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account["complete"], false);
    // It is valid, and lacks what the report says.
    let check = lifeboat(["check", saved.to_str().unwrap(), "-o", "json"]);
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    let ids: Vec<_> = check["findings"].as_array().unwrap().iter().map(|finding| &finding["id"]).collect();
    let expected =
        if account["lost"] == serde_json::json!([]) { vec![] } else { vec!["etcd.revisions-missing"] };
    assert_eq!(ids, expected);

    let revisions = salvage_of(&broken).revisions;
    let expected: BTreeMap<_, _> = live(&revisions)
        .into_iter()
        .map(|(key, revision)| (key, KeyValue::decode(&revisions[&revision]).unwrap().value.to_vec()))
        .collect();
    let layout = ClusterLayout::new(1).unwrap();
    let (dirs, report) = restore_all(&saved, &layout, &dir.path().join("restored"), &[]);
    assert_eq!(report["liveKeys"], expected.len());
    bbolt_check(&dirs[0]);
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6)
        .layout(layout)
        .restored(dirs)
        .env("ETCD_VERIFY", "all")
        .unsafe_no_fsync()
        .start()
        .unwrap();
    assert!(served(&cluster, 0) == expected);
}

#[test]
fn an_existing_file_is_never_replaced_and_no_other_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("backup.db"), dir.path().join("out.db"));
    fs_err::copy(lab::fixture::kubernetes_snapshot(), &path).unwrap();
    fs_err::write(&out, b"mine").unwrap();
    let (path, name) = (path.to_str().unwrap(), out.to_str().unwrap());
    fails(&lifeboat(["salvage", path, name]), 4, &["exists"]);
    assert_eq!(fs_err::read(&out).unwrap(), b"mine");
    fs_err::remove_file(&out).unwrap();
    fails(&lifeboat(["salvage", "--uncommitted", path, name]), 2, &["not a data dir"]);
    let noise = dir.path().join("noise");
    fs_err::write(&noise, vec![9; 100_000]).unwrap();
    fails(&lifeboat(["salvage", noise.to_str().unwrap(), name]), 3, &["no valid meta page"]);
    assert_eq!(crate::support::entries(dir.path()).len(), 2);
    let saved = lifeboat_json(["salvage", path, name]);
    assert_eq!(saved["complete"], true);
    assert_eq!(saved["integrity"], "verified");
    assert_eq!(crate::support::entries(dir.path()).len(), 3);
}
