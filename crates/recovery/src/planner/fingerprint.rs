//! What a plan rests on, in a form that can be compared later.

use std::collections::BTreeMap;

use crate::facts::{DataDir, Facts, MemberFacts};
use crate::finding::Diagnosis;

/// Something a plan rests on that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Name of the value.
    pub what: String,
    /// As it was when the plan was made.
    pub was: String,
    /// As it is now.
    pub is: String,
}

/// What a plan from these facts rests on: the causes it treats, the machines being the same machines, and what
/// each member holds. Not in it is what changes by itself without changing the plan, such as times and free space.
pub fn fingerprint(facts: &Facts, diagnosis: &Diagnosis) -> BTreeMap<String, String> {
    let mut print = BTreeMap::new();
    for cause in &diagnosis.causes {
        print.insert(format!("finding {}", cause.id), cause.subjects.join(", "));
    }
    for (name, host) in &facts.hosts {
        if let Some(id) = host.machine_id.get() {
            print.insert(format!("machine id of {name}"), id.clone());
        }
    }
    for (name, member) in &facts.members {
        print.insert(format!("etcd member {name}"), held(member));
    }
    print
}

fn held(member: &MemberFacts) -> String {
    if let Some(status) = member.status.get() {
        return format!("member {} of cluster {}", status.member_id, status.cluster_id);
    }
    match member.data_dir.get() {
        Some(DataDir::Sound(state)) => {
            format!("stopped, cluster {} at revision {}", state.cluster_id, state.revision)
        }
        Some(DataDir::Damaged(damage)) => match &damage.log {
            Some(log) => format!("damaged, log of cluster {} to entry {}", log.cluster_id, log.last_index),
            None => "damaged".into(),
        },
        Some(DataDir::Absent) => "no data".into(),
        Some(DataDir::InUse(_)) => "running without an answer".into(),
        None => "unknown".into(),
    }
}

/// What differs between the time of a plan and now.
pub fn drift(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Vec<Drift> {
    let nothing = || "-".to_owned();
    let whats: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    whats
        .into_iter()
        .filter(|what| was.get(*what) != is.get(*what))
        .map(|what| Drift {
            what: what.clone(),
            was: was.get(what).cloned().unwrap_or_else(nothing),
            is: is.get(what).cloned().unwrap_or_else(nothing),
        })
        .collect()
}
