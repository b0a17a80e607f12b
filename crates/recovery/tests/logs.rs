//! What is planned where members' dbs cannot be used and their logs can: no write that a disk holds is passed over.

mod cluster;

use std::path::PathBuf;

use lifeboat_recovery::facts::{
    Damage, DataDir, DataDirState, Facts, KeyChange, LogState, Readable, Snapshot, SnapshotIdentity,
    Snapshots, Uncommitted,
};
use lifeboat_recovery::plan::{Action, Base, Candidate, Plan, StateSource};
use lifeboat_recovery::planner::{PlanError, PlanOptions, fingerprint, plan};
use lifeboat_recovery::rules::diagnose;

use cluster::{Builder, CLUSTER_ID, MEMBERS, cases, log_of, member_id, sound};

const NIGHTLY: &str = "/backups/nightly.db";

/// A broken db, and a log with these entries, the last of them of the cluster's term.
fn broken_db(member: &str, first_index: u64, last_index: u64) -> DataDir {
    let (last_term, first_index) = (Some(7), Some(first_index));
    let log = LogState { last_term, first_index, ..log_of(CLUSTER_ID, &member_id(member), last_index) };
    let why = vec!["db page 17: expected a leaf, found page type 0".into()];
    DataDir::Damaged(Damage { why, readable: None, log: Some(log) })
}

/// Every member's db is broken; the logs have these entries.
fn all_broken(logs: [(u64, u64); 3]) -> Facts {
    let members = MEMBERS.iter().zip(logs);
    members
        .fold(Builder::healthy(), |all, (name, (first, last))| {
            all.member_stopped(name, broken_db(name, first, last))
        })
        .etcd_lost()
        .0
}

/// A snapshot of this cluster, or of one with other members.
fn snapshot(raft_index: u64, member_ids: &[String]) -> Snapshot {
    Snapshot {
        path: NIGHTLY.into(),
        written: None,
        size: 80 << 20,
        revision: Ok(400),
        raft_index: Some(raft_index),
        identity: Some(SnapshotIdentity {
            members: MEMBERS.iter().map(|name| (*name).to_owned()).collect(),
            member_ids: member_ids.to_vec(),
            ..SnapshotIdentity::default()
        }),
    }
}

fn ids() -> Vec<String> {
    MEMBERS.iter().map(|name| member_id(name)).collect()
}

fn planned(facts: &Facts, snapshots: Vec<Snapshot>, source: Option<&str>) -> Result<Plan, PlanError> {
    let snapshots = Some(Snapshots { read: snapshots, ..Snapshots::default() });
    let facts = Facts { snapshots, ..facts.clone() };
    let options = PlanOptions {
        id: "20261124-030000-abcd".into(),
        source: source.map(|text| StateSource::parse(text).unwrap()),
        ..PlanOptions::default()
    };
    plan(&facts, &diagnose(&facts), &options)
}

fn chosen(plan: &Plan) -> &Candidate {
    plan.candidates.iter().find(|candidate| candidate.chosen).unwrap()
}

fn on_nightly(member: &str) -> StateSource {
    StateSource::Log { member: member.into(), base: Base::Snapshot(PathBuf::from(NIGHTLY)) }
}

fn remark<'a>(plan: &'a Plan, source: &StateSource) -> &'a str {
    &plan.candidates.iter().find(|candidate| candidate.source == *source).unwrap().remark
}

#[test]
fn the_log_that_goes_furthest_is_read_on_top_of_the_snapshot() {
    let facts = all_broken([(5_001, 52_310), (4_001, 52_312), (5_001, 52_290)]);
    let plan = planned(&facts, vec![snapshot(5_500, &ids())], None).unwrap();
    let taken = chosen(&plan);
    assert_eq!(taken.source, on_nightly("m2"));
    assert_eq!(taken.combination.as_deref(), Some("nightly.db at raft 5500 + m2's log to 52312"));
    assert_eq!(taken.remark, "loses nothing that is known");
    assert_eq!(remark(&plan, &on_nightly("e1")), "loses entries 52311 to 52312 of the log");
    let alone = StateSource::Snapshot(NIGHTLY.into());
    assert_eq!(remark(&plan, &alone), "loses every write after it was taken");

    // It is read before anything is stopped: one that does not go on from the snapshot costs nothing.
    let [preflight, distribute, ..] = plan.steps.as_slice() else { panic!() };
    assert_eq!(preflight.action, Action::Preflight);
    let Action::Distribute { source, revision, .. } = &distribute.action else { panic!("{distribute:?}") };
    assert_eq!((source, *revision), (&on_nightly("m2"), Some(400)), "less than the snapshot has is wrong");
    assert!(distribute.title.starts_with("Read m2's log on top of /backups/nightly.db"));
    assert!(plan.steps.iter().any(|step| matches!(step.action, Action::ConfirmState { .. })));
}

#[test]
fn a_combination_and_its_parts_can_be_named() {
    let facts = all_broken([(5_001, 52_310), (4_001, 52_312), (5_001, 52_290)]);
    let from = |text: &str| planned(&facts, vec![snapshot(5_500, &ids())], Some(text));
    for (named, expected) in [
        ("/backups/nightly.db", StateSource::Snapshot(NIGHTLY.into())),
        ("/backups/nightly.db+member:e1", on_nightly("e1")),
        ("member:e1", on_nightly("e1")),
    ] {
        let plan = from(named).unwrap();
        assert_eq!(chosen(&plan).source, expected, "{named}");
        assert_eq!(plan.source.unwrap().to_string(), named);
    }
    let error = from("member:m3+member:e1").unwrap_err().to_string();
    assert!(error.contains("the log of e1 does not continue it"), "{error}");
    for wrong in ["member:", "/backups/nightly.db+member:"] {
        assert!(StateSource::parse(wrong).is_err(), "{wrong}");
    }
}

/// Entries that are missing between, a snapshot that has more, and one of another cluster.
#[test]
fn a_log_is_not_read_on_top_of_what_it_does_not_go_on_from() {
    let others = ["aaaa", "bbbb"].map(str::to_owned);
    let logs = [(6_000, 52_310), (6_000, 52_312), (6_000, 52_290)];
    for (snapshot, why) in [
        (snapshot(5_500, &ids()), "its log has entries 6000 to 52312, nightly.db ends at 5500"),
        (snapshot(60_000, &ids()), "its log ends at entry 52312, nightly.db at 60000"),
        (snapshot(7_000, &others), "its log has entries 6000 to 52312, which no known state leads to"),
    ] {
        let plan = planned(&all_broken(logs), vec![snapshot], None).unwrap();
        assert_eq!(chosen(&plan).source, StateSource::Snapshot(NIGHTLY.into()), "{why}");
        let remark = remark(&plan, &StateSource::Member("m2".into()));
        assert!(remark.starts_with("damaged: db page 17") && remark.ends_with(why), "{remark}");
    }
    // The last entry before the log is enough.
    let plan = planned(&all_broken(logs), vec![snapshot(5_999, &ids())], None).unwrap();
    assert_eq!(chosen(&plan).source, on_nightly("m2"));
}

/// A log that begins with its cluster, or one that came with a db of its own, needs nothing else.
#[test]
fn a_log_that_needs_nothing_else_is_read_by_itself() {
    let mut facts = all_broken([(1, 52_310), (5_001, 52_310), (5_001, 52_290)]);
    let DataDir::Sound(state) = sound("e1", 41_200) else { panic!() };
    let state = DataDirState { kubernetes: None, ..state };
    let member = facts.members.get_mut("e1").unwrap();
    let DataDir::Damaged(damage) = cluster::value(&mut member.data_dir) else { panic!() };
    let combination = Some("etcd's log to 52310, from its first entry on".to_owned());
    *damage = Damage { readable: Some(Readable { state, combination }), ..damage.clone() };
    for snapshots in [vec![], vec![snapshot(5_500, &ids())]] {
        let plan = planned(&facts, snapshots, None).unwrap();
        let taken = chosen(&plan);
        assert_eq!((&taken.source, taken.revision), (&StateSource::Member("e1".into()), Some(41_200)));
        assert_eq!(taken.combination.as_deref(), Some("e1's log to 52310, from its first entry on"));
        assert_eq!(taken.remark, "loses nothing that is known");
        assert!(matches!(plan.steps[1].action, Action::Distribute { .. }), "{:?}", plan.steps[1]);
    }
}

/// One member is sound, and the others' logs have more.
fn one_sound(db_index: Option<u64>, first_index: u64) -> Facts {
    let DataDir::Sound(state) = sound("e1", 41_190) else { panic!() };
    let behind = DataDir::Sound(DataDirState { db_index, ..state });
    let all = Builder::healthy().member_stopped("e1", behind);
    let all = all.member_stopped("m2", broken_db("m2", first_index, 52_310));
    all.member_stopped("m3", broken_db("m3", first_index, 52_290)).etcd_lost().0
}

#[test]
fn a_log_that_goes_further_than_every_sound_member_is_not_passed_over() {
    let e1 = || StateSource::Member("e1".into());
    let plan = planned(&one_sound(Some(52_000), 50_000), vec![], None).unwrap();
    let on_e1 = StateSource::Log { member: "m2".into(), base: Base::Member("e1".into()) };
    assert_eq!(chosen(&plan).source, on_e1);
    assert_eq!(chosen(&plan).combination.as_deref(), Some("e1 at raft 52000 + m2's log to 52310"));
    assert_eq!(remark(&plan, &e1()), "loses entries 52301 to 52310 of the log");

    // Without a state to read it on top of, a person is asked.
    let apart = one_sound(Some(48_000), 50_000);
    let refused = planned(&apart, vec![], None);
    let Err(PlanError::Further { member, last, chosen: passed, .. }) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!((member.as_str(), *last, passed.as_ref()), ("m2", 52_310, &e1()));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("its log has entries 50000 to 52310, e1 ends at 48000"), "{text}");
    assert!(planned(&apart, vec![], Some("member:e1")).is_ok_and(|plan| chosen(&plan).source == e1()));
}

/// A member that serves knows less to be committed than its log has: its log is asked, not its word.
#[test]
fn a_serving_member_ranks_by_its_log() {
    let chosen_with = |own: Option<u64>| {
        let all = Builder::healthy().member_stopped("m2", broken_db("m2", 50_000, 52_311));
        let mut facts = all.member_stopped("m3", DataDir::Absent).etcd_lost().0;
        let log = |last| LogState { last_term: Some(7), ..log_of(CLUSTER_ID, &member_id("e1"), last) };
        facts.members.get_mut("e1").unwrap().log = own.map(|last| cluster::known("ssh e1: log", log(last)));
        chosen(&planned(&facts, vec![], None).unwrap()).source.to_string()
    };
    assert_eq!(chosen_with(None), "member:e1+member:m2", "it knows entry 52310 to be committed");
    assert_eq!(chosen_with(Some(52_311)), "member:e1");
    assert_eq!(chosen_with(Some(52_310)), "member:e1+member:m2");
}

#[test]
fn what_a_log_holds_is_part_of_what_a_plan_rests_on() {
    let print = |last| {
        let facts = all_broken([(5_001, last), (5_001, 52_310), (5_001, 52_310)]);
        fingerprint(&facts, &diagnose(&facts))
    };
    assert_ne!(print(52_310), print(52_311));
}

/// Facts that were recorded before logs were looked at have reasons alone.
#[test]
fn damage_is_read_as_it_was_recorded() {
    for (case, facts) in cases::all() {
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts, "{case}");
        assert!(!text.contains(r#"{"damaged":{"#), "{case}: nothing is known of a log");
    }
    let old: DataDir = serde_json::from_str(r#"{"damaged":["page 9"]}"#).unwrap();
    assert_eq!(old, DataDir::Damaged(vec!["page 9".to_owned()].into()));
    assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"damaged":["page 9"]}"#);
    let new = broken_db("e1", 5, 9);
    let text = serde_json::to_string(&new).unwrap();
    assert_eq!(serde_json::from_str::<DataDir>(&text).unwrap(), new, "{text}");
}

/// What one member's log ends with may have been told to nobody; what a majority's logs hold was committed.
#[test]
fn a_choice_lists_the_writes_that_no_majority_is_known_to_hold() {
    let change = |key: &str, deleted| KeyChange { key: key.into(), deleted };
    let own = Uncommitted {
        first: 52_309,
        last: 52_310,
        changes: vec![change("/registry/pods/default/a", false), change("/registry/pods/default/b", true)],
        further_changes: 0,
        known: true,
    };
    let listed = |ends: [Option<u64>; 2]| {
        let DataDir::Sound(state) = sound("e1", 41_200) else { panic!() };
        assert_eq!(state.last_index, 52_310);
        let e1 = DataDir::Sound(DataDirState { uncommitted: Some(own.clone()), ..state });
        let others = ["m2", "m3"].into_iter().zip(ends);
        let all = others.fold(Builder::healthy().member_stopped("e1", e1), |all, (name, end)| {
            let dir = end.map_or(DataDir::Absent, |last| broken_db(name, 50_000, last));
            all.member_stopped(name, dir)
        });
        chosen(&planned(&all.etcd_lost().0, vec![], None).unwrap()).uncommitted.clone()
    };
    assert_eq!(listed([None, None]), Some(own.clone()));
    assert_eq!(listed([Some(52_308), None]), Some(own.clone()));
    let last = Uncommitted { first: 52_310, changes: vec![], known: false, ..own.clone() };
    assert_eq!(listed([Some(52_309), None]), Some(last));
    assert_eq!(listed([Some(52_310), None]), None);
}
