//! Faults that were injected on the lab's machines and that no scenario names: what is found, and that nothing is done in
//! vain. The facts are recordings, with what is asked today added where it was not asked then.

use std::path::{Path, PathBuf};

use lifeboat_recovery::facts::{Answer, Fact, Facts, Health, NamedDirs, Place, PlaceKind, Program, Storage};
use lifeboat_recovery::finding::{Diagnosis, Finding, FindingId, Remedy, Severity};
use lifeboat_recovery::inventory::MemberSpec;
use lifeboat_recovery::plan::{Action, Plan};
use lifeboat_recovery::planner::{PlanError, PlanOptions, plan};
use lifeboat_recovery::rules::diagnose;

struct Row {
    facts: Facts,
    diagnosis: Diagnosis,
    plan: Result<Plan, PlanError>,
}

/// The data dir of the inventory, as the lab's machines have it, with the member's unit or manifest saying the same.
fn storage(spec: &MemberSpec) -> Storage {
    let place = |path: &Path| Place {
        path: path.into(),
        real: path.into(),
        kind: PlaceKind::Directory,
        is_mount: false,
        below: Vec::new(),
        owner: Some("root:root".into()),
        mode: Some("700".into()),
        bytes: Some(200_000_000),
        db_bytes: Some(20_000_000),
        mount: "/".into(),
        available: 20_000_000_000,
    };
    let (data_dir, real) = (spec.data_dir.clone(), spec.data_dir.clone());
    Storage {
        data_dir: place(&spec.data_dir),
        wal_dir: None,
        scratch: place(Path::new("/var/lib/lifeboat")),
        named: vec![NamedDirs { by: spec.service.key(), data_dir, real, wal_dir: None, holds_member: None }],
        unread: Vec::new(),
        user: None,
        config_file: None,
        program: Some(Program {
            path: "/usr/local/bin/etcd".into(),
            version: "etcd Version: 3.6.16".into(),
            unknown_flag: None,
        }),
    }
}

impl Row {
    fn of(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/facts/chaos-{name}.json"));
        let mut facts: Facts = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
        let specs = facts.inventory.etcd.members.clone();
        for (name, member) in &mut facts.members {
            member.storage.get_or_insert_with(|| Fact::value("not recorded then", storage(&specs[name])));
        }
        Self::planned(facts)
    }

    fn planned(facts: Facts) -> Self {
        let diagnosis = diagnose(&facts);
        let options = PlanOptions { id: "20261129-100000-abcd".into(), ..PlanOptions::default() };
        let plan = plan(&facts, &diagnosis, &options);
        Self { facts, diagnosis, plan }
    }

    fn causes(&self) -> Vec<&str> {
        self.diagnosis.causes.iter().map(|cause| cause.id.as_str()).collect()
    }

    fn find(&self, id: FindingId) -> &Finding {
        self.diagnosis.all().into_iter().find(|finding| finding.id == id).expect("the finding")
    }

    fn titles(&self) -> Vec<&str> {
        self.plan.as_ref().unwrap().steps.iter().map(|step| step.title.as_str()).collect()
    }

    /// All that people read of a finding.
    fn said(&self, id: FindingId) -> String {
        let finding = self.find(id);
        let evidence = finding.evidence.iter().map(|evidence| evidence.seen.clone());
        let remedies = finding.remedies.iter().map(ToString::to_string);
        let all = [finding.summary.clone()].into_iter().chain(evidence).chain(remedies);
        all.collect::<Vec<_>>().join("\n")
    }

    fn says(&self, id: FindingId, words: &[&str]) {
        let said = self.said(id);
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not in:\n{said}"));
    }
}

/// Nothing that reads an empty or foreign state is started, restarted, replaced or rebooted.
#[test]
fn an_etcd_that_lost_the_state_is_its_own_witness_and_nothing_is_touched() {
    for name in ["10b", "10b3", "10b-wiped", "10b-foreign"] {
        let row = Row::of(name);
        assert_eq!(row.causes()[0], "etcd.state-lost", "{name}");
        assert_eq!(row.find(FindingId::EtcdStateLost).severity, Severity::Critical);
        for finding in row.diagnosis.all() {
            let by_hand = finding.remedies.iter().all(|remedy| remedy.by_hand().is_some());
            assert!(by_hand, "{name}: {:?}", finding.remedies);
        }
        assert_eq!(row.titles(), Vec::<&str>::new(), "{name}");
    }
    let row = Row::of("10b");
    row.says(
        FindingId::EtcdStateLost,
        &[
            "etcd serves revision 55 and has no nodes",
            "the API servers show 2 nodes from their cache: n1 and n2",
            "runs on /var/lib/etcd-new",
            "/var/lib/etcd on m2 is sound at revision 1000004276, 2 nodes",
            "correct --data-dir",
        ],
    );
    Row::of("10b-foreign")
        .says(FindingId::EtcdStateLost, &["another cluster's state: its nodes are a1, a2 and a3"]);
}

#[test]
fn a_kubelet_that_answers_is_no_reason_to_reboot() {
    let row = Row::of("5b");
    assert_eq!(row.causes(), ["node.not-ready"]);
    row.says(FindingId::NodeNotReady, &["journalctl -u kubelet"]);
    let row = Row::of("5b-certificate");
    assert_eq!(row.causes(), ["node.kubelet-cert-expired"]);
    row.says(FindingId::NodeKubeletCertExpired, &["refuses n1's kubelet", "expired on 2026-11-29"]);
    assert_eq!(row.titles(), Vec::<&str>::new());
}

#[test]
fn two_nodes_cut_off_in_two_ways_are_two_causes() {
    let row = Row::of("balancer");
    assert_eq!(row.causes(), ["node.api-unreachable", "node.api-unreachable"]);
    let summaries: Vec<&str> = row.diagnosis.causes.iter().map(|cause| cause.summary.as_str()).collect();
    assert!(summaries[0].contains("n1") && summaries[0].contains("127.0.0.1:6443: Connection refused"));
    assert!(summaries[1].contains("n2") && summaries[1].contains("no answer within 2 s"));
    assert_eq!(row.titles(), Vec::<&str>::new());
}

#[test]
fn a_log_that_ends_before_its_db_is_damage_and_the_member_is_replaced() {
    let row = Row::of("9b2");
    assert_eq!(row.causes(), ["etcd.member.corrupt"]);
    row.says(FindingId::EtcdMemberCorrupt, &["ends at entry 119, before its db at 4386"]);
    let replaces =
        |plan: &Plan| plan.steps.iter().any(|step| matches!(step.action, Action::AddLearner { .. }));
    assert!(replaces(row.plan.as_ref().unwrap()));
}

#[test]
fn a_member_that_runs_on_another_data_dir_is_not_started() {
    let row = Row::of("10a");
    row.says(
        FindingId::EtcdMemberDown,
        &["runs on /var/lib/x, the inventory says /var/lib/etcd", "--data-dir"],
    );
    assert_eq!(row.titles(), Vec::<&str>::new());
}

#[test]
fn a_machine_without_units_and_data_is_named_and_nothing_is_begun_that_cannot_end() {
    let row = Row::of("14");
    assert_eq!(row.causes(), ["host.reset"]);
    row.says(FindingId::HostReset, &["etcd.service", "kube-scheduler.service", "/var/lib/etcd"]);
    assert_eq!(row.titles(), Vec::<&str>::new());
}

#[test]
fn members_that_the_inventory_does_not_have_are_found() {
    let row = Row::of("19b");
    assert_eq!(row.causes(), ["etcd.member.unlisted"]);
    row.says(FindingId::EtcdMemberUnlisted, &["learner", "https://10.123.0.241:2380", "never started"]);
    let mut facts = row.facts;
    for member in facts.members.values_mut() {
        if let Answer::Value(list) = &mut member.member_list.answer {
            list.iter_mut().for_each(|entry| entry.learner = false);
        }
    }
    let diagnosis = diagnose(&facts);
    let summary = &diagnosis.causes[0].summary;
    assert!(summary.contains("4 voters, the inventory has 3") && summary.contains("3 of 4"), "{summary}");
    assert_eq!(diagnosis.causes[0].severity, Severity::Error);
}

#[test]
fn a_member_that_its_peers_do_not_reach_is_not_restarted() {
    let row = Row::of("1a");
    row.says(FindingId::EtcdMemberDown, &["https://10.123.0.232:2380", "from the other members' machines"]);
    assert_eq!(row.titles(), Vec::<&str>::new());
    let row = Row::of("1b");
    row.says(FindingId::EtcdQuorumLost, &["e1: no TCP connection to the peer address of"]);
    assert!(!row.titles().iter().any(|title| title.contains("etcd.service")), "{:?}", row.titles());
}

/// API servers whose requests go to a member that is cut off are not ready, and a restart would only make them fail at their
/// start; once the member is stopped, they ask the others.
#[test]
fn an_api_server_that_waits_for_a_member_is_not_restarted() {
    let mut facts = Row::of("1a").facts;
    for host in ["m1", "m3"] {
        let failed = Health { ok: false, detail: "etcd failed".into() };
        facts.control_plane.get_mut(host).unwrap().readyz.answer = Answer::Value(failed);
    }
    let row = Row::planned(facts);
    assert_eq!(row.causes(), ["etcd.member.down"]);
    assert_eq!(row.find(FindingId::ApiserverNotReady).remedies, []);
    assert_eq!(row.titles(), Vec::<&str>::new());

    let mut facts = row.facts;
    let service = facts.inventory.etcd.members["etcd-10.123.0.232"].service.key();
    let Answer::Value(services) = &mut facts.hosts.get_mut("m2").unwrap().services.answer else { panic!() };
    services.get_mut(&service).unwrap().active = "inactive".into();
    assert!(Row::planned(facts).causes().contains(&"apiserver.not-ready"));
}

/// What answered in the same look does not stand still.
#[test]
fn a_machine_that_is_only_out_of_reach_over_ssh_stops_nothing() {
    let row = Row::of("6a");
    assert_eq!(row.causes(), ["host.unreachable"]);
    row.says(FindingId::HostUnreachable, &["over SSH only", "its API server is ready", "sshd"]);
    assert_eq!(row.find(FindingId::HostUnreachable).blocks, Vec::<String>::new());
    let row = Row::of("6b");
    assert_eq!(row.causes(), ["host.denied"]);
    let blocks = &row.find(FindingId::HostDenied).blocks;
    assert!(!blocks.iter().any(|block| block.contains("etcd") || block.contains("API")), "{blocks:?}");
}

#[test]
fn a_unit_that_cannot_start_is_not_started() {
    for (name, words) in [("3c", "cannot load kube-apiserver.service"), ("3d", "is masked")] {
        let row = Row::of(name);
        assert_eq!(row.causes(), ["apiserver.down"], "{name}");
        row.says(FindingId::ApiserverDown, &[words]);
        assert_eq!(row.titles(), Vec::<&str>::new(), "{name}");
    }
}

/// Kubelets that were restarted have registered in the empty state: it has the nodes, and another UID.
#[test]
fn an_empty_state_in_which_nodes_have_registered_is_told_by_its_uid() {
    let mut facts = Row::of("10b").facts;
    facts.inventory.kubernetes.uid = Some("7f3a5a0e-2c0c-4f55-9e4e-0d5d2c1c8f11".into());
    for member in facts.members.values_mut() {
        let Some(Answer::Value(identity)) = member.identity.as_mut().map(|fact| &mut fact.answer) else {
            panic!()
        };
        ["n1", "n2"].iter().for_each(|node| identity.add_node(node.as_bytes()));
    }
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.causes[0].id, FindingId::EtcdStateLost);
    assert!(
        diagnosis.causes[0].summary.contains("the inventory says 7f3a5a0e"),
        "{}",
        diagnosis.causes[0].summary
    );
}

/// Cleared, the alarm would come back with the next writes.
#[test]
fn a_quota_smaller_than_the_others_is_raised_and_not_cleared_away() {
    let mut facts = Row::of("17a").facts;
    for (name, member) in &mut facts.members {
        let Answer::Value(status) = &mut member.status.answer else { panic!() };
        status.quota = Some(if name.ends_with("233") { 1_048_576 } else { 268_435_456 });
    }
    let diagnosis = diagnose(&facts);
    let said: String = diagnosis.causes[0].remedies.iter().map(ToString::to_string).collect();
    assert!(said.contains("quota of 1 MB, others have 268 MB") && said.contains("on m3"), "{said}");
    assert!(
        !diagnosis.causes[0].remedies.iter().any(|it| matches!(it, Remedy::ClearNospace { .. })),
        "{said}"
    );
}

/// "Nothing found" is not "all is well".
#[test]
fn every_diagnosis_says_what_was_not_examined() {
    let row = Row::of("8");
    assert!(row.diagnosis.not_examined.iter().any(|what| what.contains("webhooks")));
    assert!(row.diagnosis.examined.iter().any(|what| what == "3 etcd members"));
}

#[test]
fn every_row_is_planned_as_recorded() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/facts");
    let names = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names.filter(|name| name.starts_with("chaos-")) {
        let case = name.trim_end_matches(".json");
        let row = Row::of(case.trim_start_matches("chaos-"));
        let text = match &row.plan {
            Err(error) => format!("no plan: {error}\n"),
            Ok(plan) => {
                let steps = plan.steps.iter().map(|step| format!("{}. {}\n", step.number, step.title));
                let manual = plan.manual.iter().map(|manual| format!("for people: {manual}\n"));
                steps.chain(manual).collect()
            }
        };
        insta::with_settings!({ snapshot_path => "plans", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(case, text);
        });
    }
}
