//! What is planned from the recorded facts, and what no plan may ever do.

mod cluster;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use lifeboat_recovery::facts::{Answer, DataDir, Facts, Login};
use lifeboat_recovery::plan::{Action, HostService, Plan, StateSource};
use lifeboat_recovery::planner::{PlanError, PlanOptions, Snapshot, drift, plan};
use lifeboat_recovery::rules::diagnose;

use cluster::cases;

fn options() -> PlanOptions {
    let snapshot = |name: &str, revision| Snapshot {
        path: PathBuf::from("/backups").join(name),
        written: Some("2026-11-09T03:00:00Z".parse().unwrap()),
        revision,
    };
    PlanOptions {
        id: "20261124-030000-abcd".into(),
        snapshots: vec![
            snapshot("half-a-month-old.db", Ok(400)),
            snapshot("torn.db", Err("damaged: the file is shorter than its meta page says".into())),
        ],
        source: None,
    }
}

fn planned(facts: &Facts) -> Result<Plan, PlanError> {
    plan(facts, &diagnose(facts), &options())
}

/// The same, by a person who has named the state to restore.
fn planned_from(facts: &Facts, source: StateSource) -> Result<Plan, PlanError> {
    plan(facts, &diagnose(facts), &PlanOptions { source: Some(source), ..options() })
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
        | Action::Restart { services: all } => services(all),
        Action::ReleaseLeases { candidates } => services(candidates),
        Action::RecoverNodes { hosts } | Action::Distribute { hosts, .. } | Action::CleanUp { hosts } => {
            hosts.iter().cloned().collect()
        }
        Action::AttachNic { host, .. } | Action::StartVm { host, .. } => [host.clone()].into(),
        Action::MoveAside { member, .. }
        | Action::RestoreMember { member, .. }
        | Action::AddLearner { member }
        | Action::PromoteLearner { member } => machine(member),
        Action::ClearNospace { members } => members.iter().flat_map(machine).collect(),
        Action::CreateIpRange { .. }
        | Action::WaitForHosts { .. }
        | Action::Settle { .. }
        | Action::WaitForEtcd { .. }
        | Action::RemoveMember { .. }
        | Action::WaitForApiservers { .. }
        | Action::WaitForLeaders
        | Action::WaitForChecks { .. } => BTreeSet::new(),
    }
}

#[test]
fn every_case_is_planned_as_recorded() {
    for (case, facts) in cases::all() {
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
    for (case, facts) in cases::all() {
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
        for (host, master) in &inventory.kubernetes.masters {
            for service in [&master.apiserver, &master.controller_manager, &master.scheduler] {
                let service = HostService { host: host.clone(), service: service.clone() };
                assert!(fenced.contains(&service), "{case}: {service:?} could start");
            }
        }
        let tokens: BTreeSet<&String> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::RestoreMember { token, .. } => Some(token),
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
    for (case, facts) in cases::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let survivor = |source: &StateSource| matches!(source, StateSource::Member(_));
        let sound = plan.candidates.iter().any(|c| survivor(&c.source) && c.revision.is_some());
        if let Some(chosen) = plan.candidates.iter().find(|candidate| candidate.chosen) {
            assert_eq!(survivor(&chosen.source), sound, "{case}: {chosen:?}");
        }
    }
}

/// Whoever answers at the address is not to be stopped, restarted or rebooted.
#[test]
fn a_machine_that_is_not_the_right_one_is_left_alone() {
    for (case, facts) in cases::all() {
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

fn swap_machine(facts: &mut Facts, host: &str) {
    let Answer::Value(id) = &mut facts.hosts.get_mut(host).unwrap().machine_id.answer else {
        panic!("{host}")
    };
    *id = "c0ffee00c0ffee00c0ffee00c0ffee00".into();
}

/// A clone at the address of a member, or of a master, would be fenced and written over.
#[test]
fn nothing_is_restored_over_another_machine() {
    for host in ["m3", "m1"] {
        let mut facts = cases::all().remove("state-lost").unwrap();
        swap_machine(&mut facts, host);
        assert_eq!(planned_from(&facts, snapshot()), Err(PlanError::WrongMachine(host.into())));
    }
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
    for (case, facts) in cases::all() {
        let (Ok(without), Ok(with)) = (planned(&facts), planned_from(&facts, snapshot())) else { continue };
        let asked = [
            "state-lost",
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

/// The term of a cluster that was begun anew by hand says nothing beside that of the old one.
#[test]
fn members_of_different_clusters_are_not_ranked() {
    let mut facts = cases::all().remove("two-corrupt").unwrap();
    let DataDir::Sound(mut state) = cluster::sound("m2", 40_000) else { panic!() };
    (state.cluster_id, state.last_term) = ("aaaa000011112222".into(), 90);
    facts.members.get_mut("m2").unwrap().data_dir.answer = Answer::Value(DataDir::Sound(state));
    let Err(PlanError::Apart(said)) = planned(&facts) else { panic!("a choice was made") };
    assert!(said.contains("e1 at revision 41200") && said.contains("aaaa000011112222"), "{said}");
    let named = planned_from(&facts, StateSource::Member("e1".into())).unwrap();
    assert!(named.restores());
}

/// While a quorum holds, nothing happens to the members that are well.
#[test]
fn replacing_a_member_touches_no_other() {
    let mut replaced = 0;
    for (case, facts) in cases::all() {
        let Ok(plan) = planned(&facts) else { continue };
        let learner = plan.steps.iter().find_map(|step| match &step.action {
            Action::AddLearner { member } => Some(member),
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
    let apiserver = facts.inventory.kubernetes.masters["m2"].apiserver.clone();
    let fenced = |facts: &Facts| {
        let plan = planned(facts).unwrap();
        plan.steps.iter().any(|step| {
            let Action::Fence { services } = &step.action else { return false };
            services.iter().any(|fenced| fenced.service == apiserver && step.holds_until.is_some())
        })
    };
    assert!(fenced(&facts));
    let well = facts.masters["m1"].readyz.clone();
    facts.masters.get_mut("m2").unwrap().readyz = well;
    assert!(!fenced(&facts));
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
