//! Findings of single members.

use crate::facts::{DataDir, Fact, FoundDir};
use crate::finding::{Evidence, FindingId, Remedy, Severity};
use crate::rules::facts_view::{FactsView, no_answer, seen_in};
use crate::rules::symptom::{Symptom, again_and_again, stopped};

use super::cluster::{Cluster, Member, Quorum, State};

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    // If all members run and none answers, the fault may be ours.
    let only_us = cluster.quorum == Quorum::Unknown && cluster.serving() == 0;
    let judged = cluster.members.iter().filter(|member| !(only_us && member.state == State::Unresponsive));
    let mut found: Vec<Symptom> = judged.filter_map(|member| judge(view, cluster, member)).collect();
    found.extend(cluster.members.iter().filter_map(|member| wrong_data_dir(view, member)));
    found
}

/// A member whose service keeps its data where the inventory does not say: nothing of it may be moved or written.
fn wrong_data_dir(view: &FactsView<'_>, member: &Member<'_>) -> Option<Symptom> {
    view.host(&member.spec.host)?;
    let storage = member.facts.storage.as_ref()?;
    if let Some(seen) = out_of_reach(member) {
        let (name, host) = (member.name, &member.spec.host);
        return Some(
            Symptom::new(FindingId::EtcdMemberWrongDataDir)
                .of(name, host)
                .summary(seen.clone())
                .shown_by([seen_in(storage, seen)])
                .manual(format!(
                    "{host}: check that the disk with {name}'s data is mounted (`findmnt --verify`, /etc/fstab) and mount it; \
                     until then Lifeboat starts, moves and restores nothing of {name}"
                )),
        );
    }
    let conflict = storage.get()?.conflict(member.name, member.spec)?;
    let severity = if member.state == State::Serving { Severity::Warning } else { Severity::Error };
    Some(
        Symptom::new(FindingId::EtcdMemberWrongDataDir).severity(severity)
            .of(member.name, &member.spec.host)
            .summary(conflict.clone())
            .shown_by([seen_in(storage, conflict)])
            .manual(
                "correct dataDir and walDir of {who} in the inventory, or put the unit back; until then Lifeboat moves and \
                 restores nothing of it",
            ),
    )
}

/// Why the data of a member that does not serve cannot be had: its disk may not be mounted. It is not gone for that, and an
/// etcd that is started without it begins with nothing.
fn out_of_reach(member: &Member<'_>) -> Option<String> {
    let storage = member.facts.storage.as_ref()?.get()?;
    storage.out_of_reach(member.name).filter(|_| matches!(member.state, State::Stopped | State::DataMissing))
}

fn judge(view: &FactsView<'_>, cluster: &Cluster<'_>, member: &Member<'_>) -> Option<Symptom> {
    let (name, host, service) = (member.name, &member.spec.host, &member.spec.service);
    // Where those that answer are too few for a quorum, and there may be one, it is held with this member's help.
    let restart = if cluster.quorum != Quorum::Lost && cluster.serving() < cluster.majority() {
        Remedy::Manual(format!(
            "{name} may be one of those that hold the quorum, and a restart would stop the cluster: first see why it does not \
             answer (its client port, its certificate, its log)"
        ))
    } else {
        member.restart()
    };
    let service_state = view.service(host, service);
    let symptom = |id: FindingId, summary: String| {
        Symptom::new(id)
            .of(name, host)
            .with_service(host, service)
            .summary(summary)
            .shown_by(view.service_evidence(host, service))
            .shown_by(evidence(member))
    };
    let place =
        if name == host { format!("etcd member {name}") } else { format!("etcd member {name} on {host}") };
    Some(match member.state {
        State::Serving if is_learner(member) => learner(member, &place),
        State::Serving | State::Unknown => return None,
        // It is found as such, and a start would not help.
        State::Stopped | State::DataMissing if out_of_reach(member).is_some() => return None,
        State::Stopped | State::Unresponsive if elsewhere(member).is_some() => {
            let (fact, path) = elsewhere(member)?;
            let named = member.spec.data_dir.display();
            symptom(
                FindingId::EtcdMemberDown,
                format!("{place} runs on {}, the inventory says {named}", path.display()),
            )
            .shown_by([seen_in(fact, format!("{host}: an etcd has {} open", path.display()))])
            .manual(format!(
                "if {named} is right, correct --data-dir in the unit or manifest on {host} (`systemctl cat {}`) and restart it; if \
                 the other is, correct dataDir in the inventory",
                service.label()
            ))
        }
        State::Stopped => {
            let how = service_state.map_or("is stopped", stopped);
            let symptom = symptom(FindingId::EtcdMemberDown, format!("{place} {how}; {}", held(member)));
            let log = service_state.and_then(|state| again_and_again(state, service));
            symptom.remedy(member.start(view)).remedies(log)
        }
        State::Unresponsive | State::Partitioned if !cluster.unreached_by(name).is_empty() => {
            let url = &member.spec.peer_url;
            symptom(FindingId::EtcdMemberDown, format!("Peers cannot reach {place} at {url}"))
                .shown_by(cluster.unreached_by(name))
                .manual(format!(
                    "make {url} reachable from the other members' machines (firewall, route, listen address); a \
                     restart does not help"
                ))
        }
        State::Unresponsive => {
            symptom(FindingId::EtcdMemberDown, format!("{place} runs and does not answer")).remedy(restart)
        }
        State::Partitioned => {
            let leader = member.facts.status.get().and_then(|status| status.leader.as_ref());
            let seen = match leader {
                None => format!("{name} sees no leader, others do"),
                Some(leader) => {
                    format!("no read through {name} comes back, though it follows leader {leader}")
                }
            };
            symptom(FindingId::EtcdMemberDown, format!("{place} is cut off from the others"))
                .shown_by([seen_in(&member.facts.linearizable, seen)])
                .remedy(restart)
        }
        State::Unreachable => symptom(FindingId::EtcdMemberDown, format!("{place} does not answer")),
        State::Corrupt => {
            let (last, cut) = match member.facts.data_dir.get() {
                Some(DataDir::Sound(state)) => (state.last_index, state.log_ends_before()),
                Some(DataDir::InUse(Some(log))) => (log.last_index, log.log_ends_before()),
                _ => (0, None),
            };
            let summary = match cut {
                Some(db) => {
                    format!("The log of {place} was cut: it ends at entry {last}, before its db at {db}")
                }
                None => format!("The data of {place} is damaged"),
            };
            symptom(FindingId::EtcdMemberCorrupt, summary).remedies(cluster.replacement(member.name))
        }
        State::DataMissing => {
            let dir = member.spec.data_dir.display();
            let summary = match member.facts.data_dir.get() {
                Some(DataDir::Absent) => format!("The data dir of {place} is gone: {dir}"),
                _ => format!("The data dir of {place} was re-initialized, and what it had is gone: {dir}"),
            };
            symptom(FindingId::EtcdMemberDataMissing, summary).remedies(cluster.replacement(member.name))
        }
        State::Foreign => {
            let strange = strange(cluster, &place, member);
            match rival(cluster, member).filter(|_| cluster.quorum == Quorum::Held) {
                Some(rival) => {
                    state_conflict(cluster, member, symptom(FindingId::EtcdStateConflict, strange), &rival)
                }
                None => foreign_member(cluster, member, symptom(FindingId::EtcdMemberForeign, strange)),
            }
        }
    })
}

/// The data dir that an etcd on the member's machine has open, where that is not the inventory's.
fn elsewhere<'a>(member: &Member<'a>) -> Option<(&'a Fact<Vec<FoundDir>>, &'a std::path::Path)> {
    let fact = member.facts.beside.as_ref()?;
    let is_open = |dir: &&FoundDir| matches!(dir.holds, Some(DataDir::InUse(_)));
    let open: Vec<&FoundDir> = fact.get()?.iter().filter(is_open).collect();
    match open.as_slice() {
        [one] if !one.named => Some((fact, &one.path)),
        _ => None,
    }
}

fn is_learner(member: &Member<'_>) -> bool {
    member.facts.status.get().is_some_and(|status| status.learner)
}

fn learner(member: &Member<'_>, place: &str) -> Symptom {
    let id = member.facts.status.get().map(|status| status.member_id.clone()).unwrap_or_default();
    Symptom::new(FindingId::EtcdMemberLearner)
        .of(member.name, &member.spec.host)
        .summary(format!("{place} is a learner: it has the data but no vote"))
        .shown_by([seen_in(&member.facts.status, format!("{} says that it is a learner", member.name))])
        .manual(format!("once it has caught up: `etcdctl member promote {id}`"))
}

/// What the member's own answers and its data dir show.
fn evidence(member: &Member<'_>) -> Vec<Evidence> {
    let mut shown: Vec<Evidence> =
        no_answer(&member.facts.status, &format!("{} does not answer", member.name)).into_iter().collect();
    let dir = &member.facts.data_dir;
    if member.state == State::Unreachable {
        return shown;
    }
    shown.extend(match dir.get() {
        Some(DataDir::Absent) => vec![seen_in(dir, format!("no member in {}'s data dir", member.name))],
        Some(DataDir::InUse(log)) => {
            let log = log.as_ref().map(|log| format!(", whose log has {} entries", log.last_index));
            vec![seen_in(
                dir,
                format!("a process holds {}'s data dir{}", member.name, log.unwrap_or_default()),
            )]
        }
        Some(DataDir::Sound(state)) => {
            let (revision, keys) = (state.revision, state.keys);
            let seen = format!("{}'s data dir is sound up to revision {revision}, {keys} keys", member.name);
            vec![seen_in(dir, seen)]
        }
        Some(DataDir::Damaged(damage)) => {
            damage.why.iter().map(|why| seen_in(dir, format!("{}'s data dir: {why}", member.name))).collect()
        }
        // Nobody reads the data dir of a member that runs, or of a machine that cannot be asked.
        None if member.state == State::Stopped => {
            no_answer(dir, &format!("{}'s data dir", member.name)).into_iter().collect()
        }
        None => Vec::new(),
    });
    shown
}

fn held(member: &Member<'_>) -> String {
    match member.facts.data_dir.get() {
        Some(DataDir::Sound(_)) => "its data is sound".into(),
        _ => "its data could not be read".into(),
    }
}

fn strange(cluster: &Cluster<'_>, place: &str, member: &Member<'_>) -> String {
    let own = member.facts.cluster_id();
    match (own, &cluster.id) {
        (Some(own), Some(id)) if own != id => format!("{place} belongs to another cluster"),
        _ => format!("{place} was removed from the cluster: the others do not list it"),
    }
}

fn foreign_member(cluster: &Cluster<'_>, member: &Member<'_>, symptom: Symptom) -> Symptom {
    let own = member.facts.cluster_id().unwrap_or("unknown");
    let id = cluster.id.as_deref().unwrap_or("unknown");
    let seen = if own == id {
        format!("no member of the cluster's list is {}", member.facts.member_id().unwrap_or("it"))
    } else {
        format!("cluster id {own}; the others' is {id}")
    };
    symptom.shown_by([seen_of(member, seen)]).remedies(cluster.replacement(member.name))
}

/// Its data dir would be moved aside, not lost; but which history is the right one only people know.
fn state_conflict(cluster: &Cluster<'_>, member: &Member<'_>, symptom: Symptom, rival: &Rival) -> Symptom {
    let Rival { what, own, newest } = rival;
    let name = member.name;
    let mut symptom = foreign_member(cluster, member, symptom)
        .shown_by([seen_of(member, format!("its {what} {own} is above the others' {newest}"))]);
    symptom.severity = Severity::Critical;
    symptom.remedies = vec![Remedy::NameState(format!(
        "{name} holds {what} {own}, above the others' {newest}: decide which data is right; \
         `lifeboat recover --source member:{name}` restores its data on every member, and if the others' is right, stop \
         {name} and move its data dir aside"
    ))];
    symptom
}

fn seen_of(member: &Member<'_>, seen: String) -> Evidence {
    match member.facts.status.get() {
        Some(_) => seen_in(&member.facts.status, seen),
        None => seen_in(&member.facts.data_dir, seen),
    }
}

/// What makes a foreign member's data a rival of the cluster's.
struct Rival {
    what: &'static str,
    own: u64,
    newest: u64,
}

/// Whether a foreign member holds more than the others do, by revision; by raft index where only its log can be read.
fn rival(cluster: &Cluster<'_>, member: &Member<'_>) -> Option<Rival> {
    let others = || cluster.members.iter().filter(|other| other.state != State::Foreign);
    let (what, own, newest) = match member.facts.data_dir.get() {
        Some(DataDir::InUse(Some(log))) => {
            let index = |other: &Member<'_>| other.facts.status.get().map(|status| status.raft_index);
            ("raft index", log.last_index, others().filter_map(index).max()?)
        }
        _ => {
            let newest = others().filter_map(revision).max()?;
            ("revision", revision(member)?.try_into().ok()?, newest.try_into().ok()?)
        }
    };
    (own > newest).then_some(Rival { what, own, newest })
}

fn revision(member: &Member<'_>) -> Option<i64> {
    match (member.facts.status.get(), member.facts.data_dir.get()) {
        (Some(status), _) => Some(status.revision),
        (None, Some(DataDir::Sound(state))) => Some(state.revision),
        _ => None,
    }
}
