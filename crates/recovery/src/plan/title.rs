//! What a step is called. A title follows from the action alone, so that what is read is what is done: a plan file has no
//! say in it.

use super::{Action, HostService, StateSource};
use crate::facts::NO_MEMBER;

impl Action {
    /// What it does, in one line.
    pub fn title(&self) -> String {
        match self {
            Self::Preflight => "Preflight: check what the steps below need before anything is touched".into(),
            Self::CreateIpRange { range } => {
                format!("Make the cloud's IP range {}-{} again", range.start_ip, range.end_ip)
            }
            Self::AttachNic { host, nic, .. } => {
                format!("Attach {host}'s NIC {} with MAC {}", nic.ip, nic.mac)
            }
            Self::StartVm { host, .. } => format!("Switch on {host}"),
            Self::WaitForHosts { hosts } => format!("Wait until {} can be logged in to", hosts.join(", ")),
            Self::Settle { .. } => "Let what depends on it recover by itself".into(),
            Self::Fence { services } => format!("Stop and fence {}", names(services)),
            Self::Release { services } | Self::Start { services } => format!("Start {}", names(services)),
            Self::Restart { services } => format!("Restart {}", names(services)),
            Self::Enable { services } => format!("Enable {}", names(services)),
            Self::Distribute { source: StateSource::Log { member, base }, hosts, .. } => {
                let base = StateSource::from(base.clone());
                format!("Read {member}'s log on top of {base}, bring the state to {}", hosts.join(", "))
            }
            Self::ConfirmState { source: StateSource::Log { member, .. }, .. } => {
                format!("Make sure that {member}'s data dir was not written to since its log was read")
            }
            Self::Distribute { source, revision, hosts } => {
                let at = revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
                format!("Bring the state of {source}{at} to {}", hosts.join(", "))
            }
            Self::ConfirmState { source, .. } => {
                format!("Make sure that {source} was not written to since its state was taken")
            }
            Self::MoveAside { member, to, .. } => {
                format!("Move {member}'s data dir aside to {}", to.display())
            }
            Self::RestoreMember { member, .. } => format!("Restore {member}"),
            Self::WaitForEtcd { members, restored: None } => {
                format!("Wait for a leader and equal data on {}", members.join(", "))
            }
            Self::WaitForEtcd { members, restored: Some(_) } => {
                format!("Wait for a leader and for what was restored on {}", members.join(", "))
            }
            Self::RemoveMember { member, .. } => format!("Take {member}'s old id out of the cluster"),
            Self::AddLearner { member, .. } => format!("Add {member} as a learner and start it"),
            Self::PromoteLearner { member } => format!("Promote {member} once it has caught up"),
            Self::ClearNospace { members } => {
                format!("Compact, defragment and clear the NOSPACE alarm on {}", members.join(", "))
            }
            Self::DisarmCorrupt { id } if id == NO_MEMBER => {
                "Disarm the CORRUPT alarm that names no member".into()
            }
            Self::DisarmCorrupt { id } => {
                format!("Disarm the CORRUPT alarm of {id}, which is no longer a member")
            }
            Self::WaitForApiservers { hosts } => {
                format!("Wait until the API servers on {} are ready", hosts.join(", "))
            }
            Self::ReleaseLeases { .. } => "Give up the leader leases that the restored state knows".into(),
            Self::WaitForLeaders => "Wait for a leading controller-manager and scheduler".into(),
            Self::RecoverNodes { hosts } => format!("Get nodes Ready: {}", hosts.join(", ")),
            Self::RebootNode { host } => {
                format!("Reboot {host}, if its node is still not Ready: cordon, drain, reboot, uncordon")
            }
            Self::WaitForChecks { checks } => format!("Wait until these answer: {}", checks.join(", ")),
            Self::CleanUp { hosts } => {
                format!("Clean up what was sent to the machines: {}", hosts.join(", "))
            }
        }
    }
}

/// `etcd.service on m1, m2`.
fn names(services: &[HostService]) -> String {
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for HostService { host, service } in services {
        match parts.iter_mut().find(|(name, _)| *name == service.label()) {
            Some((_, hosts)) => hosts.push(host),
            None => parts.push((service.label(), vec![host])),
        }
    }
    let parts = parts.iter().map(|(name, hosts)| format!("{name} on {}", hosts.join(", ")));
    parts.collect::<Vec<_>>().join("; ")
}
