//! What is planned from the recorded facts, and what no plan may ever do.

mod cluster;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use lifeboat_recovery::facts::Facts;
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

/// Machines whose services, data or power a step changes.
fn touched(action: &Action) -> BTreeSet<String> {
    let services = |services: &[HostService]| services.iter().map(|service| service.host.clone()).collect();
    match action {
        Action::Fence { services: all }
        | Action::Release { services: all }
        | Action::Start { services: all }
        | Action::Restart { services: all } => services(all),
        Action::RecoverNodes { hosts } => hosts.iter().cloned().collect(),
        Action::AttachNic { host, .. } | Action::StartVm { host, .. } => [host.clone()].into(),
        _ => BTreeSet::new(),
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
        let Ok(plan) = planned(&facts) else { continue };
        for step in &plan.steps {
            let touched = touched(&step.action);
            assert!(!wrong.iter().any(|host| touched.contains(*host)), "{case}: {}", step.title);
        }
    }
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
