//! What recorded facts are diagnosed as.

mod cluster;
mod recorded;

use std::collections::BTreeSet;
use std::fmt::Write;

use lifeboat_recovery::facts::Facts;
use lifeboat_recovery::finding::{Diagnosis, Finding, FindingId, Remedy};
use lifeboat_recovery::rules::diagnose;
use lifeboat_recovery::single_points_of_failure::single_points_of_failure;

use cluster::cases;

/// The files are what the builder makes; `LIFEBOAT_RECORD=1 cargo test recorded_facts` writes them.
#[test]
fn recorded_facts_are_those_of_the_builder() {
    for (case, facts) in cases::all() {
        let text = serde_json::to_string_pretty(&facts).unwrap() + "\n";
        if std::env::var_os("LIFEBOAT_RECORD").is_some() {
            fs_err::write(recorded::file(case), &text).unwrap();
        }
        assert_eq!(
            fs_err::read_to_string(recorded::file(case)).unwrap(),
            text,
            "{case}: run this test with LIFEBOAT_RECORD=1"
        );
    }
}

#[test]
fn every_case_is_diagnosed_as_recorded() {
    for (case, facts) in recorded::all() {
        insta::with_settings!({ snapshot_path => "diagnoses", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(case, text(&diagnose(&facts)));
        });
    }
}

/// A diagnosis with all that the planner sees of it.
fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    diagnosis.causes.iter().for_each(|cause| finding(&mut out, cause, 0));
    for unknown in &diagnosis.unknown {
        writeln!(out, "unknown: {}: {}", unknown.what, unknown.reason).unwrap();
    }
    if out.is_empty() { "nothing found\n".into() } else { out }
}

fn finding(out: &mut String, finding: &Finding, depth: usize) {
    let indent = "  ".repeat(depth);
    let Finding { id, subjects, severity, summary, evidence, blocks, remedies, consequences } = finding;
    writeln!(out, "{indent}{severity} {id} [{}]: {summary}", subjects.join(" ")).unwrap();
    evidence.iter().for_each(|seen| writeln!(out, "{indent}    {} ({})", seen.seen, seen.source).unwrap());
    blocks.iter().for_each(|block| writeln!(out, "{indent}    blocks: {block}").unwrap());
    for remedy in remedies {
        writeln!(out, "{indent}    remedy: {}", serde_json::to_string(remedy).unwrap()).unwrap();
    }
    consequences.iter().for_each(|below| self::finding(out, below, depth + 1));
}

/// The ids of the causes of a case.
fn causes(facts: &Facts) -> Vec<&'static str> {
    diagnose(facts).causes.iter().map(|cause| cause.id.as_str()).collect()
}

#[test]
fn the_incident_has_one_cause_with_or_without_a_cloud_to_ask() {
    let cases = cases::all();
    assert_eq!(causes(&cases["incident"]), ["nic.missing"]);
    assert_eq!(causes(&cases["incident-without-cloud"]), ["host.unreachable"]);
    assert!(diagnose(&cases["incident"]).unknown.is_empty());
}

/// Facts nobody could ask for are no failure: at most the cloud, which is there to be asked, is one.
#[test]
fn what_is_unknown_is_neither_well_nor_broken() {
    let mut json = serde_json::to_value(&cases::all()["healthy"]).unwrap();
    forget(&mut json);
    let facts: Facts = serde_json::from_value(json).unwrap();
    let diagnosis = diagnose(&facts);
    assert_eq!(causes(&facts), ["cloud.unreachable"]);
    assert!(diagnosis.unknown.iter().any(|unknown| unknown.what.starts_with("etcd member e1")));
    assert!(diagnosis.unknown.iter().any(|unknown| unknown.what.contains("nodes")));
}

/// Where there is no cloud to ask, nothing known is no finding at all, and yet nothing is well.
#[test]
fn a_cluster_of_which_nothing_is_known_is_not_healthy() {
    let mut json = serde_json::to_value(&cases::all()["healthy"]).unwrap();
    forget(&mut json);
    json["inventory"].as_object_mut().unwrap().remove("cloud");
    json.as_object_mut().unwrap().remove("cloud");
    let diagnosis = diagnose(&serde_json::from_value(json).unwrap());
    assert_eq!(diagnosis.causes, []);
    assert!(!diagnosis.is_healthy());
    for (case, facts) in cases::all() {
        let diagnosis = diagnose(&facts);
        assert_eq!(
            diagnosis.is_healthy(),
            diagnosis.causes.is_empty() && diagnosis.unknown.is_empty(),
            "{case}"
        );
    }
}

/// Makes every fact below unknown; tells whether there was one.
fn forget(json: &mut serde_json::Value) {
    if let Some(object) = json.as_object_mut() {
        if object.contains_key("source") && object.remove("value").is_some() {
            object.insert("unknown".into(), "not asked".into());
            return;
        }
        object.values_mut().for_each(forget);
    }
}

/// Whatever else is wrong, nothing is done on a machine that may be another one.
#[test]
fn no_remedy_touches_a_machine_that_is_not_known_to_be_the_right_one() {
    for (case, facts) in cases::all() {
        for host in ["m2", "m3", "n1"] {
            let mut facts = facts.clone();
            if facts.hosts[host].machine_id.get().is_none() {
                continue;
            }
            let id = &mut facts.hosts.get_mut(host).unwrap().machine_id;
            *cluster::value(id) = "c0ffee00c0ffee00c0ffee00c0ffee00".into();
            for finding in diagnose(&facts).all() {
                for remedy in &finding.remedies {
                    assert!(!touches(remedy, host), "{case}: {host} is another machine: {remedy:?}");
                }
            }
        }
    }
}

fn touches(remedy: &Remedy, name: &str) -> bool {
    match remedy {
        Remedy::StartService { host, .. }
        | Remedy::RestartService { host, .. }
        | Remedy::EnableService { host, .. }
        | Remedy::RecoverNode { host } => host == name,
        Remedy::ReplaceMember { member } => member == name,
        Remedy::RestoreCluster => name.starts_with('m'),
        Remedy::AttachNics { .. }
        | Remedy::StartVm { .. }
        | Remedy::ClearNospace { .. }
        | Remedy::DisarmCorrupt { .. }
        | Remedy::NameState(_)
        | Remedy::Manual(_) => false,
    }
}

/// A finding nobody can do anything about helps nobody.
#[test]
fn every_diagnosis_says_what_would_help() {
    for (case, facts) in cases::all() {
        let diagnosis = diagnose(&facts);
        let helps = diagnosis.all().iter().any(|finding| !finding.remedies.is_empty());
        assert!(helps || diagnosis.causes.is_empty(), "{case}");
    }
}

/// A restore loses what no snapshot holds: it is never offered where starting what is stopped may do.
#[test]
fn a_restore_is_offered_only_where_no_quorum_can_be_started() {
    let offered: Vec<&str> = cases::all()
        .iter()
        .filter(|(_, facts)| {
            diagnose(facts).all().iter().any(|finding| finding.remedies.contains(&Remedy::RestoreCluster))
        })
        .map(|(case, _)| *case)
        .collect();
    let expected = [
        "all-data-gone",
        "all-data-gone-and-one-dangling-link",
        "all-re-initialized",
        "fenced",
        "learner-and-a-voter-destroyed",
        "members-older-than-the-snapshot",
        "readded-member",
        "two-corrupt",
    ];
    assert_eq!(offered, expected);
}

/// Ids are API, and so is that each is found by some rule.
#[test]
fn every_id_is_found_in_some_case() {
    let found: BTreeSet<FindingId> = recorded::all()
        .iter()
        .flat_map(|(_, facts)| diagnose(facts).all().iter().map(|f| f.id).collect::<Vec<_>>())
        .collect();
    let missing: Vec<_> = FindingId::ALL.iter().filter(|id| !found.contains(id)).collect();
    assert_eq!(missing, Vec::<&FindingId>::new());
}

#[test]
fn what_rests_on_one_thing_alone_is_named_while_all_is_well() {
    let mut facts = cases::all()["healthy"].clone();
    let points = |facts: &Facts| single_points_of_failure(facts).join("\n");
    let healthy = points(&facts);
    for named in ["only nfs has the role nfs", "IP range reserved", "no snapshots"] {
        assert!(healthy.contains(named), "{healthy}");
    }
    assert!(!healthy.contains("control plane machine") && !healthy.contains("losing"), "{healthy}");
    facts.inventory.kubernetes.control_plane.retain(|name, _| name == "m1");
    facts.inventory.etcd.members.values_mut().for_each(|member| member.host = "e1".into());
    facts.inventory.snapshots = vec!["/backup".into()];
    let weak = points(&facts);
    for named in ["m1 is the only control plane machine", "e1 carries 3 etcd members"] {
        assert!(weak.contains(named), "{weak}");
    }
    assert!(!weak.contains("snapshots"), "{weak}");
    assert!(points(&cases::all()["member-destroyed"]).contains("etcd has 2 of 3 members"));
}
