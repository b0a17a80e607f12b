//! Where the state of a restore can come from, and which of it is taken.

use std::collections::BTreeSet;

use lifeboat_etcd::EntryId;

use crate::facts::{
    Damage, DataDir, Fact, Facts, MemberFacts, NO_MEMBER, Readable, ServiceState, Snapshot, has_corrupt_alarm,
};
use crate::plan::{Candidate, StateSource};

use super::identity::{OwnIdentity, ensure_one_cluster};
use super::log::Bases;
use super::uncommitted::uncommitted;
use super::{Draft, PlanError, unexamined};

/// By so many revisions a restore raises the revision, so that clients read again.
const BUMP: i64 = 1_000_000_000;

/// A candidate, and what it ranks by.
struct Ranked {
    /// The last entry that it has, where it is a member's.
    last: Option<EntryId>,
    candidate: Candidate,
}

impl Ranked {
    /// Members of one cluster order as raft elects. Of two that have come as far, one without a CORRUPT alarm goes first, then
    /// one that needs nothing else.
    fn rank(&self, facts: &Facts) -> (bool, Option<EntryId>, bool, u8) {
        let alone = match &self.candidate {
            Candidate { source: StateSource::Log { .. }, .. } => 0,
            Candidate { combination: Some(_), .. } => 1,
            _ => 2,
        };
        (self.candidate.is_usable(), self.last, !is_doubted(facts, &self.candidate), alone)
    }
}

/// All sources of the state, the most recent first.
///
/// Members of one cluster order as raft elects: their whole logs are taken, and what the end of one adds to its revision
/// is not known here. A snapshot is always older than the member it was taken from, so members go first.
pub(super) fn candidates(facts: &Facts) -> Vec<Candidate> {
    let own = OwnIdentity::of(facts);
    let bases = Bases { facts, own: &own };
    let of_member = |name: &String| member_candidates(&bases, name);
    let mut members: Vec<Ranked> = facts.members.keys().flat_map(of_member).collect();
    members.sort_by_key(|ranked| std::cmp::Reverse(ranked.rank(facts)));
    let mut snapshots: Vec<Ranked> = facts
        .known_snapshots()
        .iter()
        .map(|snapshot| Ranked { last: None, candidate: snapshot_candidate(&own, snapshot) })
        .collect();
    snapshots.sort_by_key(|Ranked { candidate, .. }| {
        (candidate.foreign, std::cmp::Reverse((candidate.revision, candidate.newest)))
    });
    members.append(&mut snapshots);
    let remarks: Vec<Option<String>> = members.iter().map(|one| loss(facts, one, &members)).collect();
    let remarked = members.into_iter().zip(remarks).map(|(Ranked { candidate, .. }, loss)| match loss {
        Some(remark) if has_v2_keys(facts, &candidate.source) => {
            Candidate { remark: format!("{remark}; keys of the v2 API are not restored"), ..candidate }
        }
        Some(remark) => Candidate { remark, ..candidate },
        None => candidate,
    });
    remarked.collect()
}

/// Whether a CORRUPT alarm is raised for the member of a candidate, or for one that etcd could not tell: as the members that serve say, or the data of those that
/// do not.
fn is_doubted(facts: &Facts, candidate: &Candidate) -> bool {
    let member = candidate.source.member().and_then(|name| facts.members.get(name));
    let Some(id) = member.and_then(MemberFacts::member_id) else { return false };
    let served = facts.members.values().filter_map(|member| member.alarms.get()).flatten();
    let stored = facts.members.values().filter_map(MemberFacts::readable).flat_map(|state| &state.alarms);
    let alarms = served.chain(stored);
    has_corrupt_alarm(alarms.clone(), id) || has_corrupt_alarm(alarms, NO_MEMBER)
}

fn has_v2_keys(facts: &Facts, source: &StateSource) -> bool {
    let readable = |name| facts.members.get(name)?.readable();
    source.members().filter_map(readable).any(|state| state.v2_keys)
}

/// What a candidate that can be taken lacks of what the others have; revisions are counted within one history only.
fn loss(facts: &Facts, one: &Ranked, all: &[Ranked]) -> Option<String> {
    let Candidate { source, revision, .. } = &one.candidate;
    if one.candidate.foreign || !one.candidate.is_usable() {
        return None;
    }
    let usable = || all.iter().filter(|other| other.candidate.is_usable() && !other.candidate.foreign);
    let furthest =
        usable().filter_map(|other| other.last.map(|last| (last, other))).max_by_key(|(last, _)| *last);
    // Whose revision is not known before it is read.
    let by_log = furthest.filter(|(_, other)| matches!(other.candidate.source, StateSource::Log { .. }));
    let newest = usable().filter_map(|other| other.candidate.revision).max();
    let lost = revision.zip(newest).map(|(revision, newest)| newest.saturating_sub(revision));
    Some(match (lost, source, one.last, by_log) {
        // A restore raises revisions by this much: what was written since cannot be counted.
        (Some(lost), ..) if lost >= BUMP => "older than a restore: loses every write since this state was served, those before the restore too".into(),
        (_, StateSource::Snapshot(_), _, Some(_)) | (Some(0), StateSource::Snapshot(_), ..) => {
            "loses every write after it was taken".into()
        }
        (_, StateSource::Member(_) | StateSource::Log { .. }, Some(last), Some((furthest, _)))
            if last < furthest =>
        {
            match last.term == furthest.term {
                true => {
                    format!("loses entries {} to {} of the log", last.index.saturating_add(1), furthest.index)
                }
                false => format!("ends at entry {} of the older term {}", last.index, last.term),
            }
        }
        (Some(lost), ..) if lost > 0 => format!("loses {lost} revisions"),
        _ => match beyond(facts, one.last) {
            beyond if beyond.is_empty() => "loses nothing that is known".into(),
            beyond => beyond.join("; "),
        },
    })
}

/// What may be newer than all that can be read, one line each.
fn beyond(facts: &Facts, last: Option<EntryId>) -> Vec<String> {
    let with = |is: &dyn Fn(&MemberFacts) -> bool| {
        let names = facts.members.iter().filter(|(_, member)| is(member)).map(|(name, _)| name.as_str());
        Some(names.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
    };
    // Not one whose log is known to end no later.
    let is_behind = |member: &MemberFacts| member.last_entry().is_some_and(|its| Some(its) <= last);
    let damaged =
        with(&|member| matches!(member.data_dir.get(), Some(DataDir::Damaged(_))) && !is_behind(member));
    let absent = with(&|member| matches!(member.data_dir.get(), Some(DataDir::Absent)));
    let damaged = damaged.map(|names| format!("may lose newer data of {names}: lifeboat salvage shows it"));
    let absent =
        absent.map(|names| format!("may lose newer data of {names}: check first for an unmounted disk"));
    damaged.into_iter().chain(absent).collect()
}

fn member_candidates(bases: &Bases<'_>, name: &str) -> Vec<Ranked> {
    let facts = bases.facts;
    let Some(member) = facts.members.get(name) else { return Vec::new() };
    let last = member.last_entry();
    let as_member = |revision, combination, remark: String| {
        let source = StateSource::Member(name.into());
        let candidate = Candidate {
            source,
            revision,
            newest: None,
            chosen: false,
            foreign: false,
            combination,
            uncommitted: uncommitted(facts, name),
            remark,
        };
        vec![Ranked { last: last.filter(|_| revision.is_some()), candidate }]
    };
    let unusable = |why: String| as_member(None, None, why);
    if let Some(why) = serves_another_state(facts, member) {
        return unusable(why);
    }
    if let Some(status) = member.status.get() {
        // Its data dir is read once it is fenced; the revision it serves now is the least that must be found.
        return match status.learner {
            true => unusable("a learner".into()),
            false => as_member(Some(status.revision), None, String::new()),
        };
    }
    match (member.data_dir.get(), member.data_dir.why_unknown()) {
        (Some(DataDir::Sound(state)), _) if state.keys == 0 => {
            unusable("holds no keys: it was re-initialized".into())
        }
        (Some(DataDir::Sound(state)), _) => as_member(Some(state.revision), None, String::new()),
        (Some(DataDir::Damaged(damage)), _) => {
            let why = format!("damaged: {}", damage.why.join("; "));
            match (&damage.readable, &damage.log) {
                (Some(readable), _) if readable.state.keys > 0 => {
                    as_member(Some(readable.state.revision), named(facts, name, readable), String::new())
                }
                (None, Some(log)) => match bases.candidates(name, log) {
                    Ok(all) => all.into_iter().map(|candidate| Ranked { last, candidate }).collect(),
                    Err(no_base) => unusable(format!("{why}; {no_base}")),
                },
                _ => unusable(why),
            }
        }
        (Some(DataDir::Absent), _) => unusable("its data dir is gone".into()),
        (Some(DataDir::InUse(_)), _) => {
            unusable("runs and does not answer: its data can be read once it is stopped".into())
        }
        (None, why) => unusable(format!("unknown: {}", why.unwrap_or("not asked"))),
    }
}

/// What a member's data dir is read as, by the member's name: on its machine that is not known.
fn named(facts: &Facts, name: &str, readable: &Readable) -> Option<String> {
    let dir = facts.inventory.etcd.members.get(name)?.data_dir.file_name()?.to_string_lossy().into_owned();
    let combination = readable.combination.as_ref()?;
    Some(combination.replacen(&format!("{dir}'s log"), &format!("{name}'s log"), 1))
}

/// That a member serves a state that is not this cluster's.
pub(super) fn serves_another_state(facts: &Facts, member: &MemberFacts) -> Option<String> {
    let identity = member.identity.as_ref()?.get()?;
    (!facts.inventory.kubernetes.owns(identity)).then(|| "serves another cluster's state".into())
}

fn snapshot_candidate(own: &OwnIdentity<'_>, snapshot: &Snapshot) -> Candidate {
    let source = StateSource::Snapshot(snapshot.path.clone());
    let foreign = snapshot.identity.as_ref().and_then(|identity| own.contradiction(identity));
    let is_foreign = foreign.is_some();
    let (revision, remark) = match &snapshot.revision {
        Ok(revision) => (Some(*revision), foreign.unwrap_or_default()),
        Err(why) => (None, why.clone()),
    };
    Candidate {
        source,
        revision,
        newest: snapshot.written,
        chosen: false,
        foreign: is_foreign,
        combination: None,
        uncommitted: None,
        remark,
    }
}

/// Marks the candidate of `--source`, else the most recent.
pub(super) fn choose(draft: &mut Draft<'_>) -> Result<(StateSource, Option<i64>), PlanError> {
    let wanted = draft.options.source.as_ref();
    let fits = |candidate: &&mut Candidate| match wanted {
        // Of a member whose db cannot be used, the first of what its log goes on from.
        Some(StateSource::Member(name)) => candidate.source.member() == Some(name),
        Some(source) => candidate.source == *source,
        None => candidate.is_usable() && !candidate.foreign,
    };
    if wanted.is_none() {
        apart(draft.facts, &draft.candidates)?;
        undecided(&draft.candidates)?;
        ensure_one_cluster(draft)?;
        unread(draft.facts, &draft.candidates)?;
        further(draft.facts, &draft.candidates)?;
        corrupt(draft.facts, &draft.candidates)?;
    }
    let revisions: Vec<(StateSource, Option<i64>)> =
        draft.candidates.iter().map(|one| (one.source.clone(), one.revision)).collect();
    let chosen = draft.candidates.iter_mut().find(fits);
    match (chosen, wanted) {
        (Some(candidate), _) if candidate.is_usable() => {
            candidate.chosen = true;
            let least = match &candidate.source {
                // A log adds to what it is read on top of.
                StateSource::Log { base, .. } => {
                    let base = StateSource::from(base.clone());
                    revisions
                        .into_iter()
                        .find(|(source, _)| *source == base)
                        .and_then(|(_, revision)| revision)
                }
                _ => candidate.revision,
            };
            Ok((candidate.source.clone(), least))
        }
        (Some(candidate), Some(source)) => {
            Err(PlanError::BadSource(source.clone(), candidate.remark.clone()))
        }
        (None, Some(source)) => Err(PlanError::BadSource(source.clone(), no_candidate(draft.facts, source))),
        (_, None) => Err(unexamined(draft.facts, None).map_or(PlanError::NoSource, PlanError::Unexamined)),
    }
}

/// Why what a person has named is not a candidate.
fn no_candidate(facts: &Facts, source: &StateSource) -> String {
    let is_known = |path| facts.known_snapshots().iter().any(|snapshot| snapshot.path == path);
    match (source, source.snapshot()) {
        (_, Some(path)) if !is_known(path) => format!(
            "the facts do not include this snapshot; `lifeboat recover plan --source {source} --save-facts FILE` \
             saves facts with it"
        ),
        (StateSource::Log { member, .. }, _) => not_combined(facts, member),
        _ => "no such member".into(),
    }
}

/// Why a member's log is not read on top of what a person has named.
fn not_combined(facts: &Facts, member: &str) -> String {
    match facts.members.get(member).and_then(MemberFacts::damage) {
        None => format!("the db of {member} is not known to be damaged: name member:{member}"),
        Some(Damage { readable: Some(_), .. }) => {
            format!("the state of {member} can be read without another one: name member:{member}")
        }
        Some(_) => format!("the log of {member} does not continue it"),
    }
}

/// A member that has started again and finds no quorum answers nobody and holds its data dir, which is not read meanwhile:
/// all it ever acknowledged may be in it. Only a log that ends before what would be restored, or that holds no more than a
/// new member writes at its first start, is known to add nothing.
fn unread(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    let Some(chosen) = freshest(candidates) else { return Ok(()) };
    let held =
        chosen.source.member().and_then(|name| facts.members.get(name)?.last_entry()).unwrap_or_default();
    let members = &facts.inventory.etcd.members;
    // The members, and the first entry of a leader.
    let first_start = u64::try_from(members.len()).unwrap_or(u64::MAX).saturating_add(1);
    let may_add = |name: &&String| {
        let Some(member) = facts.members.get(*name).filter(|member| member.status.get().is_none()) else {
            return false;
        };
        match member.data_dir.get() {
            Some(DataDir::InUse(Some(log))) => {
                let cut = log.log_ends_before();
                let is_term_known = log.last_term.is_some() && (cut.is_none() || log.db_term.is_some());
                cut.unwrap_or(log.last_index) > first_start
                    && (!is_term_known || log.last().is_none_or(|last| last > held))
            }
            // Its log cannot be read either.
            Some(DataDir::InUse(None)) => true,
            _ => false,
        }
    };
    if let Some((member, why)) = members.keys().find_map(|name| Some((name, unknown(facts, name)?))) {
        let (member, chosen) = (member.clone(), Box::new(chosen.source.clone()));
        return Err(PlanError::Unknown { member, why, chosen });
    }
    match members.keys().find(may_add).and_then(|name| Some((name, members.get(name)?))) {
        Some((name, spec)) => Err(PlanError::Unread {
            member: name.clone(),
            host: spec.host.clone(),
            service: spec.service.label().to_owned(),
            chosen: Box::new(chosen.source.clone()),
        }),
        None => Ok(()),
    }
}

/// Why it is not known what a stopped member holds, on a machine that answers; or how far the log goes of one that serves
/// without a quorum.
fn unknown(facts: &Facts, name: &str) -> Option<String> {
    let member = facts.members.get(name)?;
    if let Some(status) = member.status.get() {
        let unread = member.log.as_ref().filter(|_| !status.learner).and_then(Fact::why_unknown);
        return unread.map(|why| format!("the end of its log is unknown: {why}"));
    }
    let spec = facts.inventory.etcd.members.get(name)?;
    let services = facts.hosts.get(&spec.host)?.services.get()?;
    let is_running = services.get(&spec.service.key()).is_some_and(ServiceState::is_running);
    let why = member.data_dir.why_unknown().filter(|_| !is_running)?;
    Some(format!("its content is unknown: {why}"))
}

/// A member is not restored where the log of another one, whose db cannot be used, goes further and cannot be read with it:
/// what is in it may have been acknowledged. A snapshot says itself that it loses what was written since.
fn further(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    let Some(chosen) = freshest(candidates) else { return Ok(()) };
    let member = chosen.source.member().and_then(|name| facts.members.get(name));
    let Some((held, cluster)) = member.and_then(|member| Some((member.last_entry()?, member.cluster_id()?)))
    else {
        return Ok(());
    };
    let further = facts.members.iter().find_map(|(name, member)| {
        let last = member.damage()?.log.as_ref()?.last()?;
        let own = candidates.iter().find(|candidate| candidate.source.member() == Some(name))?;
        let is_lost = last > held && member.cluster_id() == Some(cluster) && !own.is_usable();
        is_lost.then_some((name, last, own))
    });
    match further {
        Some((name, last, own)) => Err(PlanError::Further {
            member: name.clone(),
            host: facts.inventory.etcd.members.get(name).map(|spec| spec.host.clone()).unwrap_or_default(),
            last: last.index,
            term: last.term,
            why: own.remark.clone(),
            chosen: Box::new(chosen.source.clone()),
        }),
        None => Ok(()),
    }
}

/// etcd compares its members: one that it found to differ from the others is not put in their place unasked.
fn corrupt(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    match freshest(candidates).filter(|chosen| is_doubted(facts, chosen)) {
        Some(chosen) => Err(PlanError::Corrupt(Box::new(chosen.source.clone()))),
        None => Ok(()),
    }
}

/// What is taken unless a person says otherwise.
fn freshest(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().find(|candidate| candidate.is_usable() && !candidate.foreign)
}

/// Raft's terms order the members of one cluster alone: one that was re-initialized in between counts from the start.
fn apart(facts: &Facts, candidates: &[Candidate]) -> Result<(), PlanError> {
    let readable = candidates.iter().filter(|candidate| candidate.is_usable()).filter_map(|candidate| {
        let name = candidate.source.member()?;
        let member = facts.members.get(name)?;
        let at = match (candidate.revision, member.last_entry()) {
            (Some(revision), _) => format!("revision {revision}"),
            (None, last) => format!("entry {}", last?.index),
        };
        let cluster = member.cluster_id()?;
        Some((cluster, format!("{name} at {at} of cluster {cluster}")))
    });
    let readable: Vec<(&str, String)> = readable.collect();
    let clusters: BTreeSet<&str> = readable.iter().map(|(cluster, _)| *cluster).collect();
    if clusters.len() < 2 {
        return Ok(());
    }
    let mut said: Vec<String> = readable.into_iter().map(|(_, said)| said).collect();
    said.dedup();
    Err(PlanError::MixedClusters(said.join(", ")))
}

/// A member holds all that its snapshots do. One that holds less was re-initialized, or restored from something older still:
/// which state is right then, only people know.
fn undecided(candidates: &[Candidate]) -> Result<(), PlanError> {
    // A log on top of a snapshot holds all of it.
    if freshest(candidates).is_some_and(|first| matches!(first.source, StateSource::Log { .. })) {
        return Ok(());
    }
    let first = |of: fn(&Candidate) -> bool| {
        let ours = candidates.iter().filter(|candidate| of(candidate) && !candidate.foreign);
        ours.filter_map(|candidate| Some((candidate, candidate.revision?))).next()
    };
    let member = first(|candidate| matches!(candidate.source, StateSource::Member(_)));
    let snapshot = first(|candidate| matches!(candidate.source, StateSource::Snapshot(_)));
    match (member, snapshot) {
        (Some((member, held)), Some((snapshot, saved))) if saved > held => Err(PlanError::AmbiguousState {
            member: Box::new(member.source.clone()),
            held,
            snapshot: Box::new(snapshot.source.clone()),
            saved,
        }),
        _ => Ok(()),
    }
}
