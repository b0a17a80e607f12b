//! The planner: from facts and findings to the steps of one round. Pure: what it needs to know of files and
//! machines is handed in.
//!
//! Layers go from the ground up: a machine without a NIC cannot be asked, so a round that recovers machines ends
//! there, and the next round decides from their facts.

mod candidates;
mod control_plane;
mod etcd;
mod fingerprint;
mod identity;
mod infrastructure;
mod log;
mod nodes;
pub(crate) mod preflight;
mod restore;
mod steps;
mod tried;
mod uncommitted;

use std::collections::BTreeMap;

use crate::facts::{Facts, Snapshots};
use crate::finding::{Diagnosis, Finding, FindingId, Remedy};
use crate::plan::{Action, Addressed, HostService, Plan, SCHEMA_VERSION, StateSource, Step};
pub use fingerprint::{Drift, drift, fingerprint};
pub(crate) use identity::OwnIdentity;
use steps::Steps;
pub use tried::Tried;

/// Inputs of the planner besides facts.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Unique name of the plan.
    pub id: String,
    /// State that `--source` chooses for a restore.
    pub source: Option<StateSource>,
    /// What earlier plans have tried.
    pub tried: Tried,
    /// Whether machines may be rebooted whose nodes a restart of the kubelet does not bring back.
    pub reboot_nodes: bool,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No state to restore is left anywhere, as far as can be seen.
    #[error(
        "no state to restore from: no member's data dir is readable and no usable snapshot is known; pass one with \
         --source, or list it under `snapshots` in the inventory"
    )]
    NoSource,
    /// No member's data is left, and the snapshots were not examined.
    #[error("no state to restore from: no member's data dir is readable, and {0}")]
    Unexamined(String),
    /// What was asked for with `--source` cannot be taken.
    #[error("--source {0}: {1}")]
    BadSource(StateSource, String),
    /// A snapshot holds more than the best member does.
    #[error(
        "{member} is at revision {held}, and {snapshot} has revision {saved}: the member was re-initialized or \
         rolled back; choose the right state with --source"
    )]
    AmbiguousState {
        /// The member with most.
        member: Box<StateSource>,
        /// Current revision of the member.
        held: i64,
        /// The snapshot with most.
        snapshot: Box<StateSource>,
        /// Current revision of the snapshot.
        saved: i64,
    },
    /// A member that waits for the others may hold more than what would be restored.
    #[error(
        "{member} on {host} runs and does not answer, so its data cannot be read, and it may hold writes that \
         {chosen} lacks; stop {service} on {host} and recover again, or choose the state to restore with --source"
    )]
    Unread {
        /// Name of the etcd member.
        member: String,
        /// Inventory name of its machine.
        host: String,
        /// What runs it.
        service: String,
        /// The state that would be restored.
        chosen: Box<StateSource>,
    },
    /// What a member holds is not known, so that it may hold more than what would be restored.
    #[error(
        "{member}: {why}; it may hold writes that {chosen} lacks: resolve that and recover again, or choose the \
         state to restore with --source"
    )]
    Unknown {
        /// Name of the etcd member.
        member: String,
        /// Why it is not known.
        why: String,
        /// The state that would be restored.
        chosen: Box<StateSource>,
    },
    /// The log of a member whose db cannot be used goes further than what would be restored, and is not read with it.
    #[error(
        "the log of {member} goes to entry {last} of term {term}, beyond {chosen}, and {why}: writes in it would be \
         lost; `lifeboat salvage` on {host} makes a file of what is left for --source; or choose the state to \
         restore"
    )]
    Further {
        /// Name of the etcd member.
        member: String,
        /// Inventory name of its machine.
        host: String,
        /// Index of its last entry.
        last: u64,
        /// Raft term of that entry.
        term: u64,
        /// Why its log is not read.
        why: String,
        /// The state that would be restored.
        chosen: Box<StateSource>,
    },
    /// The most recent state is that of a member with a CORRUPT alarm, or of one of several that etcd found to
    /// differ.
    #[error(
        "{0} has a CORRUPT alarm: etcd found members with different data; compare it with the other copies \
         (lifeboat inspect ONE OTHER), and choose the right state with --source"
    )]
    Corrupt(Box<StateSource>),
    /// An earlier recovery holds services stopped: what it moved aside may be newer than what can be seen.
    #[error(
        "{0} is fenced by an unfinished recovery, and the data it moved aside is newer than any snapshot: continue \
         with `lifeboat recover resume`, or choose the state to restore with --source"
    )]
    Fenced(String),
    /// The members' data is of several clusters.
    #[error(
        "the members' data belongs to different clusters and cannot be ranked: {0}; choose the right state with \
         --source member:NAME"
    )]
    MixedClusters(String),
    /// The snapshots are of several Kubernetes clusters, and nothing shows which of them is this one.
    #[error(
        "the snapshots belong to different clusters, and nothing readable shows which is this one: {0}; choose the \
         right one with --source"
    )]
    MixedSnapshots(String),
    /// A machine that must be fenced may be another one.
    #[error(
        "{0} may not be the inventory's machine and is left alone: etcd is not rebuilt, even with --source, until \
         that is resolved (lifeboat explain host.wrong-machine, host.key-changed)"
    )]
    WrongMachine(String),
    /// Nothing tells which of several processes is the static pod's: the others would be killed with it.
    #[error(
        "cannot stop {service} on {host}: {} processes could be the static pod's, and it is unclear which ({}); \
         give each its own --name and --data-dir, or stop the others",
        processes.len(), processes.join("; ")
    )]
    AmbiguousProcess {
        /// Inventory name of the machine.
        host: String,
        /// The program of the static pod.
        service: String,
        /// PIDs and command lines.
        processes: Vec<String>,
    },
    /// A check before the first change does not hold, or cannot be made.
    #[error("refused before anything is touched: {}", .0.join("; "))]
    Preflight(Vec<String>),
    /// A machine that must be fenced cannot be reached.
    #[error(
        "cannot fence {0}: a restored cluster must not start beside an old member or API server; bring the machine \
         back, or make sure that it is off and remove it from the inventory"
    )]
    CannotFence(String),
}

/// Decides what to do about a diagnosis.
///
/// # Errors
/// [`PlanError`] when what is wrong cannot be fixed with what is there.
pub fn plan(facts: &Facts, diagnosis: &Diagnosis, options: &PlanOptions) -> Result<Plan, PlanError> {
    let mut draft = Draft {
        facts,
        options,
        steps: Steps::default(),
        candidates: Vec::new(),
        established: Vec::new(),
        manual: Vec::new(),
    };
    let mut remedies = Remedies::of(&diagnosis.causes).after(&options.tried, facts, options.reboot_nodes);
    if diagnosis.all().into_iter().any(awaits_a_state) {
        remedies.keep_members();
    }
    let restores = restores(diagnosis, options.source.as_ref(), &options.tried);
    infrastructure::plan(&mut draft, &remedies);
    if draft.steps.is_empty() {
        if restores {
            restore::plan(&mut draft)?;
        } else {
            let in_order = etcd::plan(&mut draft, &remedies)?;
            control_plane::plan(&mut draft, &remedies);
            nodes::plan(&mut draft, &remedies);
            control_plane::enable(&mut draft, &remedies);
            draft.steps.independent_behind(in_order);
        }
    }
    let steps = draft.steps.into_vec(draft.established);
    distinct_processes(facts, &steps)?;
    let is_restore = !draft.candidates.is_empty();
    Ok(Plan {
        schema_version: SCHEMA_VERSION,
        id: options.id.clone(),
        cluster: facts.inventory.cluster.clone(),
        observed_at: facts.observed_at,
        source: options.source.clone(),
        machine_ids: machine_ids(facts),
        treats: addressed(diagnosis),
        unread_snapshots: facts.snapshots.as_ref().filter(|_| is_restore).map_or(0, |all| all.unread),
        unexamined_snapshots: unexamined(facts, options.source.as_ref()).filter(|_| is_restore),
        candidates: draft.candidates,
        steps,
        manual: [remedies.manual, draft.manual].concat(),
        unused_source: options.source.as_ref().filter(|_| !restores).map(unused),
        fingerprint: fingerprint(facts, diagnosis),
    })
}

/// Refuses to stop a static pod where several processes could be its own.
fn distinct_processes(facts: &Facts, steps: &[Step]) -> Result<(), PlanError> {
    let stopped = steps.iter().filter_map(|step| match &step.action {
        Action::Fence { services } | Action::Restart { services } => Some(services),
        _ => None,
    });
    for HostService { host, service } in stopped.flatten() {
        let states = facts.hosts.get(host).and_then(|host| host.services.get());
        let Some(state) = states.and_then(|states| states.get(&service.key())) else { continue };
        let ambiguous = state.ambiguous();
        if !ambiguous.is_empty() {
            let processes = ambiguous.iter().map(|process| format!("pid {} {}", process.pid, process.what));
            return Err(PlanError::AmbiguousProcess {
                host: host.clone(),
                service: service.label().into(),
                processes: processes.collect(),
            });
        }
    }
    Ok(())
}

/// Whether etcd is to be rebuilt: what is found calls for it, or waits for a person to say which state is right, and one has.
/// Else a person who names a state decides which one a restore takes, and not that one is made: an etcd that serves the right
/// one would lose all that was written since.
pub(crate) fn restores(diagnosis: &Diagnosis, source: Option<&StateSource>, tried: &Tried) -> bool {
    let awaited = || {
        let mut all = diagnosis.all().into_iter();
        all.any(|finding| awaits_a_state(finding) || is_started_in_vain(finding, tried))
    };
    Remedies::of(&diagnosis.causes).restore || (source.is_some() && awaited())
}

/// Whether only a person can say which state is right.
fn awaits_a_state(finding: &Finding) -> bool {
    finding.remedies.iter().any(|remedy| matches!(remedy, Remedy::NameState(_)))
}

/// Whether a quorum is lost, and starting the members that could hold it has not helped.
fn is_started_in_vain(finding: &Finding, tried: &Tried) -> bool {
    let mut starts = finding.remedies.iter().filter_map(|remedy| match remedy {
        Remedy::StartService { host, service } | Remedy::RestartService { host, service } => {
            Some((host, service))
        }
        _ => None,
    });
    finding.id == FindingId::EtcdQuorumLost && starts.any(|(host, service)| tried.has_started(host, service))
}

/// Says that the state a person has named is not restored.
pub(crate) fn unused(source: &StateSource) -> String {
    format!(
        "--source {source} is not used: no finding needs an etcd rebuild, and --source only chooses its state"
    )
}

/// Says that there may be other snapshots than those that a restore is planned with.
fn unexamined(facts: &Facts, source: Option<&StateSource>) -> Option<String> {
    let save = "`lifeboat recover plan --save-facts FILE` saves facts with them";
    match &facts.snapshots {
        None => Some(format!("snapshots were not examined: the facts do not include them; {save}")),
        Some(Snapshots { named: Some(named), .. })
            if source.and_then(StateSource::snapshot) != Some(named.as_path()) =>
        {
            let file = named.display();
            Some(format!(
                "other snapshots were not examined: the facts were saved with --source {file}; {save}"
            ))
        }
        Some(_) => None,
    }
}

/// A plan in the making.
struct Draft<'a> {
    facts: &'a Facts,
    options: &'a PlanOptions,
    steps: Steps,
    candidates: Vec<crate::plan::Candidate>,
    /// What the facts show of what its steps need, one line each.
    established: Vec<String>,
    /// What is left as it is, since more depends on it, and what people can do.
    manual: Vec<String>,
}

/// The remedies of a diagnosis, each once.
#[derive(Default)]
struct Remedies {
    automatic: Vec<Remedy>,
    restore: bool,
    manual: Vec<String>,
}

impl Remedies {
    /// Leaves members as they are while only a person can say which state is right: a new one would get the leader's, and
    /// what is left of the old one's data may tell.
    fn keep_members(&mut self) {
        let mut kept = Vec::new();
        self.automatic.retain(|remedy| match remedy {
            Remedy::ReplaceMember { member } => {
                kept.push(member.clone());
                false
            }
            _ => true,
        });
        let manual = |member| {
            format!(
                "{member} is not replaced until the right state is known: a new member copies the leader's data, \
                 and {member}'s own data may show which is right"
            )
        };
        self.manual.extend(kept.into_iter().map(manual));
    }

    fn of(causes: &[Finding]) -> Self {
        let mut remedies = Self::default();
        causes.iter().for_each(|cause| remedies.add(cause));
        remedies
    }

    /// Takes a finding's remedies, and those of what follows from it; not while only a person can end the finding,
    /// since what follows cannot be fixed before: a service does not start on a full disk.
    fn add(&mut self, finding: &Finding) {
        for remedy in &finding.remedies {
            match (remedy, remedy.by_hand()) {
                (_, Some(text)) if self.manual.iter().any(|known| known == text) => {}
                (_, Some(text)) => self.manual.push(text.to_owned()),
                (Remedy::RestoreCluster, _) => self.restore = true,
                (other, _) if !self.automatic.contains(other) => self.automatic.push(other.clone()),
                _ => {}
            }
        }
        if finding.remedies.is_empty() || finding.remedies.iter().any(|remedy| remedy.by_hand().is_none()) {
            finding.consequences.iter().for_each(|consequence| self.add(consequence));
        }
    }
}

fn machine_ids(facts: &Facts) -> BTreeMap<String, String> {
    let seen = |(name, host): (&String, &crate::facts::HostFacts)| {
        let id = host.machine_id.get().filter(|id| crate::inventory::is_machine_id(id))?;
        Some((name.clone(), id.clone()))
    };
    facts.hosts.iter().filter_map(seen).collect()
}

fn addressed(diagnosis: &Diagnosis) -> Vec<Addressed> {
    let addressed = |cause: &Finding| Addressed { id: cause.id, subjects: cause.subjects.clone() };
    diagnosis.causes.iter().map(addressed).collect()
}
