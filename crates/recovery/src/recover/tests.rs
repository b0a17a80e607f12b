use super::*;

pub(super) fn inventory() -> Inventory {
    let text = include_str!("../../../../docs/lifeboat.example.yaml");
    Inventory::parse(text, Path::new("/")).unwrap().inventory
}

/// A plan that rebuilds etcd.
pub(crate) fn restore() -> Plan {
    let (id, inventory) = ("20261124-030000-abcd", inventory());
    let member = inventory.etcd.members.keys().next().unwrap();
    let data_dir = &inventory.etcd.members[member].data_dir;
    let dirs = serde_json::json!({"data": data_dir});
    let steps = serde_json::json!([
        {"number": 1, "title": "fence", "action": {"do": "fence", "services": []}, "changes": [],
         "irreversible": false, "timeoutSeconds": 1},
        {"number": 2, "title": "move", "action": {"do": "moveAside", "member": member, "dirs": dirs,
         "to": format!("{}.lifeboat-{id}", data_dir.display())}, "changes": [], "irreversible": false,
         "timeoutSeconds": 1, "guards": [{"check": "data", "member": member, "dirs": dirs}]},
        {"number": 3, "title": "restore", "action": {"do": "restoreMember", "member": member,
         "dirs": dirs, "cluster": {"initialCluster":
         inventory.initial_cluster(), "token": format!("lifeboat-{id}")}}, "changes": [],
         "irreversible": false, "timeoutSeconds": 1}
    ]);
    serde_json::from_value(serde_json::json!({
        "schemaVersion": 1, "id": id, "cluster": inventory.cluster, "observedAt": "2026-03-02T08:30:00Z", "treats": [],
        "candidates": [], "steps": steps, "manual": [], "fingerprint": {}
    }))
    .unwrap()
}

/// An older one among those of the inventory may be named, in a plan that is applied too.
#[tokio::test]
async fn the_snapshot_that_a_person_has_named_is_read_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["older.db", "newer.db"] {
        fs_err::write(dir.path().join(name), "torn").unwrap();
    }
    let inventory = Inventory { snapshots: vec![dir.path().into()], ..inventory() };
    let access = Access::new(&inventory, crate::host::Hosts::new());
    let recovery = Recovery {
        inventory: &inventory,
        inventory_path: dir.path().join("prod.yaml"),
        access: &access,
        source: None,
        reboots: Reboots::Never,
        operator: "a test".into(),
        stop: &AtomicBool::new(false),
    };
    let mut facts: Facts = serde_json::from_str(include_str!("../../tests/facts/healthy.json")).unwrap();
    recovery.read_snapshots(&mut facts, None).await;
    let found = facts.snapshots.take().unwrap();
    assert_eq!((found.read.len(), found.named), (2, None));
    let older = dir.path().join("older.db");
    recovery.read_snapshots(&mut facts, Some(&StateSource::Snapshot(older.clone()))).await;
    let found = facts.snapshots.unwrap();
    assert_eq!((found.read.len(), &found.read[0].path, found.named.as_ref()), (1, &older, Some(&older)));
}

/// An operation whose plan is under way.
fn begun() -> (tempfile::TempDir, Operations, Operation) {
    let dir = tempfile::tempdir().unwrap();
    let operations = Operations::lock(&dir.path().join("prod.yaml")).unwrap();
    let mut operation = operations.begin(true).unwrap();
    operation.accept(&restore()).unwrap();
    (dir, operations, operation)
}

/// A no in a later round, or a round that has no plan, leaves nothing to resume: the next command must not be refused.
#[test]
fn an_operation_is_open_only_while_a_plan_is_under_way() {
    let (_dir, _operations, mut operation) = begun();
    assert!(has_begun_a_plan(&operation, &inventory()));
    operation.journal.record(Event::PlanDone { plan: restore().id }).unwrap();
    assert!(!has_begun_a_plan(&operation, &inventory()));
    let said = RecoverError::Declined(Declined::Round(2)).to_string();
    assert!(!said.contains("nothing was done"), "{said}");
}

#[test]
fn what_was_restored_is_not_restored_again() {
    let (_dir, _operations, operation) = begun();
    assert!(has_restored(&operation, &inventory()).unwrap());
}
