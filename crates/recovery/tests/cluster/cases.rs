//! The ways a cluster breaks, one name each.

use lifeboat_recovery::facts::*;

use super::*;

/// Every case with its facts.
pub fn all() -> Cases {
    let cases = [
        ("healthy", Builder::healthy()),
        ("incident", incident()),
        ("incident-without-cloud", incident().without_cloud()),
        ("one-nic-gone-and-one-corrupt", one_nic_gone_and_one_corrupt()),
        ("nic-taken", nic_taken()),
        ("nic-changed", nic_changed()),
        ("vm-stopped", vm_state(Some("Stopped"))),
        ("vm-missing", vm_state(None)),
        ("cloud-unreachable", cloud_unreachable()),
        ("host-denied", host_denied()),
        ("host-key-changed", host_key_changed()),
        ("wrong-machine", wrong_machine()),
        ("no-machine-id", no_machine_id()),
        ("other-architecture", other_architecture()),
        ("disk-full", disk_full()),
        ("disk-read-only", disk_read_only()),
        ("clock-off", clock_off(&["m2"])),
        ("our-clock-off", clock_off(&["m1", "m2", "m3", "e1", "nfs", "n1", "n2"])),
        ("fenced", fenced()),
        ("unit-disabled", disabled()),
        ("operation-pending", pending()),
        ("leftovers", leftovers()),
        ("two-stopped", two_stopped()),
        ("two-stopped-and-a-scheduler", two_stopped().stopped("m1", "kube-scheduler.service", "failed")),
        ("two-corrupt", two_corrupt()),
        ("all-data-gone", all_data_gone()),
        ("readded-member", readded_member()),
        ("no-quorum-and-wrong-machine", no_quorum_and_wrong_machine()),
        ("members-apart", Builder::healthy().etcd_lost()),
        ("member-stopped", Builder::healthy().member_stopped("m3", sound("m3", 40_900))),
        ("member-ends-at-once", member_ends_at_once()),
        ("member-destroyed", Builder::healthy().member_stopped("m3", DataDir::Absent)),
        ("member-moved-to-another-data-dir", moved(&["m3"])),
        ("all-moved-to-another-data-dir", moved(MEMBERS).etcd_lost()),
        ("member-on-a-disk-that-is-not-mounted", not_mounted(Builder::healthy(), "m3")),
        ("no-quorum-and-a-disk-that-is-not-mounted", no_quorum_and_not_mounted(DataDir::Absent)),
        ("learner-and-a-voter-destroyed", learner_and_a_voter_destroyed()),
        ("member-destroyed-beside-a-full-disk", no_room("m3")),
        ("all-data-gone-and-one-dangling-link", dangling()),
        ("member-corrupt", Builder::healthy().member_stopped("m3", damaged())),
        ("member-corrupt-behind-a-firewall", corrupt_behind_a_firewall()),
        ("member-silent", Builder::healthy().silent("m3", "no answer within 3 s")),
        ("member-silent-and-needed", member_silent_and_needed()),
        ("member-of-another-cluster", member_of_another_cluster(REVISION - 1000)),
        ("member-of-another-cluster-and-newer", member_of_another_cluster(REVISION + 1000)),
        (
            "member-of-another-cluster-and-newer-and-api-not-ready",
            member_of_another_cluster(REVISION + 1000).api_without_etcd("m1"),
        ),
        ("member-re-initialized", reinitialized(3)),
        ("member-re-initialized-under-its-id", forgotten()),
        ("all-re-initialized", all_reinitialized()),
        ("members-older-than-the-snapshot", older_than_the_snapshot()),
        ("state-lost", state_lost()),
        ("state-rolled-back", rolled_back()),
        ("member-of-another-cluster-and-hanging", reinitialized(90_000)),
        ("member-removed", member_removed()),
        ("member-learner", member_learner()),
        ("member-diverged", diverged(&["m3"])),
        ("members-diverged-undecided", diverged_undecided()),
        ("members-diverged-undecided-beside-a-corrupt-one", diverged_beside_a_corrupt_one()),
        ("corrupt-alarm", corrupt_alarm()),
        ("corrupt-alarm-and-no-leaders", corrupt_alarm_and_no_leaders()),
        ("corrupt-alarm-of-a-removed-member", corrupt_alarm_of_a_removed_member()),
        ("corrupt-alarm-of-no-member", corrupt_alarm_of_no_member(false)),
        ("corrupt-alarm-of-no-member-and-equal-data", corrupt_alarm_of_no_member(true)),
        ("corrupt-alarm-on-a-needed-member", alarm(Builder::healthy(), "CORRUPT", "m3").unreachable("e1")),
        ("corrupt-alarm-beside-an-unlisted-voter", corrupt_beside_an_unlisted_voter()),
        ("nospace", nospace()),
        ("etcd-hidden-from-us", etcd_hidden_from_us()),
        ("all-hidden-from-us", all_hidden_from_us()),
        ("members-hang", members_hang()),
        ("unit-not-found", unit_not_found()),
        ("apiserver-stopped", apiserver_stopped()),
        ("apiserver-cert-expired", cert_expired(&["m1"])),
        ("apiserver-cert-expired-everywhere", cert_expired(CONTROL_PLANE).no_api()),
        ("apiserver-cert-expiring", cert_expiring()),
        ("apiservers-hang", apiservers_hang()),
        ("controller-manager-leaderless", leaderless()),
        ("schedulers-stopped", schedulers_stopped()),
        ("kubelet-down", kubelet_down()),
        ("static-pods-without-kubelet", static_pods_without_kubelet()),
        ("manifest-gone", manifest_gone()),
        ("static-pods-member-destroyed", static_pods_member_destroyed()),
        ("kubelet-hung", kubelet_hung()),
        ("node-missing", node_missing()),
        ("nodes-not-ready", Builder::healthy().node_not_ready("n1").node_not_ready("n2")),
        ("node-silent", node_silent()),
        ("check-failing", Builder::healthy().check_fails()),
        ("api-denied", Builder::healthy().no_api()),
    ];
    cases.into_iter().map(|(name, builder)| (name, builder.0)).collect()
}

fn damaged() -> DataDir {
    DataDir::Damaged(vec!["db page 17: expected a leaf, found page type 0".to_owned()].into())
}

/// The cloud's range is deleted, and with it six NICs.
fn incident() -> Builder {
    let gone = ["m1", "m2", "m3", "e1", "nfs", "n1"];
    let all = gone.iter().fold(Builder::healthy(), |all, host| all.nic_gone(host));
    all.range_gone().no_api().check_fails()
}

/// One is stopped, and a read comes back: the one that does not answer us answers the others.
fn member_silent_and_needed() -> Builder {
    Builder::healthy()
        .member_stopped("e1", sound("e1", REVISION - 20))
        .stopped("e1", ETCD, "dead")
        .silent("m3", "tls: certificate has expired")
}

/// The NIC would give back the quorum; the broken member is a trouble of its own.
fn one_nic_gone_and_one_corrupt() -> Builder {
    Builder::healthy().nic_gone("m3").member_stopped("m2", damaged()).etcd_lost_on(&["m1", "m2"])
}

fn nic_taken() -> Builder {
    let mut all = Builder::healthy().nic_gone("n1").node_not_ready("n1");
    let ip = address("n1");
    let other = CloudNic { vm: "another".into(), l3_network: L3.into(), ip, mac: "fa:00:00:00:00:01".into() };
    value(&mut all.0.cloud.as_mut().unwrap().nics).push(other);
    all
}

fn nic_changed() -> Builder {
    let mut all = Builder::healthy().unreachable("n1").node_not_ready("n1");
    let nics = value(&mut all.0.cloud.as_mut().unwrap().nics);
    nics.iter_mut().find(|nic| nic.vm == vm("n1")).unwrap().mac = "fa:00:00:00:00:02".into();
    all
}

fn vm_state(state: Option<&str>) -> Builder {
    let mut all = Builder::healthy().unreachable("m3");
    let vms = value(&mut all.0.cloud.as_mut().unwrap().vms);
    match state {
        Some(state) => vms.iter_mut().find(|known| known.uuid == vm("m3")).unwrap().state = state.into(),
        None => vms.retain(|known| known.uuid != vm("m3")),
    }
    if state.is_none() {
        value(&mut all.0.cloud.as_mut().unwrap().nics).retain(|nic| nic.vm != vm("m3"));
    }
    all
}

fn cloud_unreachable() -> Builder {
    let mut all = Builder::healthy();
    let cloud = all.0.cloud.as_mut().unwrap();
    forget(&mut cloud.nics, "no answer within 4 s");
    forget(&mut cloud.vms, "no answer within 4 s");
    forget(&mut cloud.ip_ranges, "no answer within 4 s");
    all
}

fn host_denied() -> Builder {
    Builder::healthy().no_login("m2", &Login::Denied("Permission denied (publickey)".into()))
}

/// Whatever else is seen of the machine is not its own.
fn host_key_changed() -> Builder {
    let why = "REMOTE HOST IDENTIFICATION HAS CHANGED";
    Builder::healthy()
        .no_login("m3", &Login::HostKeyChanged(why.into()))
        .silent("m3", "connect: Connection refused")
        .api_down("m3", "connect: Connection refused")
}

/// Another machine has the address: it has no etcd, no API server, and its own full disk.
fn wrong_machine() -> Builder {
    let mut all = Builder::healthy()
        .stopped("m3", ETCD, "not-found")
        .stopped("m3", APISERVER, "not-found")
        .member_stopped("m3", DataDir::Absent)
        .api_down("m3", "connect: Connection refused");
    *value(&mut all.host("m3").machine_id) = "c0ffee00c0ffee00c0ffee00c0ffee00".into();
    root(&mut all, "m3").available = 0;
    all
}

fn no_machine_id() -> Builder {
    let mut all = Builder::healthy();
    for host in ["m2", "n1"] {
        all.0.inventory.hosts.get_mut(host).unwrap().machine_id = None;
    }
    all
}

/// n1 has no etcd member, so its architecture does not matter.
fn other_architecture() -> Builder {
    let mut all = Builder::healthy();
    all.0.platform = "Linux x86_64".into();
    for (host, platform) in [("m1", "Linux x86_64"), ("m2", "Linux aarch64"), ("n1", "Linux aarch64")] {
        all.host(host).platform = Some(known(&format!("ssh {host}: uname -sm"), platform.into()));
    }
    all
}

fn root<'a>(all: &'a mut Builder, host: &str) -> &'a mut Disk {
    value(&mut all.host(host).disks).get_mut(std::path::Path::new("/")).unwrap()
}

/// etcd cannot write its log and stops, over and over; the API server cannot write its audit log.
fn disk_full() -> Builder {
    let mut all = Builder::healthy()
        .member_stopped("m2", sound("m2", REVISION - 20))
        .stopped("m2", ETCD, "auto-restart")
        .stopped("m2", APISERVER, "auto-restart")
        .api_down("m2", "connect: Connection refused");
    all.service("m2", ETCD).restarts = 214;
    root(&mut all, "m2").available = 0;
    all
}

fn disk_read_only() -> Builder {
    let mut all = Builder::healthy().node_not_ready("n2").stopped("n2", "kubelet.service", "auto-restart");
    root(&mut all, "n2").read_only = true;
    all
}

fn clock_off(hosts: &[&str]) -> Builder {
    let mut all = Builder::healthy();
    hosts.iter().for_each(|host| *value(&mut all.host(host).clock_offset) = -3600.4);
    // By a clock an hour back, the lease looks as old.
    value(&mut all.0.kubernetes.controller_manager).renewed_at = Some(ago(3601));
    all
}

/// A restore that was broken off between its fence and its first start.
fn fenced() -> Builder {
    let mut all = Builder::healthy().no_api();
    for (host, _) in HOSTS.iter().filter(|(host, _)| host.starts_with(['m', 'e'])) {
        let units: Vec<String> = value(&mut all.host(host).services).keys().cloned().collect();
        for unit in units {
            all = all.stopped(host, &unit, "dead");
            all.service(host, &unit).fenced = true;
        }
    }
    let all = MEMBERS.iter().fold(all, |all, member| all.member_stopped(member, DataDir::Absent));
    CONTROL_PLANE.iter().fold(all, |all, host| all.api_down(host, "connect: Connection refused"))
}

/// Started by hand, and never enabled.
fn disabled() -> Builder {
    let mut all = Builder::healthy();
    for unit in [ETCD, APISERVER] {
        all.service("m3", unit).enabled = false;
    }
    all
}

/// State that an ended recovery could not remove, and an old data dir beside the new one.
fn leftovers() -> Builder {
    let mut all = Builder::healthy();
    all.host("m2").leftovers = Leftovers {
        locked: false,
        sent: vec!["/var/lib/lifeboat/20261124-020000-abcd".into()],
        aside: vec!["/var/lib/etcd.lifeboat-20261124-020000-abcd".into()],
    };
    all
}

fn pending() -> Builder {
    let mut all = Builder::healthy();
    all.0.pending_operation = Some(PendingOperation {
        id: "20261124-020000-abcd".into(),
        started: ago(3600),
        last_entry: ago(3500),
        last: "step 4 failed: m3: unreachable".into(),
        journal: ".lifeboat/20261124-020000-abcd/journal.jsonl".into(),
    });
    all
}

/// Two members are merely stopped.
fn two_stopped() -> Builder {
    Builder::healthy()
        .member_stopped("m2", sound("m2", 41_200))
        .member_stopped("m3", sound("m3", 41_190))
        .etcd_lost()
        .check_fails()
}

/// Two data dirs are broken; the survivor has everything and cannot decide alone.
fn two_corrupt() -> Builder {
    Builder::healthy().member_stopped("m2", damaged()).member_stopped("m3", damaged()).etcd_lost()
}

fn all_data_gone() -> Builder {
    MEMBERS.iter().fold(Builder::healthy(), |all, name| all.member_stopped(name, DataDir::Absent)).etcd_lost()
}

/// m3's disk was wiped and it was added again while m2 was down; it never started, and now m2's disk is wiped too.
fn readded_member() -> Builder {
    let mut all = Builder::healthy()
        .member_stopped("m2", DataDir::Absent)
        .member_stopped("m3", DataDir::Absent)
        .stopped("m3", ETCD, "auto-restart")
        .etcd_lost();
    all.service("m3", ETCD).restarts = 57;
    let added = value(&mut all.member("e1").member_list).iter_mut().find(|entry| entry.name == "m3").unwrap();
    added.id = "6d1f00aa22bb33cc".into();
    added.name = String::new();
    all
}

fn no_quorum_and_wrong_machine() -> Builder {
    let mut all = two_corrupt();
    *value(&mut all.host("m1").machine_id) = "c0ffee00c0ffee00c0ffee00c0ffee00".into();
    all
}

fn member_of_another_cluster(revision: i64) -> Builder {
    let mut all = Builder::healthy();
    let member = all.member("m3");
    let status = value(&mut member.status);
    status.cluster_id = "aaaa000011112222".into();
    status.member_id = "bbbb000011112222".into();
    status.revision = revision;
    status.leader = Some(status.member_id.clone());
    let mut alone = value(&mut member.member_list).clone();
    alone.retain(|entry| entry.name == "m3");
    alone[0].id = "bbbb000011112222".into();
    *value(&mut member.member_list) = alone;
    value(&mut member.hash_kv).revision = revision;
    all
}

/// Its disk was wiped, and its unit started it as a member of a new cluster, which waits for the others forever.
fn reinitialized(last_index: u64) -> Builder {
    let log = log_of("aaaa000011112222", "bbbb000011112222", last_index);
    Builder::healthy().member_stopped("m3", DataDir::InUse(Some(log)))
}

/// The same with `--initial-cluster-state=existing`: it has its old id, and nothing that it knew.
fn forgotten() -> Builder {
    let DataDir::Sound(mut state) = sound("m3", 1) else { panic!() };
    (state.last_index, state.last_term, state.keys) = (0, 0, 0);
    Builder::healthy().member_stopped("m3", DataDir::Sound(state))
}

/// All members were wiped, and started over before they were stopped.
fn all_reinitialized() -> Builder {
    let all = MEMBERS.iter().fold(Builder::healthy(), |all, name| {
        let DataDir::Sound(mut state) = sound(name, 1) else { panic!() };
        (state.last_index, state.last_term, state.keys) = (4, 2, 0);
        all.member_stopped(name, DataDir::Sound(state))
    });
    all.etcd_lost()
}

/// What is left is older than the snapshot.
fn older_than_the_snapshot() -> Builder {
    let all = Builder::healthy().member_stopped("e1", sound("e1", 300));
    all.member_stopped("m2", damaged()).member_stopped("m3", damaged()).etcd_lost()
}

/// etcd is well and empty.
fn state_lost() -> Builder {
    let mut all = Builder::healthy();
    value(&mut all.0.kubernetes.nodes).clear();
    all
}

/// Two members started again on emptied data dirs, and hold a quorum over what was written since.
pub fn rolled_back() -> Builder {
    let mut all = Builder::healthy().member_stopped("m3", sound("m3", REVISION));
    for name in ["e1", "m2"] {
        let status = value(&mut all.member(name).status);
        (status.revision, status.raft_index) = (300, 412);
        value(&mut all.member(name).hash_kv).revision = 300;
    }
    all
}

/// The others took m3 out of their list; it does not know yet.
fn member_removed() -> Builder {
    let mut all = Builder::healthy();
    for name in ["e1", "m2"] {
        value(&mut all.member(name).member_list).retain(|entry| entry.name != "m3");
    }
    let removed = all.member("m3");
    value(&mut removed.status).leader = None;
    *value(&mut removed.linearizable) = false;
    all
}

fn member_learner() -> Builder {
    let mut all = Builder::healthy();
    value(&mut all.member("m3").status).learner = true;
    for name in MEMBERS {
        let list = value(&mut all.member(name).member_list);
        list.iter_mut().find(|entry| entry.name == "m3").unwrap().learner = true;
    }
    all
}

fn diverged(members: &[&str]) -> Builder {
    let mut all = Builder::healthy();
    for (number, name) in members.iter().enumerate() {
        value(&mut all.member(name).hash_kv).hash = 0x1000 + number as u32;
    }
    all
}

/// The third member was compacted at another revision, so that its hash can be compared with neither.
fn diverged_undecided() -> Builder {
    let mut all = diverged(&["m3"]);
    value(&mut all.member("e1").hash_kv).compact_revision = 39_000;
    all
}

/// The third member's log may tell which of the two is right.
fn diverged_beside_a_corrupt_one() -> Builder {
    diverged(&["m3"]).member_stopped("e1", damaged())
}

fn alarm(mut all: Builder, kind: &str, by: &str) -> Builder {
    for name in MEMBERS {
        let alarm = Alarm { member_id: member_id(by), kind: kind.into() };
        value(&mut all.member(name).alarms).push(alarm);
    }
    all
}

/// Stopped, with nothing in the data dir that the inventory names: the unit names another one.
fn moved(members: &[&str]) -> Builder {
    members.iter().fold(Builder::healthy(), |all, name| {
        let mut all = all.member_stopped(name, DataDir::Absent);
        let member = all.member(name);
        let storage = value(member.storage.as_mut().unwrap());
        storage.data_dir.kind = PlaceKind::Absent;
        storage.named[0].data_dir = "/data/etcd".into();
        storage.named[0].real = "/data/etcd".into();
        storage.named[0].holds_member = Some(true);
        forget(
            &mut member.data_dir,
            &format!("etcd.service keeps {name}'s data in /data/etcd; the inventory says /var/lib/etcd"),
        );
        all
    })
}

/// Its db is broken, and packets to and from its peer port are dropped.
fn corrupt_behind_a_firewall() -> Builder {
    let mut all = Builder::healthy().member_stopped("m3", damaged());
    let failed = || Reach::Failed("no answer within 2 s".into());
    for (name, others) in [("e1", ["m2", "m3"]), ("m2", ["e1", "m3"]), ("m3", ["e1", "m2"])] {
        let reach = |other: &str| if [name, other].contains(&"m3") { failed() } else { Reach::Connected };
        let peers = others.iter().map(|other| ((*other).to_owned(), reach(other))).collect();
        all.member(name).peers = Some(known(&format!("ssh {name}: TCP connections to peers"), peers));
    }
    all
}

/// Stopped, and what stands where its data dir was is an empty mount point.
fn not_mounted(all: Builder, name: &str) -> Builder {
    let mut all = all.member_stopped(name, DataDir::Absent);
    let member = all.member(name);
    value(member.storage.as_mut().unwrap()).data_dir.kind = PlaceKind::Unmounted("/var/lib/etcd".into());
    forget(
        &mut member.data_dir,
        "/etc/fstab mounts /var/lib/etcd and it is not mounted: mount it, then diagnose again",
    );
    all
}

/// e1 waits for the others: m2's disk is not mounted, and m3 holds this.
pub fn no_quorum_and_not_mounted(of_m3: DataDir) -> Builder {
    not_mounted(Builder::healthy(), "m2").member_stopped("m3", of_m3).etcd_lost()
}

/// A replacement was cut short before the promotion, and then a disk died.
fn learner_and_a_voter_destroyed() -> Builder {
    member_learner().member_stopped("m2", DataDir::Absent).etcd_lost()
}

fn no_room(name: &str) -> Builder {
    let mut all = Builder::healthy().member_stopped(name, DataDir::Absent);
    value(all.member(name).storage.as_mut().unwrap()).data_dir.available = 150_000_000;
    all
}

/// The disk behind a symbolic link is not there.
fn dangling() -> Builder {
    let mut all = all_data_gone();
    let storage = value(all.member("m3").storage.as_mut().unwrap());
    storage.data_dir.kind = PlaceKind::Dangling("/var/lib/etcd".into());
    storage.data_dir.real = "/data/etcd".into();
    storage.named[0].real = "/data/etcd".into();
    let why = "/var/lib/etcd is a symbolic link to /data/etcd, which does not exist";
    forget(&mut all.member("m3").data_dir, why);
    all
}

/// A fourth voter that the inventory does not list, and that never started.
fn corrupt_beside_an_unlisted_voter() -> Builder {
    let mut all = alarm(Builder::healthy(), "CORRUPT", "m3");
    for name in MEMBERS {
        value(&mut all.member(name).member_list).push(MemberEntry {
            id: "8e9e05c52164694d".into(),
            name: String::new(),
            peer_urls: vec!["https://10.123.0.239:2380".into()],
            learner: false,
        });
    }
    all
}

fn corrupt_alarm() -> Builder {
    alarm(diverged(&["m3"]), "CORRUPT", "m3")
}

/// Every member refuses writes: no lease can be renewed. Restarting those that renew them does not help.
fn corrupt_alarm_and_no_leaders() -> Builder {
    let mut all = alarm(Builder::healthy(), "CORRUPT", "m3").unreachable("e1").api_without_etcd("m2");
    value(&mut all.0.kubernetes.controller_manager).renewed_at = Some(ago(600));
    value(&mut all.0.kubernetes.scheduler).renewed_at = Some(ago(600));
    all
}

/// The member was replaced by hand; etcd keeps its alarm.
fn corrupt_alarm_of_no_member(equal: bool) -> Builder {
    let mut all = Builder::healthy();
    for name in MEMBERS {
        value(&mut all.member(name).alarms)
            .push(Alarm { member_id: NO_MEMBER.into(), kind: "CORRUPT".into() });
        if !equal {
            forget(&mut all.member(name).hash_kv, "no answer within 3 s");
        }
    }
    all
}

fn corrupt_alarm_of_a_removed_member() -> Builder {
    let mut all = Builder::healthy();
    for name in MEMBERS {
        let alarm = Alarm { member_id: "8e9e05c52164694d".into(), kind: "CORRUPT".into() };
        value(&mut all.member(name).alarms).push(alarm);
    }
    all
}

/// Controllers lose their leases, since those cannot be written.
fn nospace() -> Builder {
    let mut all = alarm(Builder::healthy(), "NOSPACE", "m2").node_not_ready("n1").node_not_ready("n2");
    value(&mut all.0.kubernetes.controller_manager).renewed_at = Some(ago(600));
    value(&mut all.0.kubernetes.scheduler).renewed_at = Some(ago(600));
    for name in MEMBERS {
        value(&mut all.member(name).status).db_size = 2_147_000_000;
    }
    all
}

/// Our own certificate is refused; the API servers' is not.
fn etcd_hidden_from_us() -> Builder {
    let why = "TLS handshake: certificate required";
    MEMBERS.iter().fold(Builder::healthy(), |all, name| all.silent(name, why))
}

/// Neither our certificate nor our kubeconfig can be used: nothing is known, so nothing must be restarted.
fn all_hidden_from_us() -> Builder {
    let mut all = etcd_hidden_from_us().no_api();
    for name in CONTROL_PLANE {
        let facts = all.control_plane(name);
        forget(&mut facts.livez, "kubeconfig /etc/lifeboat/admin.conf: no such file");
        forget(&mut facts.readyz, "kubeconfig /etc/lifeboat/admin.conf: no such file");
    }
    all
}

/// The API servers miss etcd as we do: it is not us.
fn members_hang() -> Builder {
    let silent = |all: Builder, name: &&str| all.silent(name, "no answer within 3 s");
    MEMBERS.iter().fold(Builder::healthy(), silent).etcd_lost()
}

fn unit_not_found() -> Builder {
    Builder::healthy().member_stopped("m3", sound("m3", 40_900)).stopped("m3", ETCD, "not-found")
}

fn apiserver_stopped() -> Builder {
    Builder::healthy().stopped("m2", APISERVER, "dead").api_down("m2", "connect: Connection refused")
}

/// We verify the certificate, so that we hear nothing of the server; its file can be read over SSH.
fn cert_expired(hosts: &[&str]) -> Builder {
    hosts.iter().fold(Builder::healthy(), |all, name| {
        let mut all = all.api_down(name, "client error (Connect): invalid peer certificate: Expired");
        let certificate = Certificate {
            subject: "CN=kube-apiserver".into(),
            not_before: ago(366 * 86_400),
            not_after: ago(86_400),
        };
        all.control_plane(name).certificate = known(&format!("ssh {name}: apiserver.crt"), certificate);
        all
    })
}

fn cert_expiring() -> Builder {
    let mut all = Builder::healthy();
    value(&mut all.control_plane("m1").certificate).not_after = ago(-12 * 86_400);
    all
}

/// All API servers run and none answers, while etcd is fine.
fn apiservers_hang() -> Builder {
    let all =
        CONTROL_PLANE.iter().fold(Builder::healthy(), |all, name| all.api_down(name, "no answer within 3 s"));
    all.no_api().check_fails()
}

fn leaderless() -> Builder {
    let mut all = Builder::healthy();
    value(&mut all.0.kubernetes.controller_manager).renewed_at = Some(ago(90));
    all
}

fn schedulers_stopped() -> Builder {
    let stop = |all: Builder, name: &&str| all.stopped(name, "kube-scheduler.service", "failed");
    let mut all = CONTROL_PLANE.iter().fold(Builder::healthy(), stop);
    value(&mut all.0.kubernetes.scheduler).renewed_at = Some(ago(400));
    all
}

fn kubelet_down() -> Builder {
    Builder::healthy().stopped("n1", "kubelet.service", "dead").node_not_ready("n1")
}

/// m2 is a node too, and its kubelet runs its control plane: nobody starts again what ends there.
fn static_pods_without_kubelet() -> Builder {
    Builder::healthy()
        .with_static_pods("m2")
        .member_stopped("m2", sound("m2", 41_100))
        .api_down("m2", "connect: Connection refused")
        .pod_stopped("m2", "kube-apiserver", true)
        .stopped("m2", "kubelet.service", "dead")
        .node_not_ready("m2")
}

fn manifest_gone() -> Builder {
    Builder::healthy()
        .with_static_pods("m2")
        .pod_stopped("m2", "kube-apiserver", false)
        .api_down("m2", "connect: Connection refused")
}

/// m2's API server has no etcd but the one that has lost its data.
fn static_pods_member_destroyed() -> Builder {
    Builder::healthy()
        .with_static_pods("m2")
        .member_stopped("m2", DataDir::Absent)
        .pod_stopped("m2", "etcd", true)
        .api_without_etcd("m2")
}

fn kubelet_hung() -> Builder {
    let mut all = Builder::healthy().node_not_ready("n1").check_fails();
    let hung = KubeletHealth { ok: false, detail: "no answer within 2 s".into() };
    *value(all.host("n1").kubelet.as_mut().unwrap()) = hung;
    all
}

/// Its object still says Ready, since nobody has judged it yet.
fn node_silent() -> Builder {
    let mut all = Builder::healthy();
    all.nodes()[1].lease_renewed_at = Some(ago(75));
    all
}

/// A restored etcd does not know n2, whose kubelet goes on renewing its lease.
fn node_missing() -> Builder {
    let mut all = Builder::healthy();
    all.nodes().retain(|node| node.name != "n2");
    *value(&mut all.0.kubernetes.leases_without_node) = vec!["n2".into(), "old-node".into()];
    all
}

/// Its unit is started over and over, and its log says why it ends.
fn member_ends_at_once() -> Builder {
    let mut all =
        Builder::healthy().member_stopped("m3", sound("m3", 40_900)).stopped("m3", ETCD, "auto-restart");
    let line = r#"{"level":"fatal","msg":"discovery failed","error":"listen tcp 10.123.0.233:2380: bind: address already in use"}"#;
    let logs = [(ETCD.to_owned(), vec![line.to_owned()])].into();
    all.host("m3").logs = Some(known("ssh m3: logs", logs));
    all
}
