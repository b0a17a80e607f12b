//! Where the state of a restore can come from, and which of it is taken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lifeboat_etcd::EntryId;

use crate::facts::{DataDir, Facts, MemberFacts};
use crate::plan::{Candidate, StateSource};

use super::identity::{OwnIdentity, ensure_one_cluster};
use super::{Draft, PlanError, Snapshot, Snapshots};

/// By so many revisions a restore raises the revision, so that clients read again.
const BUMP: i64 = 1_000_000_000;

/// Every place the state could come from, the freshest first.
///
/// Members of one cluster order as raft elects: their whole logs are taken, and what the end of one adds to its revision
/// is not known here. A snapshot is always older than the member it was taken from, so members go first.
pub(super) fn candidates(facts: &Facts, snapshots: &[Snapshot]) -> Vec<Candidate> {
    let mut members: Vec<(EntryId, Candidate)> =
        facts.members.keys().filter_map(|name| member_candidate(facts, name)).collect();
    members.sort_by_key(|(last, candidate)| std::cmp::Reverse((candidate.revision.is_some(), *last)));
    let own = OwnIdentity::of(facts);
    let mut snapshots: Vec<Candidate> =
        snapshots.iter().map(|snapshot| snapshot_candidate(&own, snapshot)).collect();
    snapshots.sort_by_key(|candidate| {
        (candidate.foreign, std::cmp::Reverse((candidate.revision, candidate.newest)))
    });
    let mut all: Vec<Candidate> = members.into_iter().map(|(_, candidate)| candidate).collect();
    all.append(&mut snapshots);
    // Revisions are counted within one history only.
    let ours = |candidate: &&Candidate| !candidate.foreign;
    let newest = all.iter().filter(ours).filter_map(|candidate| candidate.revision).max();
    let beyond = beyond(facts);
    for candidate in all.iter_mut().filter(|candidate| !candidate.foreign) {
        if let (Some(revision), Some(newest)) = (candidate.revision, newest) {
            candidate.remark = loss(revision, newest, &candidate.source, &beyond);
        }
    }
    all
}

/// What may be newer than all that can be read, one line each.
fn beyond(facts: &Facts) -> Vec<String> {
    let with = |is: fn(&DataDir) -> bool| {
        let has = |member: &&MemberFacts| member.data_dir.get().is_some_and(is);
        let names = facts.members.iter().filter(|(_, member)| has(member)).map(|(name, _)| name.as_str());
        Some(names.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
    };
    let damaged = with(|dir| matches!(dir, DataDir::Damaged(_)));
    let absent = with(|dir| matches!(dir, DataDir::Absent));
    let damaged =
        damaged.map(|names| format!("loses what {names} may hold beyond it: lifeboat salvage tells"));
    let absent = absent.map(|names| {
        format!("loses what {names} held beyond it: look first whether a disk is only not mounted")
    });
    damaged.into_iter().chain(absent).collect()
}

fn member_candidate(facts: &Facts, name: &str) -> Option<(EntryId, Candidate)> {
    let member = facts.members.get(name)?;
    let none = EntryId::default();
    let candidate = |last, revision, remark: String| {
        let source = StateSource::Member(name.into());
        (last, Candidate { source, revision, newest: None, chosen: false, foreign: false, remark })
    };
    if let Some(why) = serves_another_state(facts, member) {
        return Some(candidate(none, None, why));
    }
    if let Some(status) = member.status.get() {
        // Its data dir is read once it is fenced; the revision it serves now is the least that must be found.
        let learner = status.learner.then(|| "a learner".to_owned());
        let revision = learner.is_none().then_some(status.revision);
        let last = EntryId { term: status.raft_term, index: status.raft_index };
        return Some(candidate(last, revision, learner.unwrap_or_default()));
    }
    Some(match (member.data_dir.get(), member.data_dir.why_unknown()) {
        (Some(DataDir::Sound(state)), _) if state.keys == 0 => {
            candidate(none, None, "holds no keys: it was begun anew".into())
        }
        (Some(DataDir::Sound(state)), _) => {
            // The db counts as it is where the log ends before it.
            let index = state.db_index.map_or(state.last_index, |db| db.max(state.last_index));
            let last = EntryId { term: state.last_term, index };
            candidate(last, Some(state.revision), String::new())
        }
        (Some(DataDir::Damaged(why)), _) => candidate(none, None, format!("damaged: {}", why.join("; "))),
        (Some(DataDir::Absent), _) => candidate(none, None, "its data dir is gone".into()),
        (Some(DataDir::InUse(_)), _) => {
            candidate(none, None, "runs and does not answer: its data can be read once it is stopped".into())
        }
        (None, why) => candidate(none, None, format!("unknown: {}", why.unwrap_or("not asked"))),
    })
}

/// That a member serves a state that is not this cluster's.
fn serves_another_state(facts: &Facts, member: &MemberFacts) -> Option<String> {
    let identity = member.identity.as_ref()?.get()?;
    (!facts.inventory.kubernetes.owns(identity)).then(|| "serves a state that is not this cluster's".into())
}

fn snapshot_candidate(own: &OwnIdentity<'_>, snapshot: &Snapshot) -> Candidate {
    let source = StateSource::Snapshot(snapshot.path.clone());
    let foreign = snapshot.identity.as_ref().and_then(|identity| own.contradiction(identity));
    let is_foreign = foreign.is_some();
    let (revision, remark) = match &snapshot.revision {
        Ok(revision) => (Some(*revision), foreign.unwrap_or_default()),
        Err(why) => (None, why.clone()),
    };
    Candidate { source, revision, newest: snapshot.written, chosen: false, foreign: is_foreign, remark }
}

fn loss(revision: i64, newest: i64, source: &StateSource, beyond: &[String]) -> String {
    match (newest.saturating_sub(revision), source) {
        // A restore raises revisions by this much: what was written since cannot be counted.
        (lost, _) if lost >= BUMP => "older than a restore: loses every write since before it".into(),
        (0, StateSource::Member(_)) if !beyond.is_empty() => beyond.join("; "),
        (0, StateSource::Member(_)) => "loses nothing that is known".into(),
        (0, StateSource::Snapshot(_)) => "loses every write after it was taken".into(),
        (lost, _) => format!("loses {lost} revisions"),
    }
}

/// Marks the candidate a person has named, else the freshest.
pub(super) fn choose(draft: &mut Draft<'_>) -> Result<(StateSource, Option<i64>), PlanError> {
    let wanted = draft.options.source.as_ref();
    let fits = |candidate: &&mut Candidate| match wanted {
        Some(source) => candidate.source == *source,
        None => candidate.revision.is_some() && !candidate.foreign,
    };
    if wanted.is_none() {
        apart(draft.facts, &draft.candidates)?;
        undecided(&draft.candidates)?;
        ensure_one_cluster(draft)?;
        unread(draft.facts, &draft.candidates)?;
    }
    let chosen = draft.candidates.iter_mut().find(fits);
    match (chosen, wanted) {
        (Some(candidate), _) if candidate.revision.is_some() => {
            candidate.chosen = true;
            Ok((candidate.source.clone(), candidate.revision))
        }
        (Some(candidate), Some(source)) => {
            Err(PlanError::BadSource(source.clone(), candidate.remark.clone()))
        }
        (None, Some(source)) => {
            Err(PlanError::BadSource(source.clone(), "no such member or snapshot".into()))
        }
        (_, None) => Err(PlanError::NoSource),
    }
}

/// A member that has started again and finds no quorum answers nobody and holds its data dir, which is not read meanwhile:
/// all it ever acknowledged may be in it. Only a log that ends before what would be restored, or that holds no more than a
/// new member writes at its first start, is known to add nothing.
fn unread(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    let usable = |candidate: &&Candidate| candidate.revision.is_some() && !candidate.foreign;
    let Some(chosen) = candidates.iter().find(usable) else { return Ok(()) };
    let held = match &chosen.source {
        StateSource::Member(name) => facts.members.get(name).and_then(last_index).unwrap_or_default(),
        StateSource::Snapshot(_) => 0,
    };
    let members = &facts.inventory.etcd.members;
    // The members, and the first entry of a leader.
    let first_start = u64::try_from(members.len()).unwrap_or(u64::MAX).saturating_add(1);
    let may_add = |name: &&String| {
        let Some(member) = facts.members.get(*name).filter(|member| member.status.get().is_none()) else {
            return false;
        };
        match member.data_dir.get() {
            Some(DataDir::InUse(Some(log))) => log.last_index > held.max(first_start),
            // Its log cannot be read either.
            Some(DataDir::InUse(None)) => true,
            _ => false,
        }
    };
    match members.keys().find(may_add).and_then(|name| Some((name, members.get(name)?))) {
        Some((name, spec)) => Err(PlanError::Unread {
            member: name.clone(),
            host: spec.host.clone(),
            service: spec.service.label().to_owned(),
            chosen: chosen.source.clone(),
        }),
        None => Ok(()),
    }
}

/// Index of the last entry that a member is known to hold.
fn last_index(member: &MemberFacts) -> Option<u64> {
    match (member.status.get(), member.data_dir.get()) {
        (Some(status), _) => Some(status.raft_index),
        (None, Some(DataDir::Sound(state))) => Some(state.last_index),
        _ => None,
    }
}

/// Raft's terms order the members of one cluster alone: one that was begun anew in between counts from the start.
fn apart(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    let readable = candidates.iter().filter_map(|candidate| {
        let StateSource::Member(name) = &candidate.source else { return None };
        Some((name, candidate.revision?, facts.members.get(name)?.cluster_id()?))
    });
    let readable: Vec<_> = readable.collect();
    let clusters: BTreeSet<&str> = readable.iter().map(|(_, _, cluster)| *cluster).collect();
    if clusters.len() < 2 {
        return Ok(());
    }
    let said =
        readable.iter().map(|(name, revision, id)| format!("{name} at revision {revision} of cluster {id}"));
    Err(PlanError::Apart(said.collect::<Vec<_>>().join(", ")))
}

/// A member holds all that its snapshots do. One that holds less was begun anew, or restored from something older still:
/// which state is right then, only people know.
fn undecided(candidates: &[Candidate]) -> Result<(), PlanError> {
    let first = |of: fn(&Candidate) -> bool| {
        let ours = candidates.iter().filter(|candidate| of(candidate) && !candidate.foreign);
        ours.filter_map(|candidate| Some((candidate, candidate.revision?))).next()
    };
    let member = first(|candidate| matches!(candidate.source, StateSource::Member(_)));
    let snapshot = first(|candidate| matches!(candidate.source, StateSource::Snapshot(_)));
    match (member, snapshot) {
        (Some((member, held)), Some((snapshot, saved))) if saved > held => Err(PlanError::Undecided {
            member: member.source.clone(),
            held,
            snapshot: snapshot.source.clone(),
            saved,
        }),
        _ => Ok(()),
    }
}

/// Finds the snapshots to choose from. Where nothing tells this cluster from one whose nodes have the same names, two are
/// read, so that they can be compared.
pub(crate) fn find_snapshots(facts: &Facts, places: &[PathBuf], named: Option<&Path>) -> Snapshots {
    let own = OwnIdentity::of(facts);
    let enough = if own.is_certain() { 1 } else { 2 };
    Snapshots::find(places, named, enough, |identity| own.contradiction(identity).is_none())
}
