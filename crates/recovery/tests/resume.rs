//! Operations that were cut short: what goes on, what is refused, and what is given up.

mod cluster;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use lifeboat_recovery::execute::{Progress, Undo};
use lifeboat_recovery::facts::Facts;
use lifeboat_recovery::finding::Diagnosis;
use lifeboat_recovery::inventory::Inventory;
use lifeboat_recovery::operation::{Operation, OperationError, Operations};
use lifeboat_recovery::plan::{Plan, Step};
use lifeboat_recovery::planner::{PlanOptions, plan};
use lifeboat_recovery::probe::Access;
use lifeboat_recovery::recover::{Declined, Desk, Reboots, RecoverError, Recovery, Report};
use lifeboat_recovery::rules::diagnose;

/// Says no, and keeps what it was shown.
#[derive(Default)]
struct No {
    left: Vec<u32>,
}

impl Desk for No {
    fn show(&mut self, _: usize, _: &Diagnosis, _: &Plan) {}
    fn confirm(&mut self, _: &Plan) -> bool {
        false
    }
    fn confirm_reboot(&mut self, _: &Step) -> bool {
        false
    }
    fn resuming(&mut self, _: &Operation, _: &Plan, left: &[&Step]) {
        self.left = left.iter().map(|step| step.number).collect();
    }
    fn rolling_back(&mut self, _: &Operation, _: &Plan, _: &Undo<'_>) {}
    fn looking(&mut self) {}
    fn progress(&mut self, _: &Plan, _: Progress<'_>) {}
}

fn facts() -> Facts {
    cluster::cases::all().remove("member-destroyed").unwrap()
}

/// A plan of three steps or more, cut short before the first.
fn cut_short(inventory: &Path) -> Plan {
    let facts = facts();
    let options = PlanOptions { id: "20261124-030000-abcd".into(), ..PlanOptions::default() };
    let plan = plan(&facts, &diagnose(&facts), &options).unwrap();
    Operations::lock(inventory).unwrap().begin(true).unwrap().accept(&plan).unwrap();
    plan
}

fn with<T>(inventory: &Inventory, path: &Path, work: impl AsyncFnOnce(&Recovery<'_>) -> T) -> T {
    let access = Access::new(inventory, Default::default());
    let recovery = Recovery {
        inventory,
        inventory_path: path.into(),
        access: &access,
        source: None,
        reboots: Reboots::Never,
        operator: "a test".into(),
        stop: &AtomicBool::new(false),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work(&recovery))
}

fn resume(inventory: &Inventory, path: &Path, desk: &mut No) -> Result<Report, RecoverError> {
    with(inventory, path, async |recovery| recovery.resume(desk).await)
}

#[test]
fn what_is_left_is_shown_and_not_done_without_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prod.yaml");
    let plan = cut_short(&path);
    let mut desk = No::default();
    let refused = resume(&facts().inventory, &path, &mut desk);
    assert!(matches!(refused, Err(RecoverError::Declined(Declined::Resumed))), "{refused:?}");
    assert_eq!(desk.left.len(), plan.steps.len());
    assert!(Operations::lock(&path).unwrap().resume().is_ok(), "it can still be resumed");
}

#[test]
fn the_operation_of_another_cluster_is_neither_resumed_nor_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("staging.yaml");
    cut_short(&path);
    let staging = Inventory { cluster: "staging".into(), ..facts().inventory };
    let is_refused = |error: &RecoverError| matches!(error, RecoverError::Operation(OperationError::OtherCluster { theirs, .. }) if theirs == "prod");
    let resumed = resume(&staging, &path, &mut No::default()).unwrap_err();
    assert!(is_refused(&resumed), "{resumed}");
    let abandoned = with(&staging, &path, async |recovery| recovery.abandon().await).unwrap_err();
    assert!(is_refused(&abandoned), "{abandoned}");
}

/// The message of a damaged journal says to give it up.
#[test]
fn an_operation_with_a_damaged_journal_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prod.yaml");
    let plan = cut_short(&path);
    let id = Operations::lock(&path).unwrap().resume().unwrap().id;
    let operation = dir.path().join(".lifeboat").join(&id);
    let journal = operation.join("journal.jsonl");
    let text = fs_err::read_to_string(&journal).unwrap();
    fs_err::write(&journal, text.replacen("started", "stopped", 1)).unwrap();
    let error = Operations::lock(&path).unwrap().resume().unwrap_err();
    assert!(error.to_string().contains("lifeboat recover abandon"), "{error}");
    let inventory = facts().inventory;
    assert_eq!(with(&inventory, &path, async |recovery| recovery.abandon().await).unwrap(), id);
    assert!(operation.join("journal.jsonl.damaged").exists(), "nothing is deleted");
    assert!(operation.join(format!("{}.json", plan.id)).exists());
    assert!(Operations::lock(&path).unwrap().begin(true).is_ok(), "another can begin");
}
