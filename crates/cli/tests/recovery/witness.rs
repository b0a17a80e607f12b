//! States and nodes that look well, or look lost, from where an API server stands.

use lab::incident::delete_reserved_range;
use lab::machines::{Layout, Topology};

use crate::scene::{Run, Scene};
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("all_members_run_on_empty_data_dirs", Topology::Full, Layout::Systemd, empty_data_dirs),
    ("two_nodes_do_not_reach_the_api", Topology::Full, Layout::Systemd, nodes_without_api),
    ("a_peer_port_is_closed", Topology::Full, Layout::Systemd, a_peer_port_is_closed),
    ("the_cloud_refuses_one_nic", Topology::Full, Layout::Systemd, one_nic_is_refused),
    ("a_member_waits_that_nobody_knows", Topology::Full, Layout::Systemd, a_member_nobody_knows),
];

/// Has etcd run on another data dir by a drop-in, or on its own again.
fn data_dir(scene: &Scene, machine: &str, elsewhere: bool) {
    let script = if elsewhere {
        "dir=/etc/systemd/system/etcd.service.d; mkdir -p $dir; unit=$(systemctl show -p FragmentPath --value etcd); \
         { printf '[Service]\\nExecStart=\\n'; sed -n '/^ExecStart=/,/[^\\\\]$/p' $unit | \
         sed 's#--data-dir=/var/lib/etcd#&-new#'; } > $dir/other.conf; systemctl daemon-reload"
    } else {
        "rm -rf /etc/systemd/system/etcd.service.d /var/lib/etcd-new; systemctl daemon-reload"
    };
    scene.sh(machine, script);
}

fn boot_ids(scene: &Scene) -> Vec<String> {
    ["n1", "n2"].iter().map(|node| scene.sh(node, "cat /proc/sys/kernel/random/boot_id")).collect()
}

fn nothing_is_done(scene: &Scene) -> Run {
    let before = boot_ids(scene);
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.steps().is_empty(), "{}", run.said());
    assert_eq!(boot_ids(scene), before, "a node was rebooted");
    run
}

/// API servers answer from their caches, and etcd has nothing: what is wrong shows at once, and no node is touched.
fn empty_data_dirs(scene: &Scene) {
    let keys = writer::acknowledged(scene, "before etcd ran elsewhere", 20);
    let machines = scene.etcd_machines();
    machines.iter().for_each(|machine| data_dir(scene, machine, true));
    for machine in &machines {
        scene.sh(machine, "systemctl restart --no-block etcd");
    }
    scene.wait_for_a_cause_of(&["etcd.state-lost"]);
    let said = scene.lifeboat(&["diagnose", "-v"]).expect(3);
    for words in
        ["has no nodes", "runs on /var/lib/etcd-new", "/var/lib/etcd on m2 is sound at revision", "2 nodes"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.said());
    }
    let run = nothing_is_done(scene);
    assert!(run.stdout.contains("etcd.state-lost"), "{}", run.said());

    for machine in &machines {
        scene.sh(machine, "systemctl stop etcd");
        data_dir(scene, machine, false);
    }
    for machine in &machines {
        scene.sh(machine, "systemctl start --no-block etcd");
    }
    // API servers that have seen the empty state go on from their caches only after a restart.
    for master in ["m1", "m2", "m3"] {
        scene.sh(master, "systemctl restart --no-block kube-apiserver");
    }
    scene.wait_for_causes(&[]);
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// One has no balancer any more, the other's reaches nothing: two causes, and no reboot.
fn nodes_without_api(scene: &Scene) {
    let rule = "OUTPUT -p tcp --dport 6443 ! -d 127.0.0.1 -j DROP";
    scene.machine("n1").stop_unit("haproxy").expect("stop it");
    scene.sh("n2", &format!("iptables -I {rule}"));
    scene.wait_for_causes(&["node.api-unreachable", "node.api-unreachable"]);
    nothing_is_done(scene);
    scene.sh("n2", &format!("iptables -D {rule}"));
    scene.machine("n1").start_unit("haproxy").expect("start it");
    scene.wait_for_causes(&[]);
}

fn a_peer_port_is_closed(scene: &Scene) {
    let rule = |verb: &str| {
        let rules = ["INPUT -p tcp --dport 2380 -j DROP", "OUTPUT -p tcp --dport 2380 -j DROP"];
        rules.map(|rule| format!("iptables {verb} {rule}")).join(" && ")
    };
    scene.sh("m2", &rule("-I"));
    scene.wait_for_a_cause_of(&["etcd.member.down"]);
    let said = scene.lifeboat(&["diagnose", "-v"]).expect(3);
    assert!(said.stdout.contains("no TCP connection to the peer address"), "{}", said.said());
    nothing_is_done(scene);
    scene.sh("m2", &rule("-D"));
    scene.wait_for_causes(&[]);
}

/// A fourth voter that never started: three of four are needed from then on.
fn a_member_nobody_knows(scene: &Scene) {
    let endpoints = scene.lab.blueprint().etcd_endpoints().join(",");
    let add = || {
        scene.etcdctl(&[
            "--endpoints",
            &endpoints,
            "member",
            "add",
            "spare",
            "--peer-urls=https://10.123.0.241:2380",
        ])
    };
    scene.eventually("the member is added", || add().map(drop));
    scene.wait_for_causes(&["etcd.member.unlisted"]);
    let said = scene.lifeboat(&["diagnose"]).expect(3);
    assert!(said.stdout.contains("4 voters, the inventory has 3"), "{}", said.said());
    nothing_is_done(scene);
    let list = scene.etcdctl(&["--endpoints", &endpoints, "member", "list"]).expect("member list");
    let line = list.lines().find(|line| line.contains("10.123.0.241")).expect("the spare member");
    let id = line.split(',').next().unwrap_or_default();
    scene.etcdctl(&["--endpoints", &endpoints, "member", "remove", id]).expect("remove it");
    scene.wait_for_causes(&[]);
}

/// The other machines come back, and with them the quorum; the cloud's words are shown, and the next recovery asks again.
fn one_nic_is_refused(scene: &Scene) {
    let faults = |spec: &str| {
        let mut curl = scene.lab.ns_command("curl");
        curl.args(["-sSf", "-X", "PUT", "-H", "content-type: application/json", "-d", spec]);
        let done = curl.arg("http://10.123.0.249:8080/lab/faults").output().expect("run curl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let keys = writer::acknowledged(scene, "before one NIC was refused", 20);
    faults(r#"{"fail":[{"api":"attachL3NetworkToVm","machine":"e1","message":"no free port on the host"}]}"#);
    delete_reserved_range(&scene.lab).expect("delete the range");
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("no free port on the host"), "{}", run.said());
    assert!(run.stdout.contains("tried 4 times"), "{}", run.said());
    scene.wait_for_causes(&["nic.missing"]);
    assert_eq!(
        scene.machine("m2").nic().expect("its NIC").as_deref(),
        Some(scene.machine("m2").spec().mac.as_str())
    );
    assert_eq!(scene.kubectl(&["get", "--raw", "/readyz"]).as_deref(), Ok("ok"));
    faults("{}");
    scene.recover("the NIC that the cloud had refused");
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new());
}
