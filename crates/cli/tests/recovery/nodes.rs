//! Workers that only a reboot recovers: rebooted only if requested, drained first, and uncordoned afterwards.

use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::harness::Harness;

pub const SCENARIOS: &[Scenario] =
    &[("a_worker_is_rebooted_only_when_asked_for", Topology::Full, Layout::Systemd, rebooted_when_asked_for)];

/// In `/run`, so that a reboot takes it away and a restart does not help.
const BREAK_KUBELET: &str = "mkdir -p /run/systemd/system/kubelet.service.d
printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > /run/systemd/system/kubelet.service.d/broken.conf
systemctl daemon-reload; systemctl restart kubelet";

fn boot(harness: &Harness) -> String {
    harness.sh("n2", "cat /proc/sys/kernel/random/boot_id")
}

fn rebooted_when_asked_for(harness: &Harness) {
    harness.sh("n2", BREAK_KUBELET);
    harness.wait_for_any_cause(&["node.kubelet-down", "node.not-ready"]);
    let before = boot(harness);
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("--reboot-nodes"), "{}", run.output());
    assert_eq!(boot(harness), before, "rebooted though nobody asked");

    // One of its pods must not be evicted.
    harness.eventually("the node is not Ready", || {
        let node = harness.kubectl(&["get", "node", "n2", "--no-headers"])?;
        if node.contains("NotReady") { Ok(()) } else { Err(node) }
    });
    let pods = harness.kubectl(&["get", "pods", "-A", "--field-selector=spec.nodeName=n2", "--show-labels"]);
    eprintln!("--- on n2: {pods:?}");
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: all, namespace: default}\n\
                  spec: {minAvailable: 100%, selector: {matchExpressions: [{key: app, operator: Exists}]}}\n";
    let file = harness.dir.join("budget.yaml");
    fs_err::write(&file, budget).expect("write the budget");
    harness.kubectl(&["apply", "-f", &file.display().to_string()]).expect("apply the budget");
    let run = harness.lifeboat(&["recover", "--yes", "--reboot-nodes"]).expect(3);
    assert!(run.stderr.contains("these pods stop: ") && run.stderr.contains("default/"), "{}", run.output());
    assert!(run.stdout.contains("not rebooted"), "{}", run.output());
    assert_eq!(boot(harness), before, "rebooted though a budget refused");
    let schedulable = || harness.kubectl(&["get", "node", "n2", "-o", "jsonpath={.spec.unschedulable}"]);
    assert_eq!(schedulable().as_deref(), Ok(""), "left cordoned");

    harness.kubectl(&["delete", "-f", &file.display().to_string()]).expect("delete the budget");
    harness.recover_with("a worker that only a reboot helps", &["--reboot-nodes"]);
    assert_ne!(boot(harness), before, "not rebooted");
    assert_eq!(schedulable().as_deref(), Ok(""), "left cordoned");
}
