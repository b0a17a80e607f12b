//! Plans: steps in order, with what each changes and which are irreversible.

mod action;
mod check;
mod guard;
mod id;
mod title;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Uncommitted;
use crate::finding::FindingId;
pub use action::*;
pub use check::PlanMismatch;
pub use guard::*;
pub use id::is_id;
pub(crate) use id::{derived_id, new_id};

/// Version of the plan file.
pub const SCHEMA_VERSION: u32 = 1;

/// One round of a recovery: everything that can be decided from one set of facts. What depends on machines that come
/// back is decided in the next round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Version of the format: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Unique name; what is moved aside and the new cluster's token carry it.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// When the facts it follows from were gathered.
    pub observed_at: Timestamp,
    /// State that `--source` chooses for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StateSource>,
    /// `/etc/machine-id` of the machines that were seen: nothing is changed on another machine at one's address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_ids: BTreeMap<String, String>,
    /// The findings it is meant to end, as `id` and subjects.
    pub treats: Vec<Addressed>,
    /// Where the state of a restore could come from, best first; empty where nothing is restored.
    pub candidates: Vec<Candidate>,
    /// How many older snapshots were not read, since a newer one is sound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread_snapshots: usize,
    /// Why there may be other snapshots than the candidates, which is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unexamined_snapshots: Option<String>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Manual steps, before or after.
    pub manual: Vec<String>,
    /// Why the state of `--source` is not restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_source: Option<String>,
    /// What the plan rests on: `apply` refuses when one of these has changed.
    pub fingerprint: BTreeMap<String, String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether nothing is changed by the steps before this one.
    pub fn is_first_change(&self, step: &Step) -> bool {
        let before = self.steps.iter().filter(|other| other.number < step.number);
        before.into_iter().all(|other| matches!(other.action, Action::Preflight))
    }

    /// What must be true before its first step acts, each once.
    pub fn guards(&self) -> Vec<&Guard> {
        let mut all: Vec<&Guard> = Vec::new();
        let guards = self.steps.iter().flat_map(|step| &step.guards);
        for guard in guards.filter(|guard| guard.holds_before_all()) {
            if !all.contains(&guard) {
                all.push(guard);
            }
        }
        all
    }

    /// Whether it rebuilds etcd.
    pub fn restores(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::RestoreMember { .. }))
    }

    /// The states that it names: the one a person has said, and the one that it restores.
    pub fn sources(&self) -> impl Iterator<Item = &StateSource> {
        let restored = self.steps.iter().filter_map(|step| match &step.action {
            Action::Distribute { source, .. } | Action::ConfirmState { source, .. } => Some(source),
            _ => None,
        });
        self.source.iter().chain(restored)
    }

    /// `--initial-cluster-token` of the cluster that it restores.
    pub fn token(&self) -> String {
        format!("lifeboat-{}", self.id)
    }

    /// The first step that is another one in another plan, here and there. A live member may have come further meanwhile.
    pub fn first_difference(&self, other: &Self) -> Option<(String, String)> {
        let is_same = |one: &Action, other: &Action| match (one, other) {
            (
                Action::Distribute { source, hosts, revision },
                Action::Distribute { source: its, hosts: there, revision: now },
            )
            | (
                Action::ConfirmState { source, hosts, revision },
                Action::ConfirmState { source: its, hosts: there, revision: now },
            ) => source == its && hosts == there && revision <= now,
            _ => one == other,
        };
        let title = |step: Option<&Step>| step.map_or_else(|| "nothing".into(), |step| step.action.title());
        (0..self.steps.len().max(other.steps.len())).find_map(|at| {
            let (ours, theirs) = (self.steps.get(at), other.steps.get(at));
            match (ours, theirs) {
                (Some(one), Some(other))
                    if is_same(&one.action, &other.action) && one.guards == other.guards =>
                {
                    None
                }
                _ => Some((title(ours), title(theirs))),
            }
        })
    }

    /// Whether another plan would do just the same, which has not helped then.
    pub fn does_the_same(&self, other: &Self) -> bool {
        let titles = |plan: &Self| -> Vec<String> {
            plan.steps.iter().map(|step| step.title.replace(&plan.id, "")).collect()
        };
        titles(self) == titles(other)
    }
}

/// A finding a plan is meant to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Addressed {
    /// Id of the finding.
    pub id: FindingId,
    /// Machines, members or nodes of the finding.
    pub subjects: Vec<String>,
}

/// Somewhere the state of a restore could come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// Where the state comes from.
    pub source: StateSource,
    /// Revision of its keyspace, when known.
    pub revision: Option<i64>,
    /// When its file was written: its newest write is no younger. Known of snapshots alone.
    pub newest: Option<Timestamp>,
    /// Whether the plan takes it.
    pub chosen: bool,
    /// Whether it holds another cluster's state: it is taken only when a person names it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// What it is read as, where a member's own db is not used: `nightly.db at raft 25 + m1's log to 66`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combination: Option<String>,
    /// Entries at the end of a member's log that a restore of it contains, and that no majority is known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncommitted: Option<Uncommitted>,
    /// What taking it would lose, or why it cannot be taken.
    pub remark: String,
}

impl Candidate {
    /// Whether it can be taken. How far a log leads on top of another state is known once it is read.
    pub fn is_usable(&self) -> bool {
        self.revision.is_some() || matches!(self.source, StateSource::Log { .. })
    }
}

/// Where the state of a restore comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum StateSource {
    /// A member's data dir: its db and the WAL behind it.
    Member(String),
    /// A snapshot file on the machine Lifeboat runs on.
    Snapshot(PathBuf),
    /// A member's log on top of another state of its cluster, where its own db cannot be used.
    Log {
        /// Name of the etcd member.
        member: String,
        /// What its log goes on from.
        base: Base,
    },
}

/// What a member's log is read on top of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Base {
    /// A snapshot file on the machine Lifeboat runs on.
    Snapshot(PathBuf),
    /// The data dir of another member, as far as its entries are known to be committed.
    Member(String),
}

/// What stands between the base and the member of [`StateSource::Log`] in its text.
const ON: &str = "+member:";

impl StateSource {
    /// Reads `member:NAME`, a path, or either of them with `+member:NAME` behind it.
    ///
    /// # Errors
    /// A name or path is missing, or the path cannot be made absolute.
    pub fn parse(text: &str) -> Result<Self, String> {
        let state = |text: &str| match text.strip_prefix("member:") {
            Some("") => Err("member: needs a name".to_owned()),
            Some(name) => Ok(Base::Member(name.into())),
            None => std::path::absolute(text).map(Base::Snapshot).map_err(|error| error.to_string()),
        };
        match text.rsplit_once(ON) {
            Some((_, "")) => Err("+member: needs a name".into()),
            Some((base, member)) => Ok(Self::Log { member: member.into(), base: state(base)? }),
            None => state(text).map(Self::from),
        }
    }

    /// The member whose data dir or log it is.
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Member(member) | Self::Log { member, .. } => Some(member),
            Self::Snapshot(_) => None,
        }
    }

    /// The snapshot file that it is, or begins with.
    pub fn snapshot(&self) -> Option<&Path> {
        match self {
            Self::Snapshot(path) | Self::Log { base: Base::Snapshot(path), .. } => Some(path),
            Self::Member(_) | Self::Log { base: Base::Member(_), .. } => None,
        }
    }

    /// The members whose data dirs it is read from.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let base = match self {
            Self::Log { base: Base::Member(base), .. } => Some(base.as_str()),
            _ => None,
        };
        self.member().into_iter().chain(base)
    }
}

impl From<Base> for StateSource {
    fn from(base: Base) -> Self {
        match base {
            Base::Snapshot(path) => Self::Snapshot(path),
            Base::Member(name) => Self::Member(name),
        }
    }
}

impl fmt::Display for StateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => write!(f, "member:{name}"),
            Self::Snapshot(path) => write!(f, "{}", path.display()),
            Self::Log { member, base } => write!(f, "{}{ON}{member}", Self::from(base.clone())),
        }
    }
}

/// A step of a plan: an action with its limits and guards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its number, from 1.
    pub number: u32,
    /// What it does, in one line.
    pub title: String,
    /// What is done.
    pub action: Action,
    /// Changes that it makes, one line each.
    pub changes: Vec<String>,
    /// Whether it cannot be rolled back.
    pub irreversible: bool,
    /// Seconds after which it counts as failed.
    pub timeout_seconds: u64,
    /// What must be done before it.
    #[serde(default, skip_serializing_if = "Needs::is_default")]
    pub needs: Needs,
    /// The step up to which its result must stand: a fence is lifted by a later step. Absent: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_until: Option<u32>,
    /// What must be true right before it acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
}

/// What must be done before a step. Where a step fails, those that do not need it go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Needs {
    /// Every step before it.
    #[default]
    EverythingBefore,
    /// Each of these steps.
    Steps(Vec<u32>),
    /// At least one of these steps.
    OneOf(Vec<u32>),
}

impl Needs {
    fn is_default(&self) -> bool {
        *self == Self::EverythingBefore
    }

    /// Whether a step can be done after these have failed, or were left out because of one that has.
    pub fn allow(&self, failed: &[u32]) -> bool {
        match self {
            Self::EverythingBefore => failed.is_empty(),
            Self::Steps(steps) => !steps.iter().any(|step| failed.contains(step)),
            Self::OneOf(steps) => steps.iter().any(|step| !failed.contains(step)),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
