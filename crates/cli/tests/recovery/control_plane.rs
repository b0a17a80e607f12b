//! etcd is healthy, and what depends on it is not.

use fs_err as fs;
use lab::machines::{Layout, Topology};
use lifeboat_recovery::operation::write_json;

use crate::Scenario;
use crate::harness::Harness;

pub const SCENARIOS: &[Scenario] = &[
    ("an_api_server_is_stopped", Topology::Full, Layout::Systemd, an_api_server_is_stopped),
    ("an_api_servers_certificate_has_expired", Topology::Full, Layout::Systemd, a_certificate_has_expired),
    ("a_masters_disk_is_full", Topology::Full, Layout::Systemd, a_disk_is_full),
    ("a_kubelet_hangs", Topology::Full, Layout::Systemd, a_kubelet_hangs),
];

fn an_api_server_is_stopped(harness: &Harness) {
    harness.machine("m1").stop_unit("kube-apiserver").expect("stop it");
    assert_eq!(harness.causes(), ["apiserver.down"]);
    let run = harness.recover("an API server stopped");
    assert!(!run.steps().iter().any(|step| step.contains("etcd")), "etcd was touched: {}", run.output());
}

/// Only the operator can renew it: it is named, nothing is restarted in vain, and a renewal is enough.
fn a_certificate_has_expired(harness: &Harness) {
    let files = ["/etc/kubernetes/ssl/kubernetes.pem", "/etc/kubernetes/ssl/kubernetes-key.pem"];
    let m1 = harness.machine("m1");
    let old = files.map(|file| m1.read_file(file).expect("read it"));
    harness.lab.expire_apiserver_certificate("m1").expect("expire it");
    m1.exec(&["systemctl", "restart", "kube-apiserver"]).expect("restart it");
    harness.wait_for_causes(&["apiserver.cert-expired"]);
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("renew the API server's certificate"), "{}", run.output());
    for (file, content) in files.iter().zip(old) {
        m1.write_file(file, content).expect("renew it");
    }
    m1.exec(&["systemctl", "restart", "kube-apiserver"]).expect("restart it");
    harness.wait_for_causes(&[]);
}

/// Lifeboat deletes nothing: the operator makes room, then the rest is recovered.
fn a_disk_is_full(harness: &Harness) {
    let m1 = harness.machine("m1");
    m1.fill_disk().expect("fill it");
    m1.stop_unit("kube-scheduler").expect("stop it");
    harness.wait_for_causes(&["host.disk-full"]);
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("Manual steps"), "{}", run.output());
    m1.free_disk().expect("make room");
    harness.recover("what a full disk had stopped");
}

/// A plan for the same cluster whose steps were changed to another node.
fn refused_with_other_steps(harness: &Harness) {
    let read = fs::read_to_string(harness.dir.join("plan.json")).expect("read the plan");
    let mut plan: serde_json::Value = serde_json::from_str(&read).expect("a plan");
    let steps = plan["steps"].to_string().replace("\"n2\"", "\"n1\"");
    plan["steps"] = serde_json::from_str(&steps).expect("steps");
    let path = harness.dir.join("other.json");
    write_json(&path, &plan).expect("write it");
    let refused = harness.lifeboat(&["recover", "apply", "other.json", "--yes"]).expect(4);
    assert!(refused.stderr.contains("the plan file does not match the cluster"), "{}", refused.output());
    fs::remove_file(path).expect("remove it");
}

/// The plan is made, read and then applied, once.
fn a_kubelet_hangs(harness: &Harness) {
    harness.machine("n2").freeze_unit("kubelet").expect("freeze it");
    harness.wait_for_any_cause(&["node.kubelet-hung"]);
    harness.lifeboat(&["recover", "plan", "--out", "plan.json"]).expect(3);
    refused_with_other_steps(harness);
    let apply = ["recover", "apply", "plan.json", "--yes"];
    let run = harness.lifeboat(&apply).expect(0);
    assert!(run.stdout.contains("n2"), "{}", run.output());
    harness.assert_healthy();
    let refused = harness.lifeboat(&apply).expect(4);
    assert!(refused.stderr.contains("has changed since the plan was made"), "{}", refused.output());
    fs::remove_file(harness.dir.join("plan.json")).expect("remove the plan");
}
