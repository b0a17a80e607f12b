//! State of the etcd cluster from the members' answers: who serves, who could, and whether there is quorum.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{DataDir, DataDirState, Fact, MemberEntry, MemberFacts, MemberStatus, Reach, Storage};
use crate::finding::{Evidence, Remedy};
use crate::inventory::MemberSpec;
use crate::quorum::{self, Margin, Seat};
use crate::rules::facts_view::{FactsView, seen_in};
use crate::rules::symptom;

/// State of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers and belongs to the cluster.
    Serving,
    /// It answers, belongs to the cluster and sees no leader, while others do.
    Partitioned,
    /// It runs, or something on its data dir does, and does not answer.
    Unresponsive,
    /// It does not run; its data is sound or could not be read.
    Stopped,
    /// Its data dir is damaged.
    Corrupt,
    /// Its data dir is gone, or was re-initialized.
    DataMissing,
    /// It belongs to another cluster, or was removed from this one.
    Foreign,
    /// It does not answer, and its machine cannot be asked.
    Unreachable,
    /// Nothing is known of it.
    Unknown,
}

/// Whether the cluster has quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    Held,
    Lost,
    Unknown,
}

/// A member of the inventory with all that is known of it.
pub struct Member<'a> {
    pub name: &'a String,
    pub spec: &'a MemberSpec,
    pub facts: &'a MemberFacts,
    pub state: State,
}

impl Member<'_> {
    /// Starts the service of a member that is stopped, if its etcd knows its flags, and unless it would begin with nothing:
    /// such a member votes, in its old place, for others that lack what it has acknowledged.
    pub fn start(&self, view: &FactsView<'_>) -> Remedy {
        let (host, service) = (&self.spec.host, &self.spec.service);
        let storage = self.facts.storage.as_ref().and_then(Fact::get);
        let empty =
            storage.and_then(|storage| storage.out_of_reach(self.name).or_else(|| storage.begins_empty()));
        let (unit, name) = (service.label(), self.name);
        if let Some(why) = empty {
            return Remedy::Manual(format!("{name}: {unit} is not started without its data: {why}"));
        }
        self.cannot_start().unwrap_or_else(|| symptom::start(host, service, view.service(host, service)))
    }

    /// Restarts the service of a member that runs, if it could start again.
    pub fn restart(&self) -> Remedy {
        let (host, service) = (self.spec.host.clone(), self.spec.service.clone());
        self.cannot_start().unwrap_or(Remedy::RestartService { host, service })
    }

    /// What to do where the unit keeps its etcd from starting.
    fn cannot_start(&self) -> Option<Remedy> {
        let why = self.facts.storage.as_ref().and_then(Fact::get).and_then(Storage::unknown_flag)?;
        Some(Remedy::Manual(format!("{}: {} cannot start: {why}", self.name, self.spec.service.label())))
    }
}

/// The etcd cluster as seen.
pub struct Cluster<'a> {
    pub members: Vec<Member<'a>>,
    /// The cluster most members belong to, in hexadecimal; none when they do not agree.
    pub id: Option<String>,
    /// The members as the best informed one lists them.
    pub list: Option<&'a [MemberEntry]>,
    /// How many members have a vote.
    pub voters: usize,
    pub quorum: Quorum,
    /// The list with who serves; absent without a quorum.
    seats: Option<Vec<Seat>>,
}

impl<'a> Cluster<'a> {
    pub fn of(view: &FactsView<'a>) -> Self {
        let seen: Vec<Seen<'a>> = Seen::all(view);
        let id = majority(&seen);
        let list = reference_list(&seen, id.as_deref());
        let mut members: Vec<Member<'a>> = seen
            .iter()
            .map(|seen| Member {
                name: seen.name,
                spec: seen.spec,
                facts: seen.facts,
                state: state(view, seen, id.as_deref(), list),
            })
            .collect();
        let voters = list.map_or(members.len(), |list| list.iter().filter(|entry| !entry.learner).count());
        let quorum = quorum(view, &members, voters);
        if quorum == Quorum::Held {
            for member in &mut members {
                let leaderless = member.facts.linearizable.get() == Some(&false);
                if member.state == State::Serving && leaderless {
                    member.state = State::Partitioned;
                }
            }
        }
        let seats = quorum::seats(view.inventory(), &view.facts.members);
        Self { members, id, list, voters, quorum, seats }
    }

    /// How many members a decision needs.
    pub fn majority(&self) -> usize {
        quorum::majority(self.voters)
    }

    /// How many members with a vote serve.
    pub fn serving(&self) -> usize {
        serving(&self.members)
    }

    /// What replaces a member while a quorum holds: Lifeboat, if the others are a quorum without it and it can reach them;
    /// else people, who learn what has to come first.
    pub fn replacement(&self, member: &str) -> Option<Remedy> {
        if self.quorum != Quorum::Held {
            return None;
        }
        let margin = self.seats.as_deref().map(|seats| Margin::replacing(seats, member));
        Some(match margin {
            Some(margin) if margin.holds() => match self.is_apart(member) {
                false => Remedy::ReplaceMember { member: member.into() },
                true => Remedy::Manual(format!(
                    "{member} cannot be replaced while it and its peers cannot connect to each other: fix the \
                     network (firewall, route), then recover again"
                )),
            },
            margin => Remedy::Manual(quorum::keep(member, margin.as_ref())),
        })
    }

    /// Whether no way is seen between a member's machine and the members that serve, in one direction or both: a new member
    /// there would never start. A refused connection has found its way; nothing listens there while etcd is stopped.
    fn is_apart(&self, name: &str) -> bool {
        let is_blocked =
            |reach: &&Reach| matches!(reach, Reach::Failed(why) if !why.contains("Connection refused"));
        let serving =
            || self.members.iter().filter(|other| other.name != name && other.state == State::Serving);
        let own = self.members.iter().find(|member| member.name == name);
        let own = own.and_then(|member| member.facts.peers.as_ref()?.get());
        let out: Vec<&Reach> = serving().filter_map(|other| own?.get(other.name)).collect();
        let back: Vec<&Reach> =
            serving().filter_map(|other| other.facts.peers.as_ref()?.get()?.get(name)).collect();
        [out, back].iter().any(|seen| !seen.is_empty() && seen.iter().all(is_blocked))
    }

    /// The member with this id, in hexadecimal.
    pub fn by_id(&self, id: &str) -> Option<&Member<'a>> {
        let mine = |member: &&Member<'_>| {
            member.facts.status.get().is_some_and(|status| status.member_id == id)
                || self.entry(member.spec).is_some_and(|entry| entry.id == id)
        };
        self.members.iter().find(mine)
    }

    /// Whether the members' own list says that an id is not in the cluster.
    pub fn is_removed(&self, id: &str) -> bool {
        self.list.is_some_and(|list| !list.iter().any(|entry| entry.id == id))
    }

    /// The machines of other members from which a member's peer address cannot be reached, each with the evidence; empty
    /// where one of them reaches it, or none was asked.
    pub fn unreached_by(&self, name: &str) -> Vec<Evidence> {
        let mut shown = Vec::new();
        for other in self.members.iter().filter(|other| other.name != name) {
            let Some(fact) = &other.facts.peers else { continue };
            match fact.get().and_then(|peers| peers.get(name)) {
                Some(Reach::Connected) => return Vec::new(),
                Some(Reach::Failed(why)) => shown.push(seen_in(
                    fact,
                    format!("{}: no TCP connection to the peer address of {name}: {why}", other.spec.host),
                )),
                None => {}
            }
        }
        shown
    }

    /// A member's entry in the cluster's list, by its peer URL.
    pub fn entry(&self, spec: &MemberSpec) -> Option<&'a MemberEntry> {
        self.list?.iter().find(|entry| entry.peer_urls.contains(&spec.peer_url))
    }

    /// How many members would serve if every one did that has not lost its data or its place: as many of one
    /// cluster as there are at best.
    pub fn within_reach(&self) -> usize {
        let is_learner = |member: &Member<'_>| {
            let listed = self.entry(member.spec).is_some_and(|entry| entry.learner);
            listed || member.facts.status.get().is_some_and(|status| status.learner)
        };
        let could = |member: &&Member<'_>| {
            !is_learner(member)
                && matches!(
                    member.state,
                    State::Serving
                        | State::Partitioned
                        | State::Unresponsive
                        | State::Stopped
                        | State::Unreachable
                        | State::Unknown
                )
        };
        let ids: Vec<Option<&str>> =
            self.members.iter().filter(could).map(|member| member.facts.cluster_id()).collect();
        let anyone = ids.iter().filter(|id| id.is_none()).count();
        let known: BTreeSet<&str> = ids.iter().copied().flatten().collect();
        let of_one = known.iter().map(|id| ids.iter().filter(|other| **other == Some(*id)).count()).max();
        anyone + of_one.unwrap_or(0)
    }
}

/// A member before it is known what it makes of the others.
struct Seen<'a> {
    name: &'a String,
    spec: &'a MemberSpec,
    facts: &'a MemberFacts,
    believable: bool,
}

impl<'a> Seen<'a> {
    fn all(view: &FactsView<'a>) -> Vec<Self> {
        let members = &view.facts.members;
        let all = view.facts.inventory.etcd.members.iter();
        all.filter_map(|(name, spec)| {
            let believable = view.host(&spec.host).is_some();
            Some(Self { name, spec, facts: members.get(name)?, believable })
        })
        .collect()
    }

    fn status(&self) -> Option<&'a MemberStatus> {
        self.facts.status.get()
    }

    fn sound(&self) -> Option<&'a DataDirState> {
        match self.facts.data_dir.get() {
            Some(DataDir::Sound(state)) if self.believable && self.status().is_none() => Some(state),
            _ => None,
        }
    }

    fn cluster_id(&self) -> Option<&'a str> {
        let of_dir = || self.sound().map(|state| state.cluster_id.as_str());
        self.status().map(|status| status.cluster_id.as_str()).or_else(of_dir)
    }
}

/// The cluster more members belong to than to any other. A tie has no answer: a one-member cluster started by mistake
/// answers best of all.
fn majority(seen: &[Seen<'_>]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    seen.iter().filter_map(Seen::cluster_id).for_each(|id| *counts.entry(id).or_default() += 1);
    let most = counts.values().copied().max()?;
    let mut with_most = counts.iter().filter(|(_, count)| **count == most);
    match (with_most.next(), with_most.next()) {
        (Some((id, _)), None) => Some((*id).to_owned()),
        _ => None,
    }
}

/// The list of a member that sees a quorum; without one, of the member that knows most.
fn reference_list<'a>(seen: &[Seen<'a>], id: Option<&str>) -> Option<&'a [MemberEntry]> {
    let of_cluster = |seen: &&Seen<'a>| id.is_some() && seen.status().map(|s| s.cluster_id.as_str()) == id;
    let lists = seen.iter().filter(of_cluster).filter_map(|seen| {
        let status = seen.status()?;
        let sees_quorum = seen.facts.sees_quorum();
        let list = seen.facts.member_list.get()?;
        Some(((sees_quorum, status.raft_term, status.raft_index), list.as_slice()))
    });
    lists.max_by_key(|(rank, _)| *rank).map(|(_, list)| list)
}

fn state(view: &FactsView<'_>, seen: &Seen<'_>, id: Option<&str>, list: Option<&[MemberEntry]>) -> State {
    let foreign = |cluster: &str, member: &str| {
        id.is_some_and(|id| id != cluster)
            || list.is_some_and(|list| !list.iter().any(|entry| entry.id == member))
    };
    // Once a member has started, its log is never empty again: it would not know what it has voted for.
    let forgot = |member: &str, last_index: u64| {
        let started = |entry: &MemberEntry| entry.id == member && !entry.name.is_empty();
        last_index == 0 && list.is_some_and(|list| list.iter().any(started))
    };
    // Kubernetes writes hundreds of keys before anything else.
    let empty =
        |state: &DataDirState| state.keys == 0 && !view.inventory().kubernetes.control_plane.is_empty();
    if let Some(status) = seen.status() {
        return match foreign(&status.cluster_id, &status.member_id) {
            true => State::Foreign,
            false => State::Serving,
        };
    }
    if !seen.believable {
        return if view.is_behind(&seen.spec.host) { State::Unreachable } else { State::Unknown };
    }
    let running =
        view.service(&seen.spec.host, &seen.spec.service).map(crate::facts::ServiceState::is_running);
    match (seen.facts.data_dir.get(), running) {
        (Some(DataDir::Absent), _) => State::DataMissing,
        (Some(DataDir::Damaged(_)), _) => State::Corrupt,
        (Some(DataDir::Sound(state)), _) if foreign(&state.cluster_id, &state.member_id) => State::Foreign,
        (Some(DataDir::InUse(Some(log))), _) if foreign(&log.cluster_id, &log.member_id) => State::Foreign,
        (Some(DataDir::Sound(state)), _) if empty(state) || forgot(&state.member_id, state.last_index) => {
            State::DataMissing
        }
        (Some(DataDir::InUse(Some(log))), _) if forgot(&log.member_id, log.last_index) => State::DataMissing,
        (Some(DataDir::Sound(state)), _) if state.log_ends_before().is_some() => State::Corrupt,
        (Some(DataDir::InUse(Some(log))), _) if log.log_ends_before().is_some() => State::Corrupt,
        (Some(DataDir::InUse(_)), _) | (_, Some(true)) => State::Unresponsive,
        (_, Some(false)) | (Some(DataDir::Sound(_)), None) => State::Stopped,
        (None, None) => State::Unknown,
    }
}

fn quorum(view: &FactsView<'_>, members: &[Member<'_>], voters: usize) -> Quorum {
    let serving: Vec<&Member<'_>> = members.iter().filter(|member| member.state == State::Serving).collect();
    if serving.iter().any(|member| member.facts.sees_quorum()) {
        return Quorum::Held;
    }
    let count = |state: State| members.iter().filter(|member| member.state == state).count();
    if serving.iter().any(|member| member.facts.linearizable.get() == Some(&false)) {
        return Quorum::Lost;
    }
    let possible = self::serving(members) + count(State::Unknown);
    let silent = count(State::Unresponsive);
    // That members run and do not answer may be our own fault, as with a wrong certificate: then API servers that are
    // not ready have to say the same.
    if possible + silent < quorum::majority(voters)
        || (possible < quorum::majority(voters) && view.api_is_not_ready())
    {
        return Quorum::Lost;
    }
    Quorum::Unknown
}

fn serving(members: &[Member<'_>]) -> usize {
    let has_vote = |member: &&Member<'_>| member.facts.status.get().is_some_and(|status| !status.learner);
    members.iter().filter(|member| member.state == State::Serving).filter(has_vote).count()
}
