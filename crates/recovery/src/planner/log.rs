//! Logs of members whose own db cannot be used, on top of other states of the same cluster.

use crate::facts::{DataDir, Facts, LogState, MemberFacts, Snapshot};
use crate::plan::{Base, Candidate, StateSource};

use super::candidates::serves_another_state;
use super::identity::OwnIdentity;

/// What the logs of damaged members can be read on top of.
pub(super) struct Bases<'a> {
    pub facts: &'a Facts,
    pub own: &'a OwnIdentity<'a>,
}

/// A state that a log goes on from.
struct Fitting {
    base: Base,
    /// Its name, and the last entry that it has.
    text: String,
    index: u64,
}

impl Bases<'_> {
    /// A member's log on each state that it goes on from, as far as facts tell: the log itself is compared with the state
    /// when they are read. Else why there is none.
    pub fn candidates(&self, name: &str, log: &LogState) -> Result<Vec<Candidate>, String> {
        let Some(first) = log.first_index else { return Err("its log was not read".into()) };
        let last = log.last_index;
        if let Some((snapshot, index)) = self.snapshots_of(log).find(|(_, index)| *index > last) {
            return Err(format!("its log ends at entry {last}, {} at {index}", file_name(snapshot)));
        }
        let snapshots = self.snapshots_of(log).map(|(snapshot, index)| Fitting {
            base: Base::Snapshot(snapshot.path.clone()),
            text: file_name(snapshot),
            index,
        });
        let mut all: Vec<Fitting> = snapshots.collect();
        all.sort_by_key(|fitting| std::cmp::Reverse(fitting.index));
        all.extend(self.members_behind(name, log));
        let fitting: Vec<&Fitting> =
            all.iter().filter(|fitting| fitting.index.saturating_add(1) >= first).collect();
        let candidate = |fitting: &&Fitting| Candidate {
            source: StateSource::Log { member: name.into(), base: fitting.base.clone() },
            revision: None,
            newest: None,
            chosen: false,
            foreign: false,
            combination: Some(format!("{} at raft {} + {name}'s log to {last}", fitting.text, fitting.index)),
            uncommitted: None,
            remark: String::new(),
        };
        match (fitting.is_empty(), all.iter().max_by_key(|fitting| fitting.index)) {
            (false, _) => Ok(fitting.iter().map(candidate).collect()),
            (true, Some(Fitting { text, index, .. })) => {
                Err(format!("its log has entries {first} to {last}, {text} ends at {index}"))
            }
            (true, None) => {
                Err(format!("its log has entries {first} to {last}, which no known state leads to"))
            }
        }
    }

    /// The snapshots that know the log's member, and the last entry of each.
    fn snapshots_of(&self, log: &LogState) -> impl Iterator<Item = (&Snapshot, u64)> {
        self.facts.known_snapshots().iter().filter_map(|snapshot| {
            let identity = snapshot.identity.as_ref()?;
            let knows = identity.member_ids.is_empty() || identity.member_ids.contains(&log.member_id);
            let is_ours = snapshot.revision.is_ok() && self.own.contradiction(identity).is_none();
            Some((snapshot, snapshot.raft_index.filter(|_| knows && is_ours)?))
        })
    }

    /// The other members of the log's cluster that can be read and have come less far.
    fn members_behind(&self, name: &str, log: &LogState) -> impl Iterator<Item = Fitting> {
        self.facts.members.iter().filter(move |(other, _)| *other != name).filter_map(
            move |(other, member)| {
                if serves_another_state(self.facts, member).is_some() {
                    return None;
                }
                let is_behind = member.last_entry()? < log.last()?;
                let is_of_cluster = member.cluster_id() == Some(&log.cluster_id);
                let index = applied(member)?;
                (is_behind && is_of_cluster && index <= log.last_index).then(|| Fitting {
                    base: Base::Member(other.clone()),
                    text: other.clone(),
                    index,
                })
            },
        )
    }
}

/// Index up to which a member that can be read has applied entries, at least.
fn applied(member: &MemberFacts) -> Option<u64> {
    match (member.status.get(), member.data_dir.get()) {
        (Some(status), _) => Some(status.raft_index).filter(|_| !status.learner),
        (None, Some(DataDir::Sound(state))) => state.db_index.filter(|_| state.keys > 0),
        _ => None,
    }
}

fn file_name(snapshot: &Snapshot) -> String {
    let name = snapshot.path.file_name().unwrap_or(snapshot.path.as_os_str());
    name.to_string_lossy().into_owned()
}
