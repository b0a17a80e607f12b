//! A cluster that cannot be looked at is neither well nor recovered.

mod cluster;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lifeboat_recovery::execute::{Progress, Undo};
use lifeboat_recovery::finding::Diagnosis;
use lifeboat_recovery::inventory::{ClientTls, Inventory};
use lifeboat_recovery::operation::Operation;
use lifeboat_recovery::plan::{Plan, Step};
use lifeboat_recovery::probe::Access;
use lifeboat_recovery::recover::{Desk, Reboots, Recovery};

use cluster::cases;

/// Nobody, who must not be asked anything.
struct Nobody;

impl Desk for Nobody {
    fn show(&mut self, _: usize, _: &Diagnosis, plan: &Plan) {
        panic!("a plan was made of nothing: {plan:?}");
    }
    fn confirm(&mut self, _: &Plan) -> bool {
        false
    }
    fn resuming(&mut self, _: &Operation, plan: &Plan, _: &[&Step]) {
        panic!("there is nothing to resume: {plan:?}");
    }
    fn confirm_reboot(&mut self, step: &Step) -> bool {
        panic!("there is nothing to reboot: {step:?}");
    }
    fn rolling_back(&mut self, _: &Operation, plan: &Plan, _: &Undo<'_>) {
        panic!("there is nothing to roll back: {plan:?}");
    }
    fn looking(&mut self) {}
    fn progress(&mut self, _: &Plan, _: Progress<'_>) {}
}

/// An inventory whose credentials are not at hand.
fn without_credentials(dir: &Path) -> Inventory {
    let mut inventory = cases::all()["healthy"].inventory.clone();
    let missing = |name: &str| dir.join(name);
    inventory.etcd.tls = Some(ClientTls { ca: missing("ca"), cert: missing("cert"), key: missing("key") });
    inventory.kubernetes.kubeconfig = missing("kubeconfig");
    inventory.cloud = None;
    inventory.checks.clear();
    inventory
}

#[tokio::test]
async fn a_recovery_that_cannot_look_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = without_credentials(dir.path());
    // No way to any machine either.
    let access = Access::new(&inventory, BTreeMap::new());
    let stop = AtomicBool::new(false);
    let recovery = Recovery {
        inventory: &inventory,
        inventory_path: dir.path().join("lifeboat.yaml"),
        access: &access,
        source: None,
        reboots: Reboots::Never,
        operator: "a test".into(),
        stop: &stop,
    };
    let (diagnosis, plan) = recovery.plan(&mut recovery.facts().await.unwrap()).await.unwrap();
    assert_eq!(diagnosis.causes, []);
    assert!(!diagnosis.is_healthy() && plan.is_empty());
    let report = recovery.recover(&mut Nobody).await.unwrap();
    assert!(!report.recovered);
    assert_eq!((report.rounds, report.left.len()), (0, 0));
    let of = |what: &str| report.unknown.iter().any(|unknown| unknown.what.starts_with(what));
    assert!(of("m1: ") && of("etcd member m2: ") && of("Kubernetes: "), "{:?}", report.unknown);
}
