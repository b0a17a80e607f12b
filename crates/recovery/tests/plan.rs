//! What is planned from the recorded facts, and what no plan may ever do.

mod cluster;
mod recorded;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use lifeboat_etcd::KubernetesIdentity;
use lifeboat_recovery::facts::{
    Alarm, Answer, Damage, DataDir, DataDirState, Facts, Leftovers, LogState, Login, NO_MEMBER, PodProcess,
    Reach, Readable, Snapshot, SnapshotIdentity, Snapshots, Storage, ToldBy, Uncommitted,
};
use lifeboat_recovery::finding::{Finding, FindingId};
use lifeboat_recovery::journal::{Entry, Event};
use lifeboat_recovery::plan::{Action, Guard, HostService, Needs, Plan, StateSource, Step};
use lifeboat_recovery::planner::{PlanError, PlanOptions, Tried, drift, plan};
use lifeboat_recovery::rules::diagnose;

use cluster::cases;

fn backups() -> Vec<Snapshot> {
    let snapshot = |name: &str, revision| Snapshot {
        path: PathBuf::from("/backups").join(name),
        written: Some("2026-11-09T03:00:00Z".parse().unwrap()),
        size: 80 << 20,
        revision,
        raft_index: None,
        identity: None,
    };
    vec![
        snapshot("half-a-month-old.db", Ok(400)),
        snapshot("torn.db", Err("damaged: the file is shorter than its meta page says".into())),
    ]
}

fn options() -> PlanOptions {
    PlanOptions { id: "20261124-030000-abcd".into(), ..PlanOptions::default() }
}

fn planned_with(facts: &Facts, snapshots: Vec<Snapshot>, options: &PlanOptions) -> Result<Plan, PlanError> {
    // Recordings have the snapshots that were there.
    let snapshots = facts.snapshots.clone().unwrap_or(Snapshots { read: snapshots, ..Snapshots::default() });
    let facts = Facts { snapshots: Some(snapshots), ..facts.clone() };
    plan(&facts, &diagnose(&facts), options)
}

fn planned_as(facts: &Facts, options: &PlanOptions) -> Result<Plan, PlanError> {
    planned_with(facts, backups(), options)
}

fn planned(facts: &Facts) -> Result<Plan, PlanError> {
    planned_as(facts, &options())
}

/// The same, by a person who has named the state to restore.
fn planned_from(facts: &Facts, source: StateSource) -> Result<Plan, PlanError> {
    planned_as(facts, &PlanOptions { source: Some(source), ..options() })
}

fn snapshot() -> StateSource {
    StateSource::Snapshot("/backups/half-a-month-old.db".into())
}

/// Machines whose services, data or power a step changes.
fn touched(facts: &Facts, action: &Action) -> BTreeSet<String> {
    let machine =
        |member: &String| -> BTreeSet<String> { [facts.inventory.etcd.members[member].host.clone()].into() };
    let services = |services: &[HostService]| services.iter().map(|service| service.host.clone()).collect();
    match action {
        Action::Fence { services: all }
        | Action::Release { services: all }
        | Action::Start { services: all }
        | Action::Enable { services: all }
        | Action::Restart { services: all } => services(all),
        Action::ReleaseLeases { candidates } => services(candidates),
        Action::RecoverNodes { hosts }
        | Action::Distribute { hosts, .. }
        | Action::ConfirmState { hosts, .. }
        | Action::CleanUp { hosts } => hosts.iter().cloned().collect(),
        Action::AttachNic { host, .. } | Action::StartVm { host, .. } | Action::RebootNode { host } => {
            [host.clone()].into()
        }
        Action::MoveAside { member, .. }
        | Action::RestoreMember { member, .. }
        | Action::AddLearner { member, .. }
        | Action::PromoteLearner { member } => machine(member),
        Action::ClearNospace { members } => members.iter().flat_map(machine).collect(),
        Action::Preflight
        | Action::CreateIpRange { .. }
        | Action::WaitForHosts { .. }
        | Action::Stabilize { .. }
        | Action::WaitForEtcd { .. }
        | Action::RemoveMember { .. }
        | Action::DisarmCorrupt { .. }
        | Action::WaitForApiservers { .. }
        | Action::WaitForLeaders
        | Action::WaitForChecks { .. } => BTreeSet::new(),
    }
}

#[test]
fn every_case_is_planned_as_recorded() {
    // What lab's chaos rows are completed with is in tests/chaos.rs.
    for (case, facts) in recorded::all().into_iter().filter(|(case, _)| !case.starts_with("chaos-")) {
        insta::with_settings!({ snapshot_path => "plans", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(case, text(&planned(&facts)));
        });
    }
}

fn text(plan: &Result<Plan, PlanError>) -> String {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return format!("no plan: {error}\n"),
    };
    let mut out = String::new();
    for candidate in &plan.candidates {
        let mark = if candidate.chosen { "->" } else { "  " };
        let revision = candidate.revision.map_or("-".into(), |revision| revision.to_string());
        writeln!(out, "{mark} {} at {revision}: {}", candidate.source, candidate.remark).unwrap();
    }
    for step in &plan.steps {
        let until = step.holds_until.map_or(String::new(), |until| format!(", stands until {until}"));
        let back = if step.irreversible { ", cannot be taken back" } else { "" };
        writeln!(out, "{}. {}{until}{back}", step.number, step.title).unwrap();
    }
    plan.manual.iter().for_each(|manual| writeln!(out, "for people: {manual}").unwrap());
    if out.is_empty() { "nothing to do\n".into() } else { out }
}

/// A restored cluster never starts beside an old member or an API server that remembers the old one.
#[test]
fn everything_is_fenced_before_a_restore_and_etcd_released_before_its_clients() {
    let mut restores = 0;
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let Some(first) = plan.steps.iter().find(|s| matches!(s.action, Action::RestoreMember { .. })) else {
            continue;
        };
        restores += 1;
        let inventory = &facts.inventory;
        let mut fenced = BTreeSet::new();
        for step in plan.steps.iter().take_while(|step| step.number < first.number) {
            if let Action::Fence { services } = &step.action {
                fenced.extend(services.iter().cloned());
                assert!(
                    step.holds_until.is_some_and(|until| until > first.number),
                    "{case}: lifted too early"
                );
            }
        }
        for member in inventory.etcd.members.values() {
            let service = HostService { host: member.host.clone(), service: member.service.clone() };
            assert!(fenced.contains(&service), "{case}: {service:?} could start");
        }
        for (host, spec) in &inventory.kubernetes.control_plane {
            for service in [&spec.apiserver, &spec.controller_manager, &spec.scheduler] {
                let service = HostService { host: host.clone(), service: service.clone() };
                assert!(fenced.contains(&service), "{case}: {service:?} could start");
            }
        }
        let tokens: BTreeSet<&String> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::RestoreMember { cluster, .. } => Some(&cluster.token),
                _ => None,
            })
            .collect();
        assert_eq!(tokens.len(), 1, "{case}: members of different clusters");
        let moved = |name: &String| {
            plan.steps.iter().any(|step| {
                step.number < first.number
                    && matches!(&step.action, Action::MoveAside { member, .. } if member == name)
            })
        };
        assert!(inventory.etcd.members.keys().all(moved), "{case}: a data dir is in the way");
    }
    assert!(restores >= 2, "the cases have lost their restores");
}

/// The one that survived holds what the old snapshot lacks.
#[test]
fn a_surviving_member_goes_before_any_snapshot() {
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let survivor = |source: &StateSource| matches!(source, StateSource::Member(_));
        let sound = plan.candidates.iter().any(|c| survivor(&c.source) && c.revision.is_some());
        if let Some(chosen) = plan.candidates.iter().find(|candidate| candidate.chosen) {
            assert_eq!(survivor(&chosen.source), sound, "{case}: {chosen:?}");
        }
    }
}

/// A member that starts again without a quorum waits for the others and answers nobody, with all it ever acknowledged.
#[test]
fn a_member_that_waits_for_a_quorum_is_not_passed_over_for_a_snapshot() {
    let lost = |last_index| {
        let log = cluster::log_of("c", &cluster::member_id("e1"), last_index);
        let damaged =
            || DataDir::Damaged(vec!["page 81: its header says page 12297829382473034410".to_owned()].into());
        let all = cluster::Builder::healthy().member_stopped("e1", DataDir::InUse(Some(log)));
        all.member_stopped("m2", damaged()).member_stopped("m3", damaged()).etcd_lost().0
    };
    let refused = planned(&lost(1000));
    let Err(PlanError::Unread { member, host, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!((member.as_str(), host.as_str()), ("e1", "e1"));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("stop etcd.service on e1 and recover again"), "{text}");

    // A person may say that the snapshot is meant; and a log of a first start holds nobody's writes.
    assert!(planned_from(&lost(1000), snapshot()).is_ok_and(|plan| plan.restores()));
    assert!(planned(&lost(4)).is_ok_and(|plan| plan.restores()));
}

/// An etcd that is started without its data votes, in its old place, for members that lack what it has acknowledged.
#[test]
fn no_member_is_started_without_its_data() {
    let starts = |facts: &Facts, host: &str| {
        let is = |step: &Step| match &step.action {
            Action::Start { services } | Action::Restart { services } => services
                .iter()
                .any(|service| service.host == host && service.service.label() == "etcd.service"),
            _ => false,
        };
        planned(facts).unwrap().steps.iter().any(is)
    };
    for (case, host) in
        [("member-on-a-disk-that-is-not-mounted", "m3"), ("no-quorum-and-a-disk-that-is-not-mounted", "m2")]
    {
        let facts = cases::all().remove(case).unwrap();
        assert!(!starts(&facts, host), "{case}");
        let manual = planned(&facts).unwrap().manual.join("; ");
        assert!(manual.contains("mount it") && manual.contains(host), "{case}: {manual}");
    }
    // The unit names another data dir, and something is in it or not, or nobody looked.
    for (holds, started) in [(Some(true), true), (Some(false), false), (None, false)] {
        let mut facts = cases::all().remove("member-moved-to-another-data-dir").unwrap();
        let storage = facts.members.get_mut("m3").unwrap().storage.as_mut().unwrap();
        cluster::value(storage).named[0].holds_member = holds;
        assert_eq!(starts(&facts, "m3"), started, "{holds:?}");
    }
}

/// It may hold more than what would be restored, and is no less for that it cannot be read.
#[test]
fn nothing_is_restored_past_a_member_whose_data_is_not_known() {
    let damaged = DataDir::Damaged(vec!["page 81".to_owned()].into());
    let facts = cases::no_quorum_and_not_mounted(damaged.clone()).member_stopped("e1", damaged).0;
    let refused = planned(&facts);
    assert!(matches!(&refused, Err(PlanError::Unknown { member, .. }) if member == "m2"), "{refused:?}");
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("/etc/fstab mounts /var/lib/etcd") && said.contains("--source"), "{said}");
}

/// What is restored ends at entry 52310 of term 7: that of a member whose db is broken, beside one that waits.
fn with_a_waiting_member(log: LogState) -> Result<Plan, PlanError> {
    let all = cluster::Builder::healthy().member_stopped("e1", DataDir::InUse(Some(log)));
    let damaged = DataDir::Damaged(vec!["page 81".to_owned()].into());
    let DataDir::Sound(state) = cluster::sound("m2", cluster::REVISION) else { panic!() };
    let readable = Some(Readable { state, combination: None });
    let log = LogState {
        last_term: Some(7),
        ..cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id("m2"), 52_310)
    };
    let m2 = DataDir::Damaged(Damage { why: vec!["page 7".into()], readable, log: Some(log) });
    planned(&all.member_stopped("m2", m2).member_stopped("m3", damaged).etcd_lost().0)
}

/// The longer log of an older term lacks what a quorum went on with.
#[test]
fn a_waiting_member_of_a_later_term_is_not_passed_over() {
    for (last_term, refused) in [(Some(8), true), (Some(6), false), (None, true)] {
        let log = cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id("e1"), 52_200);
        let plan = with_a_waiting_member(LogState { last_term, ..log });
        assert_eq!(matches!(plan, Err(PlanError::Unread { .. })), refused, "term {last_term:?}: {plan:?}");
    }
}

/// Its log was cut, and etcd runs on a db that has all of it.
#[test]
fn a_waiting_member_whose_db_goes_further_is_not_passed_over() {
    for (db_index, db_term, refused) in [
        (Some(52_400), Some(7), true),
        (Some(52_400), None, true),
        (Some(52_310), Some(7), false),
        (Some(52_400), Some(6), false),
        (Some(51_000), None, false),
        (None, None, false),
    ] {
        let log = cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id("e1"), 52_200);
        let plan = with_a_waiting_member(LogState { last_term: Some(6), db_index, db_term, ..log });
        let is_refused = matches!(plan, Err(PlanError::Unread { .. }));
        assert_eq!(is_refused, refused, "db at {db_index:?} of {db_term:?}: {plan:?}");
    }
}

/// Together they would be a quorum, and skip every write up to where their dbs are.
#[test]
fn members_whose_logs_were_cut_are_not_started_again() {
    let DataDir::Sound(state) = cluster::sound("m2", cluster::REVISION) else { panic!() };
    let log_of = |name, last_index| LogState {
        last_term: Some(7),
        ..cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id(name), last_index)
    };
    let log = Some(log_of("m2", 52_310));
    let readable = Some(Readable { state, combination: None });
    let m2 = DataDir::Damaged(Damage { why: vec!["page 7".into()], readable, log });
    let waits = |name, db| {
        let log = LogState { db_index: Some(db), db_term: Some(7), ..log_of(name, 40_000) };
        // It has started again, been elected, and written the first entry of a new term.
        DataDir::InUse(Some(LogState { last_term: Some(9), ..log }))
    };
    for (db, is_refused) in [(52_308, false), (52_311, true)] {
        let all = cluster::Builder::healthy().member_stopped("e1", waits("e1", 52_310));
        let all = all.member_stopped("m2", m2.clone()).member_stopped("m3", waits("m3", db));
        match planned(&all.etcd_lost().0) {
            Ok(plan) if !is_refused => {
                let chosen = plan.candidates.iter().find(|one| one.chosen).map(|one| &one.source);
                assert_eq!(chosen, Some(&StateSource::Member("m2".into())));
            }
            plan => assert!(matches!(plan, Err(PlanError::Unread { .. })) && is_refused, "{plan:?}"),
        }
    }
}

/// Of two stopped members, the one whose db has what its log lacks is the freshest.
#[test]
fn a_db_that_goes_further_than_its_log_ranks_by_its_own_end() {
    let DataDir::Sound(state) = cluster::sound("e1", cluster::REVISION) else { panic!() };
    let (last_index, db_index, db_term) = (40_000, Some(52_400), Some(7));
    let cut = DataDirState { last_term: 6, last_index, db_index, db_term, ..state.clone() };
    let readable = Some(Readable { state, combination: None });
    let log = cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id("m2"), 52_310);
    let log = Some(LogState { last_term: Some(7), ..log });
    let m2 = DataDir::Damaged(Damage { why: vec!["page 7".into()], readable, log });
    let all = cluster::Builder::healthy().member_stopped("e1", DataDir::Sound(cut)).member_stopped("m2", m2);
    let damaged = DataDir::Damaged(vec!["page 81".to_owned()].into());
    let plan = planned(&all.member_stopped("m3", damaged).etcd_lost().0).unwrap();
    let chosen = plan.candidates.into_iter().find(|one| one.chosen).map(|one| one.source);
    assert_eq!(chosen, Some(StateSource::Member("e1".into())));
}

/// A learner has no vote: with one voter of two destroyed no start helps, and the cluster is rebuilt.
#[test]
fn a_learner_does_not_count_for_the_quorum() {
    let plan = planned(&cases::all()["learner-and-a-voter-destroyed"]).unwrap();
    assert!(plan.restores(), "{plan:#?}");
}

/// What people are told to do must be taken when they do it.
#[test]
fn a_source_is_taken_once_starts_were_in_vain() {
    let facts = cases::all().remove("two-stopped").unwrap();
    let first = planned(&facts).unwrap();
    let member = StateSource::Member("e1".into());
    assert!(!planned_from(&facts, member.clone()).unwrap().restores(), "a start may help");
    let mut tried = Tried::default();
    tried.add(&first, &journal(&first, &[]), true);
    let options = PlanOptions { source: Some(member), tried, ..options() };
    assert!(planned_as(&facts, &options).unwrap().restores());
}

/// A machine that answers at the address is not to be stopped, restarted or rebooted.
#[test]
fn a_machine_that_is_not_the_right_one_is_left_alone() {
    for (case, facts) in recorded::all() {
        let wrong: Vec<&String> = facts
            .hosts
            .iter()
            .filter(|(name, host)| {
                let expected = facts.inventory.hosts[*name].machine_id.as_ref();
                host.machine_id.get().is_some_and(|id| expected.is_some_and(|expected| expected != id))
            })
            .map(|(name, _)| name)
            .collect();
        for plan in [planned(&facts), planned_from(&facts, snapshot())].into_iter().flatten() {
            for step in &plan.steps {
                let touched = touched(&facts, &step.action);
                assert!(!wrong.iter().any(|host| touched.contains(*host)), "{case}: {}", step.title);
            }
        }
    }
}

/// Where the inventory has no machine id, the one that was seen is in the plan, and what is done is done there or not at all.
#[test]
fn a_plan_keeps_the_machine_ids_that_were_seen() {
    let mut facts = cases::all().remove("member-destroyed").unwrap();
    let seen: Vec<(String, String)> = (facts.hosts.iter())
        .filter_map(|(name, host)| Some((name.clone(), host.machine_id.get()?.clone())))
        .collect();
    facts.inventory.hosts.values_mut().for_each(|spec| spec.machine_id = None);
    let plan = planned(&facts).unwrap();
    assert!(!seen.is_empty() && plan.machine_ids == seen.into_iter().collect(), "{:?}", plan.machine_ids);
}

fn swap_machine(facts: &mut Facts, host: &str) {
    let Answer::Value(id) = &mut facts.hosts.get_mut(host).unwrap().machine_id.answer else {
        panic!("{host}")
    };
    *id = "c0ffee00c0ffee00c0ffee00c0ffee00".into();
}

/// A clone at the address of a member, or of a control plane machine, would be fenced and written over.
#[test]
fn nothing_is_restored_over_another_machine() {
    for host in ["m3", "m1"] {
        let mut facts = cases::all().remove("state-lost").unwrap();
        swap_machine(&mut facts, host);
        assert_eq!(planned_from(&facts, snapshot()), Err(PlanError::WrongMachine(host.into())));
    }
}

/// A quorum that serves less than a stopped member had committed has lost acknowledged writes: that member would follow it.
#[test]
fn a_member_that_holds_more_than_the_quorum_is_not_started() {
    for broken in [false, true] {
        let mut facts = cases::rolled_back().0;
        if broken {
            let DataDir::Sound(state) = cluster::sound("m3", cluster::REVISION) else { panic!() };
            let readable = Some(Readable { state, combination: None });
            let damage = Damage { why: vec!["db page 17".into()], readable, log: None };
            facts.members.get_mut("m3").unwrap().data_dir.answer = Answer::Value(DataDir::Damaged(damage));
        }
        let left = planned(&facts).unwrap();
        assert!(left.steps.is_empty(), "{:?}", left.steps);
        assert!(left.manual.iter().any(|text| text.contains("--source member:m3")), "{:?}", left.manual);
        let source = StateSource::Member("m3".into());
        assert!(planned_from(&facts, source).unwrap().restores());
    }
}

/// What a member holds that does not serve, and whether a quorum at entry 412 of term 7 has lost it.
#[test]
fn what_a_quorum_cannot_have_missed_is_told_from_what_it_may() {
    let state = |last_term, last_index, first_uncommitted: Option<u64>| {
        let DataDir::Sound(state) = cluster::sound("m3", 300) else { panic!() };
        let end = |first| Uncommitted {
            first,
            last: last_index,
            changes: Vec::new(),
            further_changes: 0,
            known: true,
        };
        DataDirState { last_term, last_index, uncommitted: first_uncommitted.map(end), ..state }
    };
    let damaged = |log: Option<LogState>, readable: Option<DataDirState>| {
        let readable = readable.map(|state| Readable { state, combination: None });
        DataDir::Damaged(Damage { why: vec!["db page 17".into()], readable, log })
    };
    let log = |last_term, last_index, db_index| LogState {
        last_term: Some(last_term),
        db_index,
        db_term: db_index.map(|_| last_term),
        ..cluster::log_of(cluster::CLUSTER_ID, &cluster::member_id("m3"), last_index)
    };
    for (what, dir, is_lost) in [
        ("committed further", DataDir::Sound(state(7, 413, None)), true),
        ("committed further in an older term", DataDir::Sound(state(6, 413, None)), true),
        ("a later term", DataDir::Sound(state(8, 300, Some(300))), true),
        ("as far", DataDir::Sound(state(7, 412, None)), false),
        ("an end of an older term that was not committed", DataDir::Sound(state(6, 500, Some(400))), false),
        ("broken, with a log that goes further", damaged(Some(log(7, 413, None)), None), true),
        ("broken, with a log of an older term", damaged(Some(log(6, 500, None)), None), false),
        ("broken and readable", damaged(Some(log(7, 413, None)), Some(state(7, 413, None))), true),
        ("running, and written to by its leader", DataDir::InUse(Some(log(7, 413, None))), false),
        ("running on a db that goes further", DataDir::InUse(Some(log(6, 500, Some(413)))), true),
        ("running in a later term", DataDir::InUse(Some(log(8, 300, None))), true),
    ] {
        let mut facts = cases::rolled_back().0;
        for name in ["e1", "m2"] {
            let status = cluster::value(&mut facts.members.get_mut(name).unwrap().status);
            (status.raft_term, status.raft_index) = (7, 412);
        }
        facts.members.get_mut("m3").unwrap().data_dir.answer = Answer::Value(dir);
        let found = diagnose(&facts).all().iter().any(|finding| finding.id == FindingId::EtcdStateLost);
        assert_eq!(found, is_lost, "{what}");
    }
}

/// Of two members that have come as far, the one is restored that etcd did not find to differ; the other one never unasked.
#[test]
fn no_member_with_a_corrupt_alarm_is_restored_unasked() {
    let with_alarm = |id: &str, name, revision| {
        let DataDir::Sound(mut state) = cluster::sound(name, revision) else { panic!() };
        state.alarms = vec![Alarm { member_id: id.into(), kind: "CORRUPT".into() }];
        state
    };
    let facts_with = |id: &str, revision_of_m3| {
        let state = with_alarm(id, "m3", revision_of_m3);
        let log = LogState {
            last_term: Some(state.last_term),
            ..cluster::log_of(&state.cluster_id, &state.member_id, state.last_index)
        };
        let readable = Some(Readable { state, combination: None });
        let broken = DataDir::Damaged(Damage { why: vec!["bad record".into()], readable, log: Some(log) });
        let sound = DataDir::Sound(with_alarm(id, "e1", cluster::REVISION - 10));
        let broken_db = DataDir::Damaged(vec!["db page 17".to_owned()].into());
        let all = cluster::Builder::healthy().member_stopped("e1", sound).member_stopped("m2", broken_db);
        all.member_stopped("m3", broken).etcd_lost().0
    };
    let facts = |revision| facts_with(&cluster::member_id("m3"), revision);
    let chosen = |plan: Plan| plan.candidates.into_iter().find(|one| one.chosen).map(|one| one.source);
    let [e1, m3] = ["e1", "m3"].map(|name| StateSource::Member(name.into()));
    assert_eq!(chosen(planned(&facts(cluster::REVISION - 10)).unwrap()), Some(e1));
    let further = facts(cluster::REVISION);
    assert_eq!(planned(&further), Err(PlanError::Corrupt(Box::new(m3.clone()))));
    assert_eq!(chosen(planned_from(&further, m3.clone()).unwrap()), Some(m3));
    // etcd could not tell which one is wrong.
    let any = planned(&facts_with(NO_MEMBER, cluster::REVISION - 10));
    assert!(matches!(any, Err(PlanError::Corrupt(_))), "{any:?}");
}

/// A restore recovers the nodes that are there: another machine is not to be rebooted, and none waited for in vain.
#[test]
fn a_restore_leaves_out_nodes_that_are_another_machine_or_away() {
    let mut facts = cases::all().remove("all-data-gone").unwrap();
    let nodes = |facts: &Facts| {
        let steps = planned(facts).unwrap().steps;
        steps.into_iter().find_map(|step| match step.action {
            Action::RecoverNodes { hosts } => Some(hosts),
            _ => None,
        })
    };
    assert_eq!(nodes(&facts), Some(vec!["n1".into(), "n2".into()]));
    swap_machine(&mut facts, "n2");
    assert_eq!(nodes(&facts), Some(vec!["n1".into()]));
    let login = &mut facts.hosts.get_mut("n1").unwrap().login;
    login.answer = Answer::Value(Login::Denied("Permission denied (publickey)".into()));
    assert_eq!(nodes(&facts), None);
}

/// A cluster that serves, with a quorum, would be stopped and all written since the file thrown away.
#[test]
fn a_named_state_decides_what_is_restored_and_never_that_it_is() {
    for (case, facts) in recorded::all() {
        let (Ok(without), Ok(with)) = (planned(&facts), planned_from(&facts, snapshot())) else { continue };
        let asked = [
            "state-lost",
            "state-rolled-back",
            "member-of-another-cluster-and-newer",
            "member-of-another-cluster-and-hanging",
            "members-diverged-undecided",
        ];
        let asked = asked.iter().any(|asked| case.starts_with(asked));
        assert_eq!(with.restores(), without.restores() || asked, "{case}");
        assert_eq!(with.unused_source.is_some(), !with.restores(), "{case}: {:?}", with.unused_source);
        if !with.restores() {
            assert!(with.does_the_same(&without), "{case}");
        }
        assert_eq!(without.unused_source, None, "{case}");
    }
}

/// The term of a cluster that was re-initialized by hand says nothing beside that of the old one.
#[test]
fn members_of_different_clusters_are_not_ranked() {
    let mut facts = cases::all().remove("two-corrupt").unwrap();
    let DataDir::Sound(mut state) = cluster::sound("m2", 40_000) else { panic!() };
    (state.cluster_id, state.last_term) = ("aaaa000011112222".into(), 90);
    facts.members.get_mut("m2").unwrap().data_dir.answer = Answer::Value(DataDir::Sound(state));
    let Err(PlanError::MixedClusters(said)) = planned(&facts) else { panic!("a choice was made") };
    assert!(said.contains("e1 at revision 41200") && said.contains("aaaa000011112222"), "{said}");
    let named = planned_from(&facts, StateSource::Member("e1".into())).unwrap();
    assert!(named.restores());
}

/// What the journal says of a plan whose steps were all done and did not help, but for those that failed.
fn journal(plan: &Plan, failed: &[u32]) -> Vec<Entry> {
    let event = |event| Entry { at: cluster::now(), event };
    let steps = plan.steps.iter().map(|step| match failed.contains(&step.number) {
        true => Event::Failed { step: step.number, why: "attach failed in the cloud: no free port".into() },
        false => Event::Done { step: step.number, already: false },
    });
    let given_up = plan.steps.iter().flat_map(|step| match &step.action {
        Action::RecoverNodes { hosts } => hosts.clone(),
        _ => Vec::new(),
    });
    let notes = given_up.map(|host| Event::Note { step: 1, note: format!("given up: {host}") });
    [Event::Started { rounds: true }, Event::Plan { plan: plan.id.clone() }]
        .into_iter()
        .chain(notes)
        .chain(steps)
        .map(event)
        .collect()
}

fn planned_after(facts: &Facts, before: &[(&Plan, Vec<u32>)]) -> Plan {
    let mut tried = Tried::default();
    before.iter().for_each(|(plan, failed)| tried.add(plan, &journal(plan, failed), false));
    planned_as(facts, &PlanOptions { tried, ..options() }).unwrap()
}

/// A restart that did not help gives way to a replacement, and that to people.
#[test]
fn what_did_not_help_gives_way_to_the_next_and_never_to_itself() {
    let facts = cases::all().remove("member-silent").unwrap();
    let has = |plan: &Plan, is: fn(&Action) -> bool| plan.steps.iter().any(|step| is(&step.action));
    let restarts = |action: &Action| matches!(action, Action::Restart { .. });
    let replaces = |action: &Action| matches!(action, Action::AddLearner { .. });
    let first = planned(&facts).unwrap();
    assert!(has(&first, restarts) && !has(&first, replaces));
    let second = planned_after(&facts, &[(&first, vec![])]);
    assert!(!has(&second, restarts) && has(&second, replaces));
    let third = planned_after(&facts, &[(&first, vec![]), (&second, vec![])]);
    assert!(!has(&third, restarts) && !has(&third, replaces), "{:?}", third.steps);
    assert!(third.manual.iter().any(|manual| manual.contains("its log says why")), "{:?}", third.manual);
}

/// A worker's reboot comes after its kubelet's restart, for people to ask for.
#[test]
fn a_reboot_is_named_where_a_restarted_kubelet_did_not_help() {
    let facts = cases::all().remove("node-silent").unwrap();
    let first = planned(&facts).unwrap();
    let second = planned_after(&facts, &[(&first, vec![])]);
    assert!(second.steps.is_empty(), "{:?}", second.steps);
    let manual = second.manual.join("\n");
    assert!(manual.contains("is still not Ready") && manual.contains("--reboot-nodes"), "{manual}");
}

/// A restore finds nodes Ready without touching them: their kubelets were not restarted.
#[test]
fn what_was_done_already_was_not_tried() {
    for case in ["node-silent", "member-stopped"] {
        let facts = cases::all().remove(case).unwrap();
        let first = planned(&facts).unwrap();
        let already = |step: &Step| Event::Done { step: step.number, already: true };
        let events =
            [Event::Plan { plan: first.id.clone() }].into_iter().chain(first.steps.iter().map(already));
        let journal: Vec<Entry> = events.map(|event| Entry { at: cluster::now(), event }).collect();
        let mut tried = Tried::default();
        tried.add(&first, &journal, true);
        let second = planned_as(&facts, &PlanOptions { tried, ..options() }).unwrap();
        assert_eq!(second.steps, first.steps, "{case}");
    }
}

/// A wrong flag is not put right by another data dir: a member that does not stay up keeps its data.
#[test]
fn a_member_whose_process_ends_again_is_not_replaced() {
    let facts = cases::all().remove("member-stopped").unwrap();
    let first = planned(&facts).unwrap();
    assert!(first.steps.iter().any(|step| matches!(step.action, Action::Start { .. })));
    let second = planned_after(&facts, &[(&first, vec![])]);
    assert!(second.steps.is_empty(), "{:?}", second.steps);
    assert!(!second.manual.is_empty());
}

/// A member is taken away only while the others are a quorum; else people learn whose log goes furthest.
#[test]
fn a_member_that_the_quorum_may_hang_on_is_not_replaced_after_a_restart_in_vain() {
    let mut facts = cases::all().remove("member-silent").unwrap();
    let first = planned(&facts).unwrap();
    facts.members.get_mut("m2").unwrap().linearizable.answer = Answer::Unknown("no answer".into());
    let second = planned_after(&facts, &[(&first, vec![])]);
    assert!(!second.steps.iter().any(|step| matches!(step.action, Action::AddLearner { .. })));
    let manual = second.manual.join("\n");
    assert!(manual.contains("no quorum without it") && manual.contains("--source member:"), "{manual}");
}

/// One refused NIC does not keep the others from being attached, nor the next round from going on.
#[test]
fn what_the_cloud_refused_is_left_to_people_and_the_rest_goes_on() {
    let facts = cases::all().remove("incident").unwrap();
    let first = planned(&facts).unwrap();
    let attach = |plan: &Plan, host: &str| {
        let is = |step: &&Step| matches!(&step.action, Action::AttachNic { host: of, .. } if of == host);
        plan.steps.iter().find(is).map(|step| step.number)
    };
    let refused = attach(&first, "e1").unwrap();
    let waits = first.steps.iter().find(|step| matches!(step.action, Action::WaitForHosts { .. })).unwrap();
    assert!(matches!(&waits.needs, Needs::OneOf(steps) if steps.contains(&refused)), "{:?}", waits.needs);
    for step in first.steps.iter().filter(|step| matches!(step.action, Action::AttachNic { .. })) {
        assert!(!matches!(step.needs, Needs::EverythingBefore), "{}", step.title);
    }
    let second = planned_after(&facts, &[(&first, vec![refused])]);
    assert_eq!(attach(&second, "e1"), None);
    assert!(attach(&second, "m2").is_some());
    assert!(second.manual.iter().any(|manual| manual.contains("no free port")), "{:?}", second.manual);
    // People may have seen to it: the next recovery asks for it again.
    let mut tried = Tried::default();
    tried.add(&first, &journal(&first, &[refused]), true);
    let again = planned_as(&facts, &PlanOptions { tried, ..options() }).unwrap();
    assert!(attach(&again, "e1").is_some());
}

/// Two members serve and hold different data: the leader's must not become the majority.
#[test]
fn no_member_is_replaced_while_it_is_undecided_which_state_is_right() {
    let facts = cases::all().remove("members-diverged-undecided-beside-a-corrupt-one").unwrap();
    let plan = planned(&facts).unwrap();
    assert!(plan.steps.iter().all(|step| !matches!(step.action, Action::RemoveMember { .. })), "{plan:#?}");
    assert!(
        plan.manual.iter().any(|manual| manual.contains("e1 is not replaced until the right state is known")),
        "{:?}",
        plan.manual
    );
    assert!(plan.manual.iter().any(|manual| manual.contains("--source member:NAME")), "{:?}", plan.manual);
}

/// It could not join: it would be taken out of the cluster, and would never start.
#[test]
fn a_member_that_the_others_do_not_reach_is_not_replaced() {
    let mut facts = cases::all().remove("member-corrupt-behind-a-firewall").unwrap();
    let replaces = |facts: &Facts| {
        let plan = planned(facts).unwrap();
        plan.steps.iter().any(|step| matches!(step.action, Action::AddLearner { .. }))
    };
    assert!(!replaces(&facts));
    let manual = planned(&facts).unwrap().manual.join("; ");
    assert!(manual.contains("m3 cannot be replaced") && manual.contains("firewall"), "{manual}");
    // Nothing listens while its etcd is stopped.
    for member in facts.members.values_mut() {
        for reach in cluster::value(member.peers.as_mut().unwrap()).values_mut() {
            *reach = Reach::Failed("Connection refused (os error 111)".into());
        }
    }
    assert!(replaces(&facts));
}

/// What is waited for may not come: the plan ends all the same, and the next round decides by what it finds.
#[test]
fn a_wait_in_vain_does_not_end_a_recovery() {
    let mut waits = 0;
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let is_wait = |step: &Step| match &step.action {
            Action::WaitForLeaders | Action::WaitForChecks { .. } | Action::RecoverNodes { .. } => true,
            // An API server that was fenced beside a member is released whatever else is found.
            Action::CleanUp { .. } | Action::WaitForEtcd { restored: None, .. } => true,
            _ => false,
        };
        let Some(first) = plan.steps.iter().position(is_wait) else { continue };
        for step in plan.steps.iter().skip(first) {
            assert_ne!(step.needs, Needs::EverythingBefore, "{case}: {}", step.title);
            waits += 1;
        }
    }
    assert!(waits > 20, "{waits}");
    // Without etcd nothing leads, and whether it comes back is not known when the plan is made.
    let plan = planned(&cases::all()["two-stopped-and-a-scheduler"]).unwrap();
    let does = |is: fn(&Action) -> bool| plan.steps.iter().any(|step| is(&step.action));
    assert!(does(|action| matches!(action, Action::Start { .. })));
    assert!(!does(|action| matches!(action, Action::WaitForLeaders)), "{plan:#?}");
}

fn snapshot_of(name: &str, revision: i64, uid: &str, nodes: &[&str], member: &str) -> Snapshot {
    let kubernetes = KubernetesIdentity {
        prefix: "/registry".into(),
        uid: Some(uid.into()),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        node_count: nodes.len() as u64,
    };
    Snapshot {
        path: PathBuf::from("/backups").join(name),
        written: None,
        size: 80 << 20,
        revision: Ok(revision),
        raft_index: None,
        identity: Some(SnapshotIdentity {
            kubernetes,
            members: vec![member.into()],
            ..SnapshotIdentity::default()
        }),
    }
}

/// It has more revisions than this cluster's own snapshot, and that says nothing.
#[test]
fn another_clusters_snapshot_is_chosen_only_by_name() {
    let facts = cases::all().remove("all-data-gone").unwrap();
    let ours = snapshot_of("ours.db", 578_000, "uid-a", &["n1", "n2"], "e1");
    let theirs = snapshot_of("theirs.db", 1_000_000_000, "uid-b", &["a1", "a2"], "x1");
    let snapshots = vec![theirs.clone(), ours.clone()];
    let plan = planned_with(&facts, snapshots.clone(), &options()).unwrap();
    let files: Vec<&StateSource> = plan
        .candidates
        .iter()
        .filter(|candidate| matches!(candidate.source, StateSource::Snapshot(_)))
        .map(|candidate| &candidate.source)
        .collect();
    assert_eq!(files, [&StateSource::Snapshot(ours.path), &StateSource::Snapshot(theirs.path.clone())]);
    let [own, other] = &plan.candidates[plan.candidates.len() - 2..] else { panic!() };
    assert!(own.chosen && own.remark.contains("every write after it"), "{}", own.remark);
    assert!(other.foreign && !other.chosen, "{other:?}");
    assert_eq!(other.remark, "another cluster's (kube-system uid-b; nodes a1, a2; members x1)");
    let source = Some(StateSource::Snapshot(theirs.path));
    let named = planned_with(&facts, snapshots, &PlanOptions { source, ..options() }).unwrap();
    assert!(named.restores());
}

/// Nodes are called alike in many clusters; the UID of kube-system is not.
#[test]
fn snapshots_of_clusters_that_look_alike_are_told_apart_by_uid_or_not_chosen() {
    let one = snapshot_of("one.db", 500, "uid-a", &["n1", "n2"], "e1");
    let two = snapshot_of("two.db", 900, "uid-b", &["n1", "n2"], "e1");
    let gone = cases::all().remove("all-data-gone").unwrap();
    let Err(PlanError::MixedSnapshots(said)) =
        planned_with(&gone, vec![one.clone(), two.clone()], &options())
    else {
        panic!("a choice was made")
    };
    assert!(said.contains("uid-a in /backups/one.db") && said.contains("uid-b"), "{said}");
    // What a member holds shows which one is this cluster's.
    let mut facts = cases::all().remove("members-older-than-the-snapshot").unwrap();
    let DataDir::Sound(mut state) = cluster::sound("e1", 300) else { panic!() };
    state.kubernetes = one.identity.clone().map(|identity| identity.kubernetes);
    facts.members.get_mut("e1").unwrap().data_dir.answer = Answer::Value(DataDir::Sound(state));
    let plan = planned_with(&facts, vec![two], &options()).unwrap();
    assert!(plan.candidates[0].chosen && plan.candidates[0].source == StateSource::Member("e1".into()));
    let refused = planned_with(&facts, vec![one], &options());
    assert!(matches!(refused, Err(PlanError::AmbiguousState { .. })), "{refused:?}");
}

/// Facts of a diagnosis do not say which snapshots there are.
#[test]
fn snapshots_that_were_not_examined_are_not_taken_for_none() {
    let all = cases::all();
    let with = |case: &str, snapshots: Option<Snapshots>, source: Option<StateSource>| {
        let facts = Facts { snapshots, ..all[case].clone() };
        plan(&facts, &diagnose(&facts), &PlanOptions { source, ..options() })
    };
    let unexamined = |case: &str| with(case, None, None).unwrap().unexamined_snapshots;
    assert!(unexamined("two-corrupt").is_some_and(|why| why.contains("snapshots were not examined")));
    assert_eq!(unexamined("member-stopped"), None, "nothing is restored");
    assert_eq!(planned(&all["two-corrupt"]).unwrap().unexamined_snapshots, None);

    let refused = with("all-data-gone", None, None);
    assert!(matches!(refused, Err(PlanError::Unexamined(_))), "{refused:?}");
    assert_eq!(with("all-data-gone", Some(Snapshots::default()), None), Err(PlanError::NoSource));
    let refused = with("all-data-gone", None, Some(snapshot()));
    let Err(PlanError::BadSource(_, why)) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("do not include this snapshot"), "{why}");

    // One that was named is the only one that was looked at.
    let named: Option<PathBuf> = snapshot().snapshot().map(Into::into);
    let only = || Some(Snapshots { read: backups(), unread: 0, named: named.clone() });
    let plan = with("all-data-gone", only(), Some(snapshot())).unwrap();
    assert_eq!((plan.restores(), plan.unexamined_snapshots), (true, None));
    let other = with("all-data-gone", only(), None).unwrap().unexamined_snapshots.unwrap();
    assert!(other.contains("other snapshots were not examined"), "{other}");
}

/// Hazard 1: with e1 away, m2 and m3 are the quorum, whatever an alarm says of m3's data; and of four voters three are
/// needed.
#[test]
fn a_member_that_the_quorum_hangs_on_is_left_running() {
    for (case, said) in [
        ("corrupt-alarm-on-a-needed-member", "without m3, 1 of 3 voting members serve, 2 needed"),
        ("corrupt-alarm-beside-an-unlisted-voter", "without m3, 2 of 4 voting members serve, 3 needed"),
    ] {
        let facts = cases::all().remove(case).unwrap();
        let plan = planned(&facts).unwrap();
        let etcd =
            HostService { host: "m3".into(), service: facts.inventory.etcd.members["m3"].service.clone() };
        let takes = |action: &Action| match action {
            Action::Fence { services } | Action::Restart { services } => services.contains(&etcd),
            Action::MoveAside { .. } | Action::RemoveMember { .. } => true,
            _ => false,
        };
        assert!(!plan.steps.iter().any(|step| takes(&step.action)), "{case}: {:#?}", plan.steps);
        assert!(plan.manual.iter().any(|manual| manual.contains(said)), "{case}: {:#?}", plan.manual);
    }
}

/// Hazard 2: an inventory that names an empty directory does not make the data gone.
#[test]
fn data_that_its_service_keeps_elsewhere_is_never_restored_over() {
    let all = cases::all();
    for (case, members) in [("all-moved-to-another-data-dir", 3), ("member-moved-to-another-data-dir", 1)] {
        let facts = &all[case];
        let found = diagnose(facts);
        let elsewhere = |finding: &&&Finding| finding.id == FindingId::EtcdMemberWrongDataDir;
        let named = found
            .all()
            .iter()
            .filter(elsewhere)
            .flat_map(|finding| finding.evidence.clone())
            .collect::<Vec<_>>();
        assert_eq!(named.len(), members, "{case}");
        let both = |seen: &str| seen.contains("/data/etcd") && seen.contains("/var/lib/etcd");
        assert!(named.iter().all(|evidence| both(&evidence.seen)), "{case}: {named:?}");
        let plan = planned(facts).unwrap();
        let writes =
            |step: &&Step| matches!(step.action, Action::MoveAside { .. } | Action::RestoreMember { .. });
        assert_eq!(plan.steps.iter().find(writes), None, "{case}");
        assert!(plan.steps.iter().any(|step| matches!(step.action, Action::Start { .. })), "{case}");
    }
    // Neither does a person who names a state.
    let named = planned_from(&all["all-moved-to-another-data-dir"], snapshot()).unwrap();
    assert!(!named.restores());
}

/// Hazards 3, 4 and 10: what cannot be established is refused before anything is fenced.
#[test]
fn a_plan_is_refused_where_data_cannot_be_moved_or_written() {
    let refused = |facts: &Facts| match planned(facts) {
        Err(PlanError::Preflight(wrong)) => wrong.join("; "),
        other => panic!("not refused: {other:?}"),
    };
    let mut all = cases::all();
    let said = refused(&all["member-destroyed-beside-a-full-disk"]);
    assert!(said.contains("m3: / has 150 MB left and"), "{said}");
    // Also where a person has named the state.
    let named = planned_from(&all["all-data-gone-and-one-dangling-link"], snapshot());
    let Err(PlanError::Preflight(wrong)) = &named else { panic!("not refused: {named:?}") };
    let said = wrong.join("; ");
    assert!(said.contains("/var/lib/etcd is a symbolic link to /data/etcd, which does not exist"), "{said}");

    let mut facts = all.remove("all-data-gone").unwrap();
    let storage = |facts: &mut Facts| {
        cluster::value(facts.members.get_mut("m2").unwrap().storage.as_mut().unwrap()).clone()
    };
    let whole = storage(&mut facts);
    let with = |storage: Storage| {
        let mut facts = facts.clone();
        facts.members.get_mut("m2").unwrap().storage.as_mut().unwrap().answer = Answer::Value(storage);
        facts
    };
    let mut below = whole.clone();
    below.data_dir.below.push("/var/lib/etcd/member/wal".into());
    assert!(refused(&with(below)).contains("/var/lib/etcd/member/wal is a mount point or symbolic link"));
    let mut unknown = facts.clone();
    unknown.members.get_mut("m2").unwrap().storage = None;
    assert!(refused(&unknown).contains("m2: data location unknown"));
    let mut wrapped = whole.clone();
    wrapped.named.clear();
    wrapped.unread.push("etcd.service does not start etcd itself: docker".into());
    assert!(refused(&with(wrapped)).contains("does not start etcd itself: docker"));
    let mut broken = whole.clone();
    broken.program.as_mut().unwrap().version = "error while loading shared libraries".into();
    assert!(refused(&with(broken)).contains("/usr/local/bin/etcd does not run"));
    let mut misspelled = whole.clone();
    misspelled.program.as_mut().unwrap().unknown_flag = Some("-snapshots-count".into());
    assert!(refused(&with(misspelled)).contains("does not know the flag -snapshots-count: correct the unit"));

    // Before anything is fenced, not in the middle of it.
    let scheduler = facts.inventory.kubernetes.control_plane["m2"].scheduler.clone();
    let mut without = facts.clone();
    let services = cluster::value(&mut without.hosts.get_mut("m2").unwrap().services);
    let state = services.get_mut(&scheduler.key()).unwrap();
    (state.active, state.sub) = ("inactive".into(), "not-found".into());
    assert!(refused(&without).contains("m2: there is no unit kube-scheduler.service to fence"));

    // A member that was taken out could not be told to join again.
    let mut configured = cases::all().remove("member-destroyed").unwrap();
    let storage = cluster::value(configured.members.get_mut("m3").unwrap().storage.as_mut().unwrap());
    storage.config_file = Some("/etc/etcd.yaml".into());
    assert!(refused(&configured).contains("reads all settings from /etc/etcd.yaml"));

    // A symbolic link is followed: its own place is moved and written.
    let mut linked = whole;
    (linked.data_dir.real, linked.named[0].real) = ("/data/etcd".into(), "/data/etcd".into());
    let plan = planned(&with(linked)).unwrap();
    let moves = plan.steps.iter().find_map(|step| match &step.action {
        Action::MoveAside { member, dirs, to } if member == "m2" => Some((dirs.data.clone(), to.clone())),
        _ => None,
    });
    let to = "/data/etcd.lifeboat-20261124-030000-abcd";
    assert_eq!(moves, Some(("/data/etcd".into(), to.into())));
    let shown = &plan.steps[0].changes;
    assert!(shown.iter().any(|line| line.contains("/var/lib/etcd (-> /data/etcd)")), "{shown:?}");
}

/// systemd starts it again and again; so did `recover`.
#[test]
fn a_member_whose_unit_has_an_unknown_flag_is_not_started() {
    let mut all = cases::all();
    let mut facts = all.remove("member-stopped").unwrap();
    let storage = all.remove("all-data-gone").unwrap().members.remove("m3").unwrap().storage;
    facts.members.get_mut("m3").unwrap().storage = storage;
    let starts = |facts: &Facts| {
        let plan = planned(facts).unwrap();
        (plan.steps.iter().any(|step| matches!(step.action, Action::Start { .. })), plan.manual.join("; "))
    };
    assert!(starts(&facts).0);
    let storage = cluster::value(facts.members.get_mut("m3").unwrap().storage.as_mut().unwrap());
    storage.program.as_mut().unwrap().unknown_flag = Some("-snapshots-count".into());
    let (starts, manual) = starts(&facts);
    assert!(!starts && manual.contains("does not know the flag -snapshots-count"), "{manual}");
}

/// What takes a member away must not act without its quorum being proven again, and the plan begins with the proof.
#[test]
fn every_step_that_takes_a_member_away_is_guarded() {
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let members: Vec<HostService> = facts
            .inventory
            .etcd
            .members
            .values()
            .map(|spec| HostService { host: spec.host.clone(), service: spec.service.clone() })
            .collect();
        for step in &plan.steps {
            let takes = match &step.action {
                Action::Fence { services } | Action::Restart { services } => {
                    services.iter().any(|service| members.contains(service))
                }
                Action::MoveAside { .. } | Action::RemoveMember { .. } => !plan.restores(),
                _ => false,
            };
            let is_quorum = |guard: &Guard| !matches!(guard, Guard::ApiserverKept { .. });
            assert!(!takes || step.guards.iter().any(is_quorum), "{case}: {}", step.title);
        }
        let guarded = plan.steps.iter().any(|step| !step.guards.is_empty());
        let first = plan.steps.first().map(|step| matches!(step.action, Action::Preflight));
        assert_eq!(first.unwrap_or_default(), guarded, "{case}");
    }
}

/// While a quorum holds, nothing happens to the members that are well.
#[test]
fn replacing_a_member_touches_no_other() {
    let mut replaced = 0;
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let learner = plan.steps.iter().find_map(|step| match &step.action {
            Action::AddLearner { member, .. } => Some(member),
            _ => None,
        });
        let Some(learner) = learner else { continue };
        replaced += 1;
        let host = &facts.inventory.etcd.members[learner].host;
        for step in &plan.steps {
            if let Action::Fence { services } = &step.action {
                assert!(services.iter().all(|service| service.host == *host), "{case}: {}", step.title);
            }
        }
    }
    assert!(replaced >= 1, "the cases have lost their replacement");
}

/// An API server that has lost its only etcd would keep its clients waiting; one that answers is not to be stopped.
#[test]
fn an_api_server_is_stopped_with_its_only_etcd_and_not_while_it_answers() {
    let mut facts = cases::all().remove("static-pods-member-destroyed").unwrap();
    let apiserver = facts.inventory.kubernetes.control_plane["m2"].apiserver.clone();
    let fenced = |facts: &Facts| {
        let plan = planned(facts).unwrap();
        plan.steps.iter().any(|step| {
            let Action::Fence { services } = &step.action else { return false };
            services.iter().any(|fenced| fenced.service == apiserver && step.holds_until.is_some())
        })
    };
    assert!(fenced(&facts));
    let well = facts.control_plane["m1"].readyz.clone();
    facts.control_plane.get_mut("m2").unwrap().readyz = well;
    assert!(!fenced(&facts));
}

/// Killing all that are called etcd would kill the others' too, and their keepers would start them again.
#[test]
fn a_static_pod_whose_process_is_not_clear_is_not_stopped() {
    let mut facts = cases::all().remove("static-pods-member-destroyed").unwrap();
    let process = |pid, told_by| PodProcess { told_by, pid, what: "--name=m2".into() };
    let mut with = |processes| {
        let Answer::Value(services) = &mut facts.hosts.get_mut("m2").unwrap().services.answer else {
            panic!()
        };
        let etcd = services.iter_mut().find(|(key, _)| key.ends_with("/etcd.yaml")).unwrap().1;
        etcd.processes = processes;
        planned(&facts)
    };
    assert!(with(vec![process(10, ToldBy::Pod), process(11, ToldBy::Other)]).is_ok());
    assert!(with(vec![process(10, ToldBy::Flags), process(11, ToldBy::Unclear)]).is_ok());
    for way in [ToldBy::Flags, ToldBy::Unclear] {
        let refused = with(vec![process(10, way), process(11, way)]).unwrap_err();
        assert!(matches!(refused, PlanError::AmbiguousProcess { .. }), "{refused}");
        assert!(refused.to_string().contains("pid 11 --name=m2"), "{refused}");
    }
}

/// A reboot stops every pod: nobody gets one who did not ask, and no machine that others depend on.
#[test]
fn only_workers_without_a_role_are_rebooted_and_only_when_asked_for() {
    let reboots = |facts: &Facts, reboot_nodes| {
        let plan = planned_as(facts, &PlanOptions { reboot_nodes, ..options() }).unwrap();
        let hosts = plan.steps.iter().filter_map(|step| match &step.action {
            Action::RebootNode { host } => Some((host.clone(), step.changes.join("; "))),
            _ => None,
        });
        (hosts.collect::<Vec<_>>(), plan.manual.join("; "))
    };
    for (case, facts) in recorded::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let reboots = |step: &&Step| matches!(step.action, Action::RebootNode { .. });
        assert!(plan.steps.iter().find(reboots).is_none(), "{case}");
    }
    let mut facts = cases::all().remove("nodes-not-ready").unwrap();
    let (hosts, manual) = reboots(&facts, false);
    assert!(hosts.is_empty() && manual.contains("--reboot-nodes"), "{manual}");
    let Answer::Value(nodes) = &mut facts.kubernetes.nodes.answer else { panic!() };
    nodes[0].pods = Some(vec!["shop/cart-0".into(), "shop/web-1".into()]);
    let (hosts, _) = reboots(&facts, true);
    assert_eq!(hosts.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(hosts[0].1.contains("these pods stop: shop/cart-0, shop/web-1"), "{}", hosts[0].1);
    assert!(hosts[1].1.contains("not known now"), "{}", hosts[1].1);
    facts.inventory.hosts.get_mut("n1").unwrap().roles = vec!["nfs".into()];
    facts
        .inventory
        .kubernetes
        .control_plane
        .insert("n2".into(), facts.inventory.kubernetes.control_plane["m1"].clone());
    assert_eq!(reboots(&facts, true).0, []);
}

/// State that was sent holds every Secret; a data dir that was moved aside is the last copy of something.
#[test]
fn what_an_ended_operation_sent_is_found_and_what_it_moved_aside_is_no_fault() {
    let mut facts = cases::all().remove("healthy").unwrap();
    let left = |facts: &mut Facts, leftovers: Leftovers| {
        facts.hosts.get_mut("m2").unwrap().leftovers = leftovers;
        diagnose(facts)
    };
    let aside = vec![PathBuf::from("/var/lib/etcd.lifeboat-20261124-030000-abcd")];
    let sent = vec![PathBuf::from("/var/lib/lifeboat/20261124-030000-abcd")];
    let only_aside = Leftovers { aside: aside.clone(), ..Leftovers::default() };
    assert!(left(&mut facts, only_aside).is_healthy());
    let in_use = Leftovers { locked: true, sent: sent.clone(), aside: aside.clone() };
    assert!(left(&mut facts, in_use).is_healthy(), "an operation needs it");
    let diagnosis = left(&mut facts, Leftovers { locked: false, sent, aside });
    let [found] = diagnosis.causes.as_slice() else { panic!("{diagnosis:?}") };
    assert_eq!((found.id, found.subjects.as_slice()), (FindingId::HostLeftovers, &["m2".to_owned()][..]));
    assert_eq!(found.evidence.len(), 2);
    let plan = planned(&facts).unwrap();
    assert!(plan.is_empty() && plan.manual[0].contains("rm -r /var/lib/lifeboat/20261124-030000-abcd"));
}

#[test]
fn a_plan_rests_on_what_it_was_made_from() {
    let all = cases::all();
    let facts = |name: &str| &all[name];
    let before = planned(facts("all-data-gone")).unwrap().fingerprint;
    assert_eq!(drift(&before, &before), []);
    let after = planned(facts("healthy")).unwrap().fingerprint;
    assert!(!drift(&before, &after).is_empty(), "a cluster that is well again is another cluster");
}
