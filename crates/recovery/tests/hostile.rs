//! Plans and journals that somebody has tampered with: nothing of them is done, and nothing is written elsewhere.

mod cluster;
mod recorded;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fs_err as fs;
use lifeboat_recovery::facts::{Facts, Snapshot, SnapshotIdentity, Snapshots};
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::operation::{OperationError, Operations, load_plan, write_json};
use lifeboat_recovery::plan::Plan;
use lifeboat_recovery::planner::{PlanOptions, plan};
use lifeboat_recovery::rules::diagnose;
use serde_json::{Value, json};

const ID: &str = "20261124-030000-abcd";

fn planned(facts: &Facts) -> Option<Plan> {
    plan(facts, &diagnose(facts), &PlanOptions { id: ID.into(), ..PlanOptions::default() }).ok()
}

fn case(name: &str) -> (Inventory, Value) {
    let facts = cluster::cases::all().remove(name).unwrap();
    let plan = planned(&facts).unwrap();
    (facts.inventory, serde_json::to_value(plan).unwrap())
}

/// What comes of a plan file with this content.
fn loaded(inventory: &Inventory, plan: &Value) -> Result<Plan, OperationError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.json");
    write_json(&path, plan).unwrap();
    load_plan(&path, inventory)
}

/// A plan whose first step does this.
fn doing(plan: &Value, action: &Value) -> Value {
    let mut plan = plan.clone();
    plan["steps"][0]["action"] = action.clone();
    plan
}

#[test]
fn every_plan_that_is_made_is_taken_back_as_it_was() {
    let mut steps = 0;
    for (case, facts) in recorded::all() {
        let Some(mut plan) = planned(&facts) else { continue };
        let read = loaded(&facts.inventory, &serde_json::to_value(&plan).unwrap());
        let read = read.unwrap_or_else(|why| panic!("{case}: {why}"));
        // What a step changes is for people, and is not taken from a file.
        plan.steps.iter_mut().for_each(|step| step.changes.clear());
        assert_eq!(read, plan, "{case}");
        steps += plan.steps.len();
    }
    assert!(steps > 100, "{steps}");
}

#[test]
fn a_title_says_what_is_done_whatever_the_file_says() {
    let (inventory, mut plan) = case("member-destroyed");
    plan["steps"][0]["title"] = "Wait for a leader".into();
    plan["steps"][0]["changes"] = json!(["nothing"]);
    let read = loaded(&inventory, &plan).unwrap();
    assert!(read.steps[0].title.starts_with("Preflight"), "{}", read.steps[0].title);
    assert_eq!(read.steps[0].changes, Vec::<String>::new());
}

#[test]
fn a_plan_that_names_what_is_not_the_inventorys_is_refused() {
    let (inventory, plan) = case("member-destroyed");
    let host = inventory.hosts.keys().next().unwrap();
    let member = inventory.etcd.members.keys().next().unwrap();
    let service = |unit: &str| json!([{ "host": host, "service": { "unit": unit } }]);
    for action in [
        json!({ "do": "cleanUp", "hosts": ["elsewhere"] }),
        json!({ "do": "waitForHosts", "hosts": ["-oProxyCommand=id"] }),
        json!({ "do": "recoverNodes", "hosts": ["elsewhere"] }),
        json!({ "do": "fence", "services": service("sshd.service") }),
        json!({ "do": "restart", "services": service("x.service; rm -rf /") }),
        json!({ "do": "moveAside", "member": member, "dirs": { "data": "/var/lib/etcd" }, "to": "/etc" }),
        // Without the guard that asks the machine where its data is.
        json!({ "do": "moveAside", "member": member, "dirs": { "data": "/etc" },
                "to": "/etc.lifeboat-20261124-030000-abcd" }),
        json!({ "do": "moveAside", "member": "elsewhere", "dirs": { "data": "/var/lib/etcd" },
                "to": "/var/lib/etcd.lifeboat-20261124-030000-abcd" }),
        json!({ "do": "restoreMember", "member": member, "dirs": { "data": "/etc" }, "cluster":
                { "initialCluster": inventory.initial_cluster(), "token": format!("lifeboat-{ID}") } }),
        json!({ "do": "addLearner", "member": member, "dirs": { "data": "/etc" } }),
        json!({ "do": "restoreMember", "member": member, "dirs": { "data": "/var/lib/etcd" }, "cluster":
                { "initialCluster": "evil=http://10.9.9.9:2380", "token": format!("lifeboat-{ID}") } }),
        json!({ "do": "restoreMember", "member": member, "dirs": { "data": "/var/lib/etcd" }, "cluster":
                { "initialCluster": inventory.initial_cluster(), "token": "etcd-cluster" } }),
        json!({ "do": "removeMember", "member": "elsewhere", "id": "1" }),
        json!({ "do": "removeMember", "member": member, "id": "$(id)" }),
        json!({ "do": "distribute", "source": { "member": "elsewhere" }, "revision": 1, "hosts": [host] }),
        json!({ "do": "distribute", "source": { "member": member }, "revision": 1, "hosts": ["elsewhere"] }),
        json!({ "do": "startVm", "host": host, "vm": "another" }),
        json!({ "do": "attachNic", "host": host, "vm": "another",
                "nic": { "l3Network": "l", "ip": "10.0.0.1", "mac": "fa:16:3e:00:00:01" } }),
        json!({ "do": "createIpRange", "range": { "l3Network": "l", "name": "r", "startIp": "10.0.0.1",
                "endIp": "10.0.0.9", "netmask": "255.255.255.0", "gateway": "10.0.0.254" } }),
        json!({ "do": "waitForChecks", "checks": ["elsewhere"] }),
        json!({ "do": "waitForApiservers", "hosts": ["elsewhere"] }),
        json!({ "do": "clearNospace", "members": ["elsewhere"] }),
    ] {
        let refused = loaded(&inventory, &doing(&plan, &action));
        assert!(matches!(refused, Err(OperationError::ForeignPlan { .. })), "{action}: {refused:?}");
    }
}

/// Facts come from files of other people too.
#[test]
fn extreme_numbers_of_a_snapshot_do_no_harm() {
    for (case, mut facts) in recorded::all() {
        for (size, revision, raft_index) in [(u64::MAX, i64::MAX, u64::MAX), (0, i64::MIN, 0)] {
            let snapshot = Snapshot {
                path: "/".into(),
                written: None,
                size,
                revision: Ok(revision),
                raft_index: Some(raft_index),
                identity: Some(SnapshotIdentity::default()),
            };
            facts.snapshots = Some(Snapshots { read: vec![snapshot], unread: usize::MAX, named: None });
            let plan = planned(&facts);
            assert!(plan.is_none_or(|plan| !plan.restores() || plan.unread_snapshots > 0), "{case}");
        }
    }
}

/// An id is a part of paths that are removed as root.
#[test]
fn a_plan_with_an_id_of_another_form_is_refused() {
    let (inventory, plan) = case("member-destroyed");
    for id in ["../../etc", "/etc", "", ".", "20261124-030000-abcd/../../../etc", "x y"] {
        let mut plan = plan.clone();
        plan["id"] = id.into();
        assert!(matches!(loaded(&inventory, &plan), Err(OperationError::ForeignPlan { .. })), "{id}");
    }
    let mut other = plan.clone();
    other["cluster"] = "other".into();
    assert!(matches!(loaded(&inventory, &other), Err(OperationError::OtherCluster { .. })));
    let mut machines = plan.clone();
    machines["machineIds"] = json!({ "elsewhere": "0123456789abcdef0123456789abcdef" });
    assert!(matches!(loaded(&inventory, &machines), Err(OperationError::ForeignPlan { .. })));
    let mut endless = plan.clone();
    endless["steps"][0]["timeoutSeconds"] = u64::MAX.into();
    assert!(matches!(loaded(&inventory, &endless), Err(OperationError::ForeignPlan { .. })));
    let mut order = plan;
    order["steps"][0]["number"] = 7.into();
    assert!(matches!(loaded(&inventory, &order), Err(OperationError::ForeignPlan { .. })));
}

#[test]
fn a_plan_that_others_can_write_is_refused() {
    let (inventory, plan) = case("member-destroyed");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.json");
    write_json(&path, &plan).unwrap();
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(load_plan(&path, &inventory), Err(OperationError::Ownership(_))));
}

/// Each file that an inventory names can make Lifeboat do something, or tells it whom to believe.
#[test]
fn a_file_of_an_inventory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lifeboat.yaml");
    let files = ["ssh_config", "etcd-ca", "etcd-cert", "etcd-key", "kubeconfig", "cloud-ca", "id", "secret"];
    let inventory = json!({
        "version": 1, "cluster": "c", "ssh": {"config": "ssh_config"},
        "hosts": {"m1": {"address": "10.0.0.1"}},
        "etcd": {"tls": {"ca": "etcd-ca", "cert": "etcd-cert", "key": "etcd-key"}, "members": {"m1": {
            "host": "m1", "clientUrl": "https://10.0.0.1:2379", "peerUrl": "https://10.0.0.1:2380",
            "dataDir": "/var/lib/etcd", "service": {"unit": "etcd.service"}}}},
        "kubernetes": {"kubeconfig": "kubeconfig", "controlPlane": {"m1": {"url": "https://10.0.0.1:6443",
            "apiserver": {"unit": "a.service"}, "controllerManager": {"unit": "c.service"},
            "scheduler": {"unit": "s.service"}}}},
        "cloud": {"zstack": {"endpoint": "https://10.0.0.9:8443", "ca": "cloud-ca",
            "accessKeyId": {"file": "id"}, "accessKeySecret": {"file": "secret"}}},
    });
    fs::write(&path, inventory.to_string()).unwrap();
    let set = |file: &str, mode: u32| {
        let file = dir.path().join(file);
        fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in files {
        fs::write(dir.path().join(file), "").unwrap();
        set(file, 0o600);
    }
    Inventory::load(&path).unwrap();
    for file in files.into_iter().chain(["lifeboat.yaml"]) {
        set(file, 0o662);
        let refused = Inventory::load(&path).expect_err(file).to_string();
        assert!(refused.contains(&format!("{file} can be written by others")), "{file}: {refused}");
        set(file, 0o600);
    }
}

#[test]
fn steps_that_differ_are_found() {
    let (inventory, plan) = case("member-destroyed");
    let ours = loaded(&inventory, &plan).unwrap();
    assert_eq!(ours.first_difference(&ours), None);
    let host = inventory.hosts.keys().next().unwrap();
    let theirs = loaded(&inventory, &doing(&plan, &json!({ "do": "cleanUp", "hosts": [host] }))).unwrap();
    let (said, due) = theirs.first_difference(&ours).unwrap();
    assert!(said.starts_with("Clean up") && due.starts_with("Preflight"), "{said}, {due}");
    let mut shorter = ours.clone();
    shorter.steps.pop();
    assert_eq!(shorter.first_difference(&ours).unwrap().0, "nothing");
}

/// An operation whose plan is under way, and its directory.
fn begun(inventory: &Path) -> std::path::PathBuf {
    let facts = cluster::cases::all().remove("member-destroyed").unwrap();
    let mut operation = Operations::lock(inventory).unwrap().begin(true).unwrap();
    operation.accept(&planned(&facts).unwrap()).unwrap();
    operation.dir
}

#[test]
fn a_journal_that_leads_out_of_its_directory_is_refused() {
    let (inventory, _) = case("member-destroyed");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lifeboat.yaml");
    let operation = begun(&path);
    // A plan elsewhere, by a line with the right CRC.
    let journal = operation.join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let (head, _) = text.trim_end().rsplit_once('\n').unwrap();
    let entry = r#"{"at":"2026-11-24T03:00:00Z","event":"plan","plan":"../../outside"}"#;
    let line = format!("{{\"crc\":{},\"entry\":{entry}}}", crc32c::crc32c(entry.as_bytes()));
    fs::write(&journal, format!("{head}\n{line}\n")).unwrap();
    let mut outside = planned(&cluster::cases::all().remove("member-destroyed").unwrap()).unwrap();
    outside.id = "../../outside".into();
    write_json(&dir.path().join("outside.json"), &outside).unwrap();
    let resumed = Operations::lock(&path).unwrap().resume().unwrap();
    assert!(matches!(resumed.current(&inventory), Err(OperationError::Foreign { .. })));
}

#[test]
fn a_journal_behind_a_link_is_neither_read_nor_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lifeboat.yaml");
    let operation = begun(&path);
    let (journal, moved) = (operation.join("journal.jsonl"), dir.path().join("elsewhere"));
    fs::rename(&journal, &moved).unwrap();
    symlink(&moved, &journal).unwrap();
    let before = fs::read(&moved).unwrap();
    assert!(matches!(Operations::lock(&path).unwrap().resume(), Err(OperationError::Foreign { .. })));
    assert_eq!(fs::read(&moved).unwrap(), before);
    fs::remove_file(&journal).unwrap();
    fs::rename(&moved, &journal).unwrap();
    fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o622)).unwrap();
    assert!(matches!(Operations::lock(&path).unwrap().resume(), Err(OperationError::Ownership(_))));
    // The directory of all operations.
    let all = dir.path().join(".lifeboat");
    fs::rename(&all, dir.path().join("others")).unwrap();
    symlink(dir.path().join("others"), &all).unwrap();
    assert!(matches!(Operations::lock(&path), Err(OperationError::Foreign { .. })));
}
