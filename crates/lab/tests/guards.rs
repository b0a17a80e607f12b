//! Guards of a plan's steps against real etcd: a step that would cost the quorum is not started.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use lifeboat_client::messages::{AlarmMember, AlarmType};
use lifeboat_recovery::execute::{Context, ExecuteError, execute};
use lifeboat_recovery::host::{Host, LocalHost};
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::journal::Event;
use lifeboat_recovery::operation::Operations;
use lifeboat_recovery::plan::Plan;
use lifeboat_recovery::probe::Access;
use serde_json::{Value, json};

/// A unit that does not exist: fencing it fails without effect.
const UNIT: &str = "lifeboat-test-no-such-unit.service";

fn inventory(cluster: &Cluster) -> Inventory {
    let members = cluster.layout().members().iter().enumerate().map(|(i, member)| {
        let spec = json!({
            "host": member.name, "clientUrl": cluster.client_endpoint(i), "peerUrl": member.peer_url,
            "dataDir": cluster.data_dir(i), "service": {"unit": UNIT},
        });
        (member.name.clone(), spec)
    });
    let members: BTreeMap<String, Value> = members.collect();
    let hosts: BTreeMap<&String, Value> =
        members.keys().map(|name| (name, json!({"address": format!("{name}.test")}))).collect();
    serde_json::from_value(json!({
        "version": 1, "cluster": "test", "hosts": hosts, "etcd": {"members": members},
        "kubernetes": {"kubeconfig": "/nonexistent", "controlPlane": {}},
    }))
    .unwrap()
}

/// A plan of the preflight and one step.
fn plan(action: &Value, guards: &Value) -> Plan {
    let step = |number: u32, action: &Value, guards: &Value| {
        json!({"number": number, "title": format!("step {number}"), "action": action, "changes": [],
            "irreversible": false, "timeoutSeconds": 30, "guards": guards})
    };
    serde_json::from_value(json!({
        "schemaVersion": 1, "id": "20261124-030000-abcd", "cluster": "test", "observedAt": "2026-03-02T08:30:00Z", "treats": [],
        "candidates": [], "manual": [], "fingerprint": {},
        "steps": [step(1, &json!({"do": "preflight"}), &json!([])), step(2, action, guards)],
    }))
    .unwrap()
}

/// Fences m2's etcd, with a guard.
fn fence(cluster: &Cluster, guard: &Value, dir: &Path) -> ExecuteError {
    let fence = json!({"do": "fence", "services": [{"host": "m2", "service": {"unit": UNIT}}]});
    run(cluster, &plan(&fence, &json!([guard])), dir).expect_err("the unit is not there")
}

fn run(cluster: &Cluster, plan: &Plan, dir: &Path) -> Result<(), ExecuteError> {
    run_after(cluster, plan, dir, None)
}

/// Runs a plan whose journal already has an event.
fn run_after(cluster: &Cluster, plan: &Plan, dir: &Path, before: Option<Event>) -> Result<(), ExecuteError> {
    let inventory = inventory(cluster);
    let host = |name: &String| (name.clone(), Arc::new(LocalHost::new(name)) as Arc<dyn Host>);
    let access = Access::new(&inventory, inventory.hosts.keys().map(host).collect());
    let operations = Operations::lock(&dir.join("inventory.yaml")).unwrap();
    let mut operation = operations.begin(true).unwrap();
    operation.accept(plan).unwrap();
    before.into_iter().for_each(|event| operation.journal.record(event).unwrap());
    let context = Context::new(&inventory, &access, plan, dir, &mut operation.journal);
    let stop = AtomicBool::new(false);
    cluster.block_on(execute(&context, &[], &stop, &mut |_| ()))
}

fn refused(error: ExecuteError) -> String {
    match error {
        ExecuteError::Refused { why } => why,
        other => panic!("not refused by a guard: {other}"),
    }
}

/// Hazard 1: with one member down, all others are needed.
#[test]
fn a_member_is_not_fenced_if_the_others_have_no_quorum() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let replace = json!({"check": "quorumWithout", "member": "m2"});
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).start().unwrap();
    let error = fence(&cluster, &replace, dir.path().join("a").as_path());
    assert!(matches!(error, ExecuteError::Step { number: 2, .. }), "the guard holds with all up: {error}");
    cluster.kill(2).unwrap();
    cluster.wait_healthy(Duration::from_secs(30)).unwrap();
    let why = refused(fence(&cluster, &replace, dir.path().join("b").as_path()));
    assert!(why.contains("without m2, 1 of 3 voting members serve, 2 needed"), "{why}");
    let stop = json!({"check": "quorumKept", "members": ["m2"]});
    let why = refused(fence(&cluster, &stop, dir.path().join("c").as_path()));
    assert!(why.contains("stopping m2 would lose quorum"), "{why}");
    // A cluster with a quorum is not restored.
    let why = refused(fence(&cluster, &json!({"check": "quorumLost"}), dir.path().join("d").as_path()));
    assert!(why.contains("etcd serves again"), "{why}");
    cluster.kill(0).unwrap();
    let error = fence(&cluster, &json!({"check": "quorumLost"}), dir.path().join("e").as_path());
    assert!(matches!(error, ExecuteError::Step { number: 2, .. }), "{error}");
}

/// Other sizes and versions. A learner does not vote, so a quorum of two does not need it.
#[test]
fn a_member_that_the_quorum_needs_is_not_fenced() {
    let refusals = [
        (EtcdVersion::V3_5, 1, vec![], "without m1, 0 of 1 voting members serve, 1 needed"),
        (EtcdVersion::V3_6, 2, vec![], "without m2, 1 of 2 voting members serve, 2 needed"),
        (EtcdVersion::V3_7, 4, vec![3], "without m2, 2 of 4 voting members serve, 3 needed"),
        (EtcdVersion::V3_4, 5, vec![3, 4], "without m2, 2 of 5 voting members serve, 3 needed"),
    ];
    for (version, ..) in &refusals {
        lab::or_skip!(peers::etcd(*version));
    }
    std::thread::scope(|scope| {
        for (version, members, dead, words) in refusals {
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                let mut cluster = ClusterBuilder::new(version).members(members).start().unwrap();
                for member in dead {
                    cluster.kill(member).unwrap();
                }
                if members == 2 {
                    add_learner(&cluster);
                }
                let name = if members == 1 { "m1" } else { "m2" };
                let guard = json!({"check": "quorumWithout", "member": name});
                let why = refused(fence(&cluster, &guard, dir.path()));
                assert!(why.contains(words), "{version}: {why}");
            });
        }
    });
}

/// Adds a learner, which etcd refuses in the first seconds after its members have connected.
fn add_learner(cluster: &Cluster) {
    let client = cluster.client(0).unwrap();
    let add = || cluster.block_on(client.member_add(vec!["http://127.0.0.1:1".into()], true));
    let added =
        (0..60).any(|_| add().inspect_err(|_| std::thread::sleep(Duration::from_millis(250))).is_ok());
    assert!(added, "no learner is taken");
}

/// Hazard 10: space is checked before anything is fenced.
#[test]
fn a_restore_without_free_space_is_not_started() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(2).start().unwrap();
    cluster.kill(0).unwrap();
    let db = cluster.data_dir(0).join("member/snap/db");
    let guarded = |source: &Path| json!({"check": "room", "member": "m1", "source": {"snapshot": source}});
    let error = fence(&cluster, &guarded(&db), &dir.path().join("a"));
    assert!(matches!(error, ExecuteError::Step { number: 2, .. }), "there is room for it: {error}");
    // A sparse file: its end takes no space.
    let big = dir.path().join("big.db");
    fs_err::copy(&db, &big).unwrap();
    fs_err::OpenOptions::new().write(true).open(&big).unwrap().set_len(4 << 40).unwrap();
    let why = refused(fence(&cluster, &guarded(&big), &dir.path().join("b")));
    assert!(why.contains("m1: ") && why.contains("MB are needed"), "{why}");
}

/// etcd keeps the alarm of a removed member, and refuses writes until it is disarmed.
#[test]
fn a_corrupt_alarm_is_disarmed_once_its_member_is_gone() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(1).start().unwrap();
    let client = cluster.client(0).unwrap();
    let stray = cluster.block_on(client.member_add(vec!["http://127.0.0.1:1".into()], true)).unwrap();
    let id = stray.member.id;
    let alarm = AlarmMember { member_id: id, alarm: AlarmType::Corrupt.into() };
    cluster.block_on(client.activate(alarm)).unwrap();
    assert!(cluster.block_on(client.put("a", "1", 0)).is_err(), "etcd takes writes with a CORRUPT alarm");
    let disarm = plan(&json!({"do": "disarmCorrupt", "id": format!("{id:x}")}), &json!([]));
    match run(&cluster, &disarm, &dir.path().join("a")) {
        Err(ExecuteError::Step { number: 2, why, .. }) => assert!(why.contains("is still a member"), "{why}"),
        other => panic!("{other:?}"),
    }
    cluster.block_on(client.member_remove(id)).unwrap();
    assert!(cluster.block_on(client.put("a", "1", 0)).is_err(), "etcd forgets the alarms of removed members");
    run(&cluster, &disarm, &dir.path().join("b")).unwrap();
    cluster.block_on(client.put("a", "1", 0)).unwrap();
}

/// The data dir of an etcd that is not fenced must not be moved.
#[test]
fn data_is_not_moved_while_the_members_ports_are_in_use() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(2).start().unwrap();
    let data = cluster.data_dir(0).to_path_buf();
    let aside = json!({"do": "moveAside", "member": "m1", "dirs": {"data": data}, "to": "/nonexistent"});
    let plan = plan(&aside, &json!([{"check": "portsFree", "member": "m1"}]));
    let ended = run(&cluster, &plan, &dir.path().join("a")).unwrap_err().to_string();
    assert!(ended.contains("m1: port ") && ended.contains("is in use"), "{ended}");
    assert!(data.join("member").exists());
    cluster.kill(0).unwrap();
    run(&cluster, &plan, &dir.path().join("b")).unwrap();
    assert!(!data.join("member").exists());
}

/// Hazard 2: a leader and equal data are not enough if a cluster other than the restored one serves.
#[test]
fn a_restore_ends_only_when_the_restored_cluster_serves() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).start().unwrap();
    let wait = |token: &str| {
        let restored = json!({"initialCluster": cluster.layout().initial_cluster(), "token": token});
        plan(&json!({"do": "waitForEtcd", "members": ["m1", "m2", "m3"], "restored": restored}), &json!([]))
    };
    run(&cluster, &wait(cluster.layout().token()), &dir.path().join("a")).unwrap();
    match run(&cluster, &wait("lifeboat-another"), &dir.path().join("b")) {
        Err(ExecuteError::Step { number: 2, why, .. }) => {
            assert!(why.contains("does not run on what was restored"), "{why}");
        }
        other => panic!("the old cluster was taken for the restored one: {other:?}"),
    }
}

/// Right ids are not enough: the served data is compared with what the restore wrote.
#[test]
fn a_restore_does_not_end_if_other_data_is_served() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let dir = tempfile::tempdir().unwrap();
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(1).start().unwrap();
    let client = cluster.client(0).unwrap();
    let revision = cluster.block_on(client.put("a", "1", 0)).unwrap().header.revision;
    let hash = cluster.block_on(client.hash_kv(revision)).unwrap().hash;
    let restored =
        json!({"initialCluster": cluster.layout().initial_cluster(), "token": cluster.layout().token()});
    let wait = json!({"do": "waitForEtcd", "members": ["m1"], "restored": restored});
    let mut plan = plan(&wait, &json!([]));
    // With its record in the journal, as if the member had been restored; the step is not repeated.
    let restore =
        json!({"do": "restoreMember", "member": "m1", "dirs": {"data": "/nonexistent"}, "cluster": restored});
    let step = json!({"number": 3, "title": "step 3", "action": restore, "changes": [], "irreversible": false,
        "timeoutSeconds": 1, "guards": []});
    plan.steps.push(serde_json::from_value(step).unwrap());
    let ended = |name: &str, revision: i64, hash: u32| {
        let note = format!("written {}", json!({"revision": revision, "hash": hash}));
        let note = Event::Note { step: 3, note };
        match run_after(&cluster, &plan, &dir.path().join(name), Some(note)) {
            Err(ExecuteError::Step { number, why, .. }) => (number, why),
            other => panic!("{other:?}"),
        }
    };
    let (step, why) = ended("a", revision, hash);
    assert_eq!(step, 3, "what was written is served, and the next step fails: {why}");
    let (step, why) = ended("b", revision, hash ^ 1);
    assert!(step == 2 && why.contains("HashKV at revision") && why.contains("keep clients out"), "{why}");
    let (step, why) = ended("c", revision + 1, hash);
    assert!(step == 2 && why.contains(&format!("serves revision {revision}")), "{why}");
}
