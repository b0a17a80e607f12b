//! Failures that the API servers do not see, or that look worse from there than they are.

use lab::incident::delete_reserved_range;
use lab::machines::{Layout, Topology};

use crate::harness::{Harness, Run};
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("all_members_run_on_empty_data_dirs", Topology::Full, Layout::Systemd, empty_data_dirs),
    ("two_nodes_do_not_reach_the_api", Topology::Full, Layout::Systemd, nodes_without_api),
    ("a_peer_port_is_closed", Topology::Full, Layout::Systemd, a_peer_port_is_closed),
    ("the_cloud_refuses_one_nic", Topology::Full, Layout::Systemd, one_nic_is_refused),
    ("an_unlisted_voter_is_reported", Topology::Full, Layout::Systemd, unlisted_voter),
];

/// Makes etcd run on another data dir with a drop-in, or on its own again.
fn set_data_dir(harness: &Harness, machine: &str, other: bool) {
    let script = if other {
        "dir=/etc/systemd/system/etcd.service.d; mkdir -p $dir; unit=$(systemctl show -p FragmentPath --value etcd); \
         { printf '[Service]\\nExecStart=\\n'; sed -n '/^ExecStart=/,/[^\\\\]$/p' $unit | \
         sed 's#--data-dir=/var/lib/etcd#&-new#'; } > $dir/other.conf; systemctl daemon-reload"
    } else {
        "rm -rf /etc/systemd/system/etcd.service.d /var/lib/etcd-new; systemctl daemon-reload"
    };
    harness.sh(machine, script);
}

fn boot_ids(harness: &Harness) -> Vec<String> {
    ["n1", "n2"].iter().map(|node| harness.sh(node, "cat /proc/sys/kernel/random/boot_id")).collect()
}

fn assert_nothing_done(harness: &Harness) -> Run {
    let before = boot_ids(harness);
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.steps().is_empty(), "{}", run.output());
    assert_eq!(boot_ids(harness), before, "a node was rebooted");
    run
}

/// API servers answer from their caches, and etcd has nothing: what is wrong shows at once, and no node is touched.
fn empty_data_dirs(harness: &Harness) {
    let keys = writer::acknowledged(harness, "before etcd ran elsewhere", 20);
    let machines = harness.etcd_machines();
    machines.iter().for_each(|machine| set_data_dir(harness, machine, true));
    for machine in &machines {
        harness.sh(machine, "systemctl restart --no-block etcd");
    }
    harness.wait_for_any_cause(&["etcd.state-lost"]);
    let run = harness.lifeboat(&["diagnose", "-v"]).expect(3);
    for words in
        ["has no nodes", "runs on /var/lib/etcd-new", "/var/lib/etcd on m2 is sound at revision", "2 nodes"]
    {
        assert!(run.stdout.contains(words), "{words}: {}", run.output());
    }
    let run = assert_nothing_done(harness);
    assert!(run.stdout.contains("etcd.state-lost"), "{}", run.output());

    for machine in &machines {
        harness.sh(machine, "systemctl stop etcd");
        set_data_dir(harness, machine, false);
    }
    for machine in &machines {
        harness.sh(machine, "systemctl start --no-block etcd");
    }
    // API servers that have seen the empty state go on from their caches only after a restart.
    for master in ["m1", "m2", "m3"] {
        harness.sh(master, "systemctl restart --no-block kube-apiserver");
    }
    harness.wait_for_causes(&[]);
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// One has no balancer any more, the other's reaches nothing: two causes, and no reboot.
fn nodes_without_api(harness: &Harness) {
    let rule = "OUTPUT -p tcp --dport 6443 ! -d 127.0.0.1 -j DROP";
    harness.machine("n1").stop_unit("haproxy").expect("stop it");
    harness.sh("n2", &format!("iptables -I {rule}"));
    harness.wait_for_causes(&["node.api-unreachable", "node.api-unreachable"]);
    assert_nothing_done(harness);
    harness.sh("n2", &format!("iptables -D {rule}"));
    harness.machine("n1").start_unit("haproxy").expect("start it");
    harness.wait_for_causes(&[]);
}

fn a_peer_port_is_closed(harness: &Harness) {
    let rule = |verb: &str| {
        let rules = ["INPUT -p tcp --dport 2380 -j DROP", "OUTPUT -p tcp --dport 2380 -j DROP"];
        rules.map(|rule| format!("iptables {verb} {rule}")).join(" && ")
    };
    harness.sh("m2", &rule("-I"));
    harness.wait_for_any_cause(&["etcd.member.down"]);
    let run = harness.lifeboat(&["diagnose", "-v"]).expect(3);
    assert!(run.stdout.contains("no TCP connection to the peer address"), "{}", run.output());
    assert_nothing_done(harness);
    harness.sh("m2", &rule("-D"));
    harness.wait_for_causes(&[]);
}

/// A fourth voter that never started: three of four are needed from then on.
fn unlisted_voter(harness: &Harness) {
    let endpoints = harness.lab.blueprint().etcd_endpoints().join(",");
    let add = || {
        harness.etcdctl(&[
            "--endpoints",
            &endpoints,
            "member",
            "add",
            "spare",
            "--peer-urls=https://10.123.0.241:2380",
        ])
    };
    harness.eventually("the member is added", || add().map(drop));
    harness.wait_for_causes(&["etcd.member.unlisted"]);
    let run = harness.lifeboat(&["diagnose"]).expect(3);
    assert!(run.stdout.contains("4 voters, the inventory has 3"), "{}", run.output());
    assert_nothing_done(harness);
    let list = harness.etcdctl(&["--endpoints", &endpoints, "member", "list"]).expect("member list");
    let line = list.lines().find(|line| line.contains("10.123.0.241")).expect("the spare member");
    let id = line.split(',').next().unwrap_or_default();
    harness.etcdctl(&["--endpoints", &endpoints, "member", "remove", id]).expect("remove it");
    harness.wait_for_causes(&[]);
}

/// The other machines come back, and with them the quorum; the cloud's words are shown, and the next recovery asks
/// again.
fn one_nic_is_refused(harness: &Harness) {
    let faults = |spec: &str| {
        let mut curl = harness.lab.ns_command("curl");
        curl.args(["-sSf", "-X", "PUT", "-H", "content-type: application/json", "-d", spec]);
        let done = curl.arg("http://10.123.0.249:8080/lab/faults").output().expect("run curl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let keys = writer::acknowledged(harness, "before one NIC was refused", 20);
    faults(r#"{"fail":[{"api":"attachL3NetworkToVm","machine":"e1","message":"no free port on the host"}]}"#);
    delete_reserved_range(&harness.lab).expect("delete the range");
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains("no free port on the host"), "{}", run.output());
    assert!(run.stdout.contains("tried 4 times"), "{}", run.output());
    harness.wait_for_causes(&["nic.missing"]);
    assert_eq!(
        harness.machine("m2").nic().expect("its NIC").as_deref(),
        Some(harness.machine("m2").spec().mac.as_str())
    );
    assert_eq!(harness.kubectl(&["get", "--raw", "/readyz"]).as_deref(), Ok("ok"));
    faults("{}");
    harness.recover("the NIC that the cloud had refused");
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new());
}
