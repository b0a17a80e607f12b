//! Members that lose their data, their disk, or their place in the cluster.

use lab::machines::{Layout, Topology};

use crate::scene::Scene;
use crate::{Scenario, writer};

pub const SCENARIOS: &[Scenario] = &[
    ("all_data_is_destroyed", Topology::Full, Layout::Systemd, all_data_is_destroyed),
    ("dbs_are_damaged_and_logs_are_whole", Topology::Full, Layout::Systemd, dbs_are_damaged),
    ("one_member_is_destroyed", Topology::Full, Layout::Systemd, one_member_is_destroyed),
    ("a_member_is_added_again_until_none_is_left", Topology::Full, Layout::Systemd, added_again),
    ("the_quota_is_used_up", Topology::Full, Layout::Systemd, the_quota_is_used_up),
];

pub const STATIC_PODS: &[Scenario] =
    &[("one_member_is_destroyed", Topology::Full, Layout::StaticPods, one_member_is_destroyed)];

fn destroy(scene: &Scene, machine: &str) {
    scene.lab.stop_etcd(machine).expect("stop etcd");
    scene.machine(machine).destroy_etcd_data().expect("destroy its data");
}

fn all_data_is_destroyed(scene: &Scene) {
    let kept = writer::acknowledged(scene, "before the snapshot", 20);
    scene.snapshot();
    let newer = writer::acknowledged(scene, "lost with the data", 20);
    scene.etcd_machines().iter().for_each(|machine| destroy(scene, machine));
    let run = scene.recover("all three data dirs destroyed");
    assert!(run.stdout.contains("snapshot.db"), "{}", run.said());
    assert!(run.stdout.contains("loses every write after it was taken"), "{}", run.said());
    assert_eq!(writer::lost(scene, &kept), Vec::<String>::new());
    assert_eq!(writer::lost(scene, &newer).len(), newer.len());
}

/// The snapshot is older than the logs: what was acknowledged since is in them.
fn dbs_are_damaged(scene: &Scene) {
    let mut keys = writer::acknowledged(scene, "before the snapshot that has no log", 20);
    scene.snapshot();
    keys.extend(writer::acknowledged(scene, "in the logs alone", 40));
    for machine in scene.etcd_machines() {
        scene.lab.damage_etcd(&machine).expect("damage its db");
    }
    scene.wait_for_a_cause_of(&["etcd.quorum-lost"]);
    let plan = scene.lifeboat(&["recover", "plan"]).expect(3);
    // On top of the snapshot, or by itself where it begins with the cluster.
    assert!(plan.stdout.contains("'s log to "), "{}", plan.said());
    let run = scene.recover("all three dbs damaged, and the logs whole");
    assert!(run.stdout.contains("loses nothing that is known"), "{}", run.said());
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// The member's process finds its data gone, starts over, and the others go on: a client that writes all the
/// while sees nothing but an election.
fn one_member_is_destroyed(scene: &Scene) {
    let others: Vec<String> = (scene.lab.blueprint().machines.iter())
        .filter(|machine| scene.etcd_machines().contains(&machine.name) && machine.name != "m3")
        .map(|machine| format!("https://{}:2379", machine.ip))
        .collect();
    let account = writer::during(scene, &others, || {
        destroy(scene, "m3");
        scene.lab.start_etcd("m3").expect("start etcd");
        // With the ids it had, it ends at once, over and over; in a cluster that was restored it waits in one of its own.
        scene.wait_for_a_cause_of(&["etcd.member.corrupt", "etcd.member.foreign"]);
        scene.recover("one member destroyed");
    });
    eprintln!(
        "--- {} writes acknowledged meanwhile, the slowest after {:.2} s",
        account.acknowledged.len(),
        account.slowest.as_secs_f64()
    );
    assert_eq!(account.failed, Vec::<String>::new(), "writes failed while the quorum held");
    assert_eq!(writer::lost(scene, &account.acknowledged), Vec::<String>::new());
    let list = scene.etcdctl(&["--endpoints", &others.join(","), "member", "list"]).expect("member list");
    assert_eq!(
        list.lines().filter(|line| line.contains("started") && line.ends_with("false")).count(),
        3,
        "{list}"
    );
}

/// The incident's sixth step: wiped, removed and added under its old name, while another member is down; then the
/// same with that one, until no member has a quorum.
fn added_again(scene: &Scene) {
    scene.snapshot();
    let keys = writer::acknowledged(scene, "before they were added again", 100);
    add_again_until_no_quorum_is_left(scene);
    let run = scene.recover("members removed and added again until none had a quorum");
    assert!(run.stdout.contains(&format!("member:{}", scene.member("e1"))), "{}", run.said());
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new(), "acknowledged writes are lost");
    reinitialized(scene);
}

/// The same in a cluster that was restored, where those that were wiped do not get their old ids: they are enough to be a
/// new cluster, an empty one that is well.
fn reinitialized(scene: &Scene) {
    let keys = writer::acknowledged(scene, "before they started over", 100);
    add_again_until_no_quorum_is_left(scene);
    scene.lab.start_etcd("m2").expect("start etcd");
    let endpoint = format!("https://{}:2379", scene.machine("m2").spec().ip);
    let read = || scene.etcdctl(&["--endpoints", &endpoint, "--command-timeout=2s", "get", "any"]);
    scene.eventually("the wiped members are a cluster", || read().map(drop));

    scene.wait_for_a_cause_of(&["etcd.state-conflict"]);
    let survivor = format!("member:{}", scene.member("e1"));
    let run = scene.lifeboat(&["recover", "--yes"]).expect(3);
    assert!(run.stdout.contains(&format!("--source {survivor}")), "{}", run.said());
    assert!(run.steps().is_empty(), "something was done before it was decided: {}", run.said());
    scene.recover_with("two of three re-initialized as a cluster of their own", &["--source", &survivor]);
    assert_eq!(writer::lost(scene, &keys), Vec::<String>::new(), "acknowledged writes are lost");
}

/// Ends with m2 stopped and e1 alone in a cluster of three.
fn add_again_until_no_quorum_is_left(scene: &Scene) {
    let endpoint = format!("https://{}:2379", scene.machine("e1").spec().ip);
    add_again(scene, "m3", &endpoint);
    scene.lab.stop_etcd("m2").expect("stop etcd");
    // Nobody has a quorum any more, and the operator goes on: the removal does not come to an end.
    scene.machine("m2").destroy_etcd_data().expect("destroy its data");
    let removed = remove(scene, "m2", &endpoint);
    assert!(removed.is_err(), "a member was removed without a quorum: {removed:?}");
}

fn remove(scene: &Scene, machine: &str, endpoint: &str) -> Result<String, String> {
    let list = scene.etcdctl(&[
        "--endpoints",
        endpoint,
        "--command-timeout=5s",
        "member",
        "list",
        "--consistency=s",
    ])?;
    let peer = format!("https://{}:2380", scene.machine(machine).spec().ip);
    let line = list.lines().find(|line| line.contains(&peer)).ok_or(format!("{machine} is not in {list}"))?;
    let id = line.split(',').next().unwrap_or_default();
    scene.etcdctl(&["--endpoints", endpoint, "--command-timeout=5s", "member", "remove", id])
}

/// Wipes a member and adds it under its name, as its unit file starts it: as a member of a new cluster.
fn add_again(scene: &Scene, machine: &str, endpoint: &str) {
    destroy(scene, machine);
    remove(scene, machine, endpoint).expect("remove the member");
    let peer = format!("--peer-urls=https://{}:2380", scene.machine(machine).spec().ip);
    let add = || scene.etcdctl(&["--endpoints", endpoint, "member", "add", &scene.member(machine), &peer]);
    // etcd refuses changes of the membership in the first seconds after one.
    scene.eventually("the member is added", || add().map(drop));
    scene.lab.start_etcd(machine).expect("start etcd");
}

fn the_quota_is_used_up(scene: &Scene) {
    let endpoint = scene.lab.blueprint().etcd_endpoints().remove(0);
    scene.etcd(&endpoint, async |client| {
        // One key over and over: what fills the db can be compacted away.
        let value = vec![b'x'; 1 << 20];
        let mut written = 0;
        while client.put("/lab/ballast", value.clone(), 0).await.is_ok() {
            written += 1;
            assert!(written < 1000, "the quota is never reached");
        }
        client.put("/lab/ballast", "small", 0).await.expect_err("the alarm is not raised");
    });
    scene.wait_for_causes(&["etcd.nospace"]);
    scene.recover("the quota used up");
    writer::acknowledged(scene, "after the quota", 5);
}
