//! Workers that only a reboot brings back: not rebooted unless somebody asked, drained first, and let go again.

use lab::machines::{Layout, Topology};

use crate::Scenario;
use crate::scene::Scene;

pub const SCENARIOS: &[Scenario] =
    &[("a_worker_is_rebooted_only_when_asked_for", Topology::Full, Layout::Systemd, rebooted_when_asked_for)];

/// In `/run`, so that a reboot takes it away and a restart does not help.
const BREAK_KUBELET: &str = "mkdir -p /run/systemd/system/kubelet.service.d
printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > /run/systemd/system/kubelet.service.d/broken.conf
systemctl daemon-reload; systemctl restart kubelet";

fn boot(scene: &Scene) -> String {
    scene.sh("n2", "cat /proc/sys/kernel/random/boot_id")
}

fn rebooted_when_asked_for(scene: &Scene) {
    scene.sh("n2", BREAK_KUBELET);
    scene.wait_for_a_cause_of(&["node.kubelet-down", "node.not-ready"]);
    let before = boot(scene);
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("--reboot-nodes"), "{}", run.said());
    assert_eq!(boot(scene), before, "rebooted though nobody asked");

    // One of its pods may not go.
    scene.eventually("the node is not Ready", || {
        let node = scene.kubectl(&["get", "node", "n2", "--no-headers"])?;
        if node.contains("NotReady") { Ok(()) } else { Err(node) }
    });
    let pods = scene.kubectl(&["get", "pods", "-A", "--field-selector=spec.nodeName=n2", "--show-labels"]);
    eprintln!("--- on n2: {pods:?}");
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: all, namespace: default}\n\
                  spec: {minAvailable: 100%, selector: {matchExpressions: [{key: app, operator: Exists}]}}\n";
    let file = scene.dir.join("budget.yaml");
    fs_err::write(&file, budget).expect("write the budget");
    scene.kubectl(&["apply", "-f", &file.display().to_string()]).expect("apply the budget");
    let run = scene.lifeboat(&["recover", "--yes", "--reboot-nodes"]).expect(3);
    assert!(run.stderr.contains("these pods stop: ") && run.stderr.contains("default/"), "{}", run.said());
    assert!(run.stdout.contains("not rebooted"), "{}", run.said());
    assert_eq!(boot(scene), before, "rebooted though a budget refused");
    let schedulable = || scene.kubectl(&["get", "node", "n2", "-o", "jsonpath={.spec.unschedulable}"]);
    assert_eq!(schedulable().as_deref(), Ok(""), "left cordoned");

    scene.kubectl(&["delete", "-f", &file.display().to_string()]).expect("delete the budget");
    scene.recover_with("a worker that only a reboot helps", &["--reboot-nodes"]);
    assert_ne!(boot(scene), before, "not rebooted");
    assert_eq!(schedulable().as_deref(), Ok(""), "left cordoned");
}
