//! etcd is well, and what stands on it is not.

use fs_err as fs;
use lab::machines::{Layout, Topology};
use lifeboat_recovery::operation::write_json;

use crate::Scenario;
use crate::scene::Scene;

pub const SCENARIOS: &[Scenario] = &[
    ("an_api_server_is_stopped", Topology::Full, Layout::Systemd, an_api_server_is_stopped),
    ("an_api_servers_certificate_has_expired", Topology::Full, Layout::Systemd, a_certificate_has_expired),
    ("a_masters_disk_is_full", Topology::Full, Layout::Systemd, a_disk_is_full),
    ("a_kubelet_hangs", Topology::Full, Layout::Systemd, a_kubelet_hangs),
];

fn an_api_server_is_stopped(scene: &Scene) {
    scene.machine("m1").stop_unit("kube-apiserver").expect("stop it");
    assert_eq!(scene.causes(), ["apiserver.down"]);
    let run = scene.recover("an API server stopped");
    assert!(!run.steps().iter().any(|step| step.contains("etcd")), "etcd was touched: {}", run.said());
}

/// Only people can renew it: it is named, nothing is restarted in vain, and what people did is enough.
fn a_certificate_has_expired(scene: &Scene) {
    let files = ["/etc/kubernetes/ssl/kubernetes.pem", "/etc/kubernetes/ssl/kubernetes-key.pem"];
    let m1 = scene.machine("m1");
    let old = files.map(|file| m1.read_file(file).expect("read it"));
    scene.lab.expire_apiserver_certificate("m1").expect("expire it");
    m1.exec(&["systemctl", "restart", "kube-apiserver"]).expect("restart it");
    scene.wait_for_causes(&["apiserver.cert-expired"]);
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("renew the API server's certificate"), "{}", run.said());
    for (file, content) in files.iter().zip(old) {
        m1.write_file(file, content).expect("renew it");
    }
    m1.exec(&["systemctl", "restart", "kube-apiserver"]).expect("restart it");
    scene.wait_for_causes(&[]);
}

/// Lifeboat deletes nothing: making room is for people, and then the rest is done.
fn a_disk_is_full(scene: &Scene) {
    let m1 = scene.machine("m1");
    m1.fill_disk().expect("fill it");
    m1.stop_unit("kube-scheduler").expect("stop it");
    scene.wait_for_causes(&["host.disk-full"]);
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("For people to do"), "{}", run.said());
    m1.free_disk().expect("make room");
    scene.recover("what a full disk had stopped");
}

/// A plan for the same cluster whose steps somebody has pointed at another node.
fn refused_with_other_steps(scene: &Scene) {
    let read = fs::read_to_string(scene.dir.join("plan.json")).expect("read the plan");
    let mut plan: serde_json::Value = serde_json::from_str(&read).expect("a plan");
    let steps = plan["steps"].to_string().replace("\"n2\"", "\"n1\"");
    plan["steps"] = serde_json::from_str(&steps).expect("steps");
    let path = scene.dir.join("other.json");
    write_json(&path, &plan).expect("write it");
    let refused = scene.lifeboat(&["recover", "apply", "other.json", "--yes"]).expect(4);
    assert!(refused.stderr.contains("the plan file does not match the cluster"), "{}", refused.said());
    fs::remove_file(path).expect("remove it");
}

/// The plan is made, read and then applied, once.
fn a_kubelet_hangs(scene: &Scene) {
    scene.machine("n2").freeze_unit("kubelet").expect("freeze it");
    scene.wait_for_a_cause_of(&["node.kubelet-hung"]);
    scene.lifeboat(&["recover", "plan", "--out", "plan.json"]).expect(3);
    refused_with_other_steps(scene);
    let apply = ["recover", "apply", "plan.json", "--yes"];
    let run = scene.lifeboat(&apply).expect(0);
    assert!(run.stdout.contains("n2"), "{}", run.said());
    scene.assert_well();
    let refused = scene.lifeboat(&apply).expect(4);
    assert!(refused.stderr.contains("has changed since the plan was made"), "{}", refused.said());
    fs::remove_file(scene.dir.join("plan.json")).expect("remove the plan");
}
