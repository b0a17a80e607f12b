//! A look at a cluster of which nothing answers.

use std::sync::Mutex as StdMutex;
use std::time::Duration;

use fs_err as fs;

use super::*;
use crate::facts::{Answer, Health};

/// An inventory in which everything is at a loopback port that nobody listens on.
fn inventory(dir: &std::path::Path) -> Inventory {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = dir.join("admin.conf");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                contexts: [{ name: c, context: { cluster: c, user: u } }]\n\
                clusters: [{ name: c, cluster: { server: 'https://127.0.0.1:1' } }]\n\
                users: [{ name: u, user: { token: hunter2 } }]\n";
    fs::write(&kubeconfig, text).unwrap();
    let ssh = dir.join("ssh_config");
    fs::write(&ssh, format!("Host *\n  Port {}\n", nobody.port())).unwrap();
    let json = serde_json::json!({
        "version": 1,
        "cluster": "test",
        "ssh": { "config": ssh },
        "hosts": { "m1": { "address": "127.0.0.1" }, "m2": { "address": "127.0.0.1" } },
        "etcd": { "members": { "e1": {
            "host": "m1", "clientUrl": format!("http://{nobody}"), "peerUrl": "http://127.0.0.1:1",
            "dataDir": "/var/lib/etcd", "service": { "unit": "etcd.service" },
        } } },
        "kubernetes": {
            "kubeconfig": kubeconfig,
            "controlPlane": { "m1": {
                "url": format!("https://{nobody}"),
                "apiserver": { "unit": "kube-apiserver.service" },
                "controllerManager": { "unit": "kube-controller-manager.service" },
                "scheduler": { "unit": "kube-scheduler.service" },
                "certificate": "/etc/kubernetes/pki/apiserver.crt",
            } },
            "nodes": { "m2": {} },
        },
        "checks": [{ "name": "shop", "url": format!("http://{nobody}/") }],
    });
    serde_json::from_value(json).unwrap()
}

fn access(inventory: &Inventory) -> Access {
    Access::new(inventory, crate::host::hosts(inventory))
}

fn refused(why: Option<&str>) -> bool {
    why.is_some_and(|why| why.contains("refused"))
}

#[tokio::test]
async fn where_nothing_answers_everything_is_unknown_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = inventory(dir.path());
    let access = access(&inventory);
    let progress = StdMutex::new(Vec::new());
    let watch = |at: Progress<'_>| progress.lock().unwrap().push((at.done, at.total, at.what.to_owned()));
    let options = ProbeOptions::whole().watched(&watch);
    // A bound for a test that hangs, not a claim.
    let facts =
        tokio::time::timeout(Duration::from_secs(60), observe(&inventory, &access, &options)).await.unwrap();

    for host in facts.hosts.values() {
        assert!(
            matches!(host.login.get(), Some(Login::Unreachable(why)) if why.contains("refused")),
            "{host:?}"
        );
        assert!(host.services.get().is_none() && refused(host.disks.why_unknown()), "{host:?}");
    }
    assert!(facts.hosts["m1"].kubelet.is_none() && facts.hosts["m2"].kubelet.is_some());
    let member = &facts.members["e1"];
    for why in
        [member.status.why_unknown(), member.member_list.why_unknown(), member.linearizable.why_unknown()]
    {
        assert!(refused(why), "{member:?}");
    }
    assert!(member.data_dir.why_unknown().unwrap().contains("log in"), "{member:?}");
    assert!(member.alarms.get().is_none() && member.hash_kv.get().is_none(), "{member:?}");
    let seen = &facts.control_plane["m1"];
    let silent = |health: Option<&Health>| health.is_some_and(|it| !it.ok && it.detail.contains("refused"));
    assert!(silent(seen.livez.get()) && silent(seen.readyz.get()), "{seen:?}");
    assert!(refused(seen.certificate.why_unknown()), "{seen:?}");
    assert!(facts.kubernetes.nodes.get().is_none() && facts.kubernetes.scheduler.get().is_none());
    assert!(matches!(&facts.checks["shop"].answer, Answer::Value(answer) if !answer.ok));
    assert!(facts.cloud.is_none());

    let progress = progress.into_inner().unwrap();
    assert_eq!(progress.len(), progress[0].1, "{progress:?}");
    assert!(progress.iter().enumerate().all(|(i, (done, ..))| *done == i + 1), "{progress:?}");
    assert!(!serde_json::to_string(&facts).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = inventory(dir.path());
    let path = &inventory.kubernetes.kubeconfig;
    let good = fs::read_to_string(path).unwrap();
    let insecure = good.replace("server:", "insecure-skip-tls-verify: true, server:");
    let broken = good.replace("hunter2", "hunter2: [");
    let elsewhere = good.replace("current-context: c", "current-context: hunter");
    for (text, expected) in [(insecure, "insecure-skip-tls-verify"), (broken, "YAML"), (elsewhere, "context")]
    {
        fs::write(path, text).unwrap();
        let seen = kubernetes::api_server(&inventory, &access(&inventory), "m1").await;
        let why = seen.readyz.why_unknown().unwrap();
        assert!(why.contains("admin.conf") && why.contains(expected) && !why.contains("hunter2"), "{why}");
    }
    fs::remove_file(path).unwrap();
    let seen = kubernetes::api_server(&inventory, &access(&inventory), "m1").await;
    assert!(seen.readyz.why_unknown().unwrap().contains("admin.conf"), "{seen:?}");
}

#[tokio::test]
async fn what_the_inventory_does_not_have_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = inventory(dir.path());
    let access = access(&inventory);
    let error = access.etcd("stranger").await.unwrap_err();
    assert!(error.to_string().contains("stranger"), "{error}");
    let seen = kubernetes::api_server(&inventory, &access, "stranger").await;
    assert!(seen.livez.get().is_none() && seen.certificate.get().is_none(), "{seen:?}");
}
