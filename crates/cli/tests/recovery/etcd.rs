//! Members that lose their data, their disk, or their place in the cluster.

use lab::machines::{Layout, Topology};

use crate::harness::Harness;
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("all_data_is_destroyed", Topology::Full, Layout::Systemd, all_data_is_destroyed),
    ("dbs_are_damaged_and_logs_are_whole", Topology::Full, Layout::Systemd, dbs_are_damaged),
    ("one_member_is_destroyed", Topology::Full, Layout::Systemd, one_member_is_destroyed),
    ("members_are_added_again_until_quorum_is_lost", Topology::Full, Layout::Systemd, added_again),
    ("the_quota_is_exceeded", Topology::Full, Layout::Systemd, the_quota_is_exceeded),
];

pub const STATIC_PODS: &[Scenario] =
    &[("one_member_is_destroyed", Topology::Full, Layout::StaticPods, one_member_is_destroyed)];

fn destroy(harness: &Harness, machine: &str) {
    harness.lab.stop_etcd(machine).expect("stop etcd");
    harness.machine(machine).destroy_etcd_data().expect("destroy its data");
}

fn all_data_is_destroyed(harness: &Harness) {
    let kept = writer::acknowledged(harness, "before the snapshot", 20);
    harness.snapshot();
    let newer = writer::acknowledged(harness, "lost with the data", 20);
    harness.etcd_machines().iter().for_each(|machine| destroy(harness, machine));
    let run = harness.recover("all three data dirs destroyed");
    assert!(run.stdout.contains("snapshot.db"), "{}", run.output());
    assert!(run.stdout.contains("loses every write after it was taken"), "{}", run.output());
    assert_eq!(writer::lost(harness, &kept), Vec::<String>::new());
    assert_eq!(writer::lost(harness, &newer).len(), newer.len());
}

/// The snapshot is older than the logs: what was acknowledged since is in them.
fn dbs_are_damaged(harness: &Harness) {
    let mut keys = writer::acknowledged(harness, "before the snapshot that has no log", 20);
    harness.snapshot();
    keys.extend(writer::acknowledged(harness, "in the logs alone", 40));
    for machine in harness.etcd_machines() {
        harness.lab.damage_etcd(&machine).expect("damage its db");
    }
    harness.wait_for_any_cause(&["etcd.quorum-lost"]);
    let plan = harness.lifeboat(&["recover", "plan"]).expect(3);
    // On top of the snapshot, or by itself where it begins with the cluster.
    assert!(plan.stdout.contains("'s log to "), "{}", plan.output());
    let run = harness.recover("all three dbs damaged, and the logs whole");
    assert!(run.stdout.contains("loses nothing that is known"), "{}", run.output());
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// The member's process finds its data gone, starts over, and the others go on: a client that writes all the
/// while sees nothing but an election.
fn one_member_is_destroyed(harness: &Harness) {
    let others: Vec<String> = (harness.lab.blueprint().machines.iter())
        .filter(|machine| harness.etcd_machines().contains(&machine.name) && machine.name != "m3")
        .map(|machine| format!("https://{}:2379", machine.ip))
        .collect();
    let account = writer::during(harness, &others, || {
        destroy(harness, "m3");
        harness.lab.start_etcd("m3").expect("start etcd");
        // With the ids it had, it ends at once, over and over; in a cluster that was restored it waits in one of its
        // own.
        harness.wait_for_any_cause(&["etcd.member.corrupt", "etcd.member.foreign"]);
        harness.recover("one member destroyed");
    });
    eprintln!(
        "--- {} writes acknowledged meanwhile, the slowest after {:.2} s",
        account.acknowledged.len(),
        account.slowest.as_secs_f64()
    );
    assert_eq!(account.failed, Vec::<String>::new(), "writes failed while the quorum held");
    assert_eq!(writer::lost(harness, &account.acknowledged), Vec::<String>::new());
    let list = harness.etcdctl(&["--endpoints", &others.join(","), "member", "list"]).expect("member list");
    assert_eq!(
        list.lines().filter(|line| line.contains("started") && line.ends_with("false")).count(),
        3,
        "{list}"
    );
}

/// The incident's sixth step: wiped, removed and added under its old name, while another member is down; then the
/// same with that one, until no member has a quorum.
fn added_again(harness: &Harness) {
    harness.snapshot();
    let keys = writer::acknowledged(harness, "before they were added again", 100);
    add_again_until_no_quorum_is_left(harness);
    let run = harness.recover("members removed and added again until none had a quorum");
    assert!(run.stdout.contains(&format!("member:{}", harness.member("e1"))), "{}", run.output());
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new(), "acknowledged writes are lost");
    reinitialized(harness);
}

/// The same in a cluster that was restored, where those that were wiped do not get their old ids: they are enough to
/// be a new cluster, an empty one that is well.
fn reinitialized(harness: &Harness) {
    let keys = writer::acknowledged(harness, "before they started over", 100);
    add_again_until_no_quorum_is_left(harness);
    harness.lab.start_etcd("m2").expect("start etcd");
    let endpoint = format!("https://{}:2379", harness.machine("m2").spec().ip);
    let read = || harness.etcdctl(&["--endpoints", &endpoint, "--command-timeout=2s", "get", "any"]);
    harness.eventually("the wiped members are a cluster", || read().map(drop));

    harness.wait_for_any_cause(&["etcd.state-conflict"]);
    let survivor = format!("member:{}", harness.member("e1"));
    let run = harness.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains(&format!("--source {survivor}")), "{}", run.output());
    assert!(run.steps().is_empty(), "something was done before it was decided: {}", run.output());
    harness.recover_with("two of three re-initialized as a cluster of their own", &["--source", &survivor]);
    assert_eq!(writer::lost(harness, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// Ends with m2 stopped and e1 alone in a cluster of three.
fn add_again_until_no_quorum_is_left(harness: &Harness) {
    let endpoint = format!("https://{}:2379", harness.machine("e1").spec().ip);
    add_again(harness, "m3", &endpoint);
    harness.lab.stop_etcd("m2").expect("stop etcd");
    // The quorum is lost and the operator goes on: the removal does not complete.
    harness.machine("m2").destroy_etcd_data().expect("destroy its data");
    let removed = remove(harness, "m2", &endpoint);
    assert!(removed.is_err(), "a member was removed without a quorum: {removed:?}");
}

fn remove(harness: &Harness, machine: &str, endpoint: &str) -> Result<String, String> {
    let list = harness.etcdctl(&[
        "--endpoints",
        endpoint,
        "--command-timeout=5s",
        "member",
        "list",
        "--consistency=s",
    ])?;
    let peer = format!("https://{}:2380", harness.machine(machine).spec().ip);
    let line = list.lines().find(|line| line.contains(&peer)).ok_or(format!("{machine} is not in {list}"))?;
    let id = line.split(',').next().unwrap_or_default();
    harness.etcdctl(&["--endpoints", endpoint, "--command-timeout=5s", "member", "remove", id])
}

/// Wipes a member and adds it under its name, as its unit file starts it: as a member of a new cluster.
fn add_again(harness: &Harness, machine: &str, endpoint: &str) {
    destroy(harness, machine);
    remove(harness, machine, endpoint).expect("remove the member");
    let peer = format!("--peer-urls=https://{}:2380", harness.machine(machine).spec().ip);
    let add =
        || harness.etcdctl(&["--endpoints", endpoint, "member", "add", &harness.member(machine), &peer]);
    // etcd refuses changes of the membership in the first seconds after one.
    harness.eventually("the member is added", || add().map(drop));
    harness.lab.start_etcd(machine).expect("start etcd");
}

fn the_quota_is_exceeded(harness: &Harness) {
    let endpoint = harness.lab.blueprint().etcd_endpoints().remove(0);
    harness.etcd(&endpoint, async |client| {
        // One key over and over: what fills the db can be compacted away.
        let value = vec![b'x'; 1 << 20];
        let mut written = 0;
        while client.put("/lab/ballast", value.clone(), 0).await.is_ok() {
            written += 1;
            assert!(written < 1000, "the quota is never reached");
        }
        client.put("/lab/ballast", "small", 0).await.expect_err("the alarm is not raised");
    });
    harness.wait_for_causes(&["etcd.nospace"]);
    harness.recover("the quota used up");
    writer::acknowledged(harness, "after the quota", 5);
}
