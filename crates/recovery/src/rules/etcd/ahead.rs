//! Members that hold what a quorum of their own cluster has lost: it began with less, as members do that start again in their
//! old place on a data dir that was emptied, cut or restored.

use std::cmp::Reverse;

use lifeboat_etcd::EntryId;

use crate::facts::{DataDir, has_corrupt_alarm};
use crate::finding::{Evidence, Remedy, listed};
use crate::rules::facts_view::seen_in;

use super::cluster::{Cluster, Member, State};

/// A member that is not among those that serve, with the end of what it holds.
pub(super) struct Ahead<'a> {
    member: &'a Member<'a>,
    last: EntryId,
}

/// What is known of the end of a member's data.
struct Held {
    /// Its last entry.
    last: Option<EntryId>,
    /// Index of the last entry that it knows to be committed.
    committed: Option<u64>,
    /// Whether it may go on writing.
    runs: bool,
}

impl Held {
    fn of(member: &Member<'_>) -> Option<Self> {
        let facts = member.facts;
        if let Some(status) = facts.status.get() {
            return Some(Self { last: facts.last_entry(), committed: Some(status.raft_index), runs: true });
        }
        Some(match facts.data_dir.get()? {
            DataDir::Absent | DataDir::InUse(None) => return None,
            DataDir::InUse(Some(log)) => Self { last: log.last(), committed: log.db_index, runs: true },
            DataDir::Sound(state) => {
                Self { last: facts.last_entry(), committed: Some(state.committed()), runs: false }
            }
            DataDir::Damaged(damage) => {
                let readable = damage.readable.as_ref().map(|readable| readable.state.committed());
                let committed = readable.or_else(|| damage.log.as_ref()?.db_index);
                Self { last: facts.last_entry(), committed, runs: false }
            }
        })
    }

    /// Whether a cluster that is at this term and has committed up to this index cannot have it in its history. Its leader has
    /// every committed entry, no entry is of a term that a majority has not come to, and those of the leader's own term
    /// are committed as long as a quorum holds.
    fn is_lost_by(&self, served: EntryId) -> bool {
        let is_beyond = |last: EntryId| last.term > served.term || (!self.runs && last > served);
        self.committed.is_some_and(|index| index > served.index) || self.last.is_some_and(is_beyond)
    }
}

/// How far the cluster has come: its term, and the last index that is committed. Asked after data dirs were read.
fn served(serving: &[&Member<'_>]) -> Option<EntryId> {
    let statuses = || serving.iter().filter_map(|member| member.facts.status.get());
    let term = statuses().map(|status| status.raft_term).max()?;
    Some(EntryId { term, index: statuses().map(|status| status.raft_index).max()? })
}

/// Members of the cluster that hold what it lost, the one that has come furthest first.
pub(super) fn ahead<'a>(cluster: &'a Cluster<'a>, serving: &[&Member<'_>]) -> Vec<Ahead<'a>> {
    let Some(served) = served(serving) else { return Vec::new() };
    let is_apart = |member: &&Member<'_>| {
        let of_cluster = serving.iter().any(|other| other.facts.cluster_id() == member.facts.cluster_id());
        of_cluster && !matches!(member.state, State::Serving | State::Foreign)
    };
    let mut ahead: Vec<Ahead<'a>> = (cluster.members.iter())
        .filter(is_apart)
        .filter_map(|member| {
            let held = Held::of(member).filter(|held| held.is_lost_by(served))?;
            Some(Ahead { member, last: held.last.unwrap_or_default() })
        })
        .collect();
    ahead.sort_by_key(|one| Reverse(one.last));
    ahead
}

/// What is wrong, in one sentence.
pub(super) fn summary(serving: &[&Member<'_>], ahead: &[Ahead<'_>]) -> Option<String> {
    let (served, Ahead { member, last }) = (served(serving)?, ahead.first()?);
    Some(format!(
        "etcd serves up to entry {} of term {}, and its member {} holds entry {} of term {}: the members that serve have lost writes",
        served.index, served.term, member.name, last.index, last.term
    ))
}

impl Ahead<'_> {
    pub(super) fn evidence(&self) -> Evidence {
        let Self { member, last } = self;
        let revision = member.facts.readable().map(|state| format!(", revision {}", state.revision));
        let seen = format!(
            "{} holds entries up to {} of term {}{}",
            member.name,
            last.index,
            last.term,
            revision.unwrap_or_default()
        );
        match (&member.facts.log, member.facts.status.get()) {
            (Some(log), Some(_)) => seen_in(log, seen),
            _ => seen_in(&member.facts.data_dir, seen),
        }
    }
}

/// What people can do: which state is right only they know.
pub(super) fn advice(cluster: &Cluster<'_>, ahead: &[Ahead<'_>]) -> Vec<Remedy> {
    let Some((first, others)) = ahead.split_first() else { return Vec::new() };
    let Member { name, spec, facts, .. } = first.member;
    let (host, service, dir) = (&spec.host, spec.service.label(), spec.data_dir.display());
    let alarms = cluster.members.iter().filter_map(|member| member.facts.alarms.get()).flatten();
    let mut doubts = Vec::new();
    if facts.member_id().is_some_and(|id| has_corrupt_alarm(alarms, id)) {
        doubts.push(format!("etcd has raised a CORRUPT alarm for {name}"));
    }
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|one| one.member.name.clone()).collect();
        doubts.push(format!("{} too, which may be of another history", listed(&names)));
    }
    let doubts = if doubts.is_empty() { String::new() } else { format!(" ({})", doubts.join("; ")) };
    let stop = match facts.data_dir.get() {
        Some(DataDir::Sound(_) | DataDir::Damaged(_)) => String::new(),
        _ => format!("stop {service} on {host}, then "),
    };
    vec![
        Remedy::Manual(
            "do not restart API servers, kubelets or nodes until the right state is known; to compare them: \
             `lifeboat explain etcd.state-lost`"
                .into(),
        ),
        Remedy::NameState(format!(
            "{name} on {host} has data that etcd does not serve{doubts}: {stop}`lifeboat recover --source \
             member:{name}` rebuilds every member from it and moves newer data aside"
        )),
        Remedy::Manual(format!(
            "if what etcd serves is right, as after a restore of an older snapshot: stop and disable {service} on {host}, move {dir} \
             aside, and run `lifeboat recover`, which adds {name} as a new member"
        )),
    ]
}
