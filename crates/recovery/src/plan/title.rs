//! Titles of steps. A title is derived from the action alone, so that it matches what is done: the title in a plan
//! file is ignored.

use super::{Action, HostService, StateSource};
use crate::facts::NO_MEMBER;

impl Action {
    /// What it does, in one line.
    pub fn title(&self) -> String {
        match self {
            Self::Preflight => "Preflight: check the requirements of all steps before any change".into(),
            Self::CreateIpRange { range } => {
                format!("Recreate the cloud's IP range {}-{}", range.start_ip, range.end_ip)
            }
            Self::AttachNic { host, nic, .. } => {
                format!("Attach {host}'s NIC {} with MAC {}", nic.ip, nic.mac)
            }
            Self::StartVm { host, .. } => format!("Power on {host}"),
            Self::WaitForHosts { hosts } => {
                let accept = if hosts.len() == 1 { "accepts" } else { "accept" };
                format!("Wait until {} {accept} SSH logins", hosts.join(", "))
            }
            Self::Stabilize { .. } => "Wait for dependents to recover".into(),
            Self::Fence { services } => format!("Stop and fence {}", names(services)),
            Self::Release { services } | Self::Start { services } => format!("Start {}", names(services)),
            Self::Restart { services } => format!("Restart {}", names(services)),
            Self::Enable { services } => format!("Enable {}", names(services)),
            Self::Distribute { source: StateSource::Log { member, base }, hosts, .. } => {
                let base = StateSource::from(base.clone());
                format!("Read {member}'s log on top of {base}, send the state to {}", hosts.join(", "))
            }
            Self::ConfirmState { source: StateSource::Log { member, .. }, .. } => {
                format!("Verify that {member}'s data dir is unchanged since its log was read")
            }
            Self::Distribute { source, revision, hosts } => {
                let at = revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
                format!("Send the state of {source}{at} to {}", hosts.join(", "))
            }
            Self::ConfirmState { source, .. } => {
                format!("Verify that {source} is unchanged since its state was read")
            }
            Self::MoveAside { member, to, .. } => {
                format!("Move {member}'s data dir aside to {}", to.display())
            }
            Self::RestoreMember { member, .. } => format!("Restore {member}"),
            Self::WaitForEtcd { members, restored: None } => {
                format!("Wait for a leader and equal data on {}", members.join(", "))
            }
            Self::WaitForEtcd { members, restored: Some(_) } => {
                format!("Wait for a leader and the restored data on {}", members.join(", "))
            }
            Self::RemoveMember { member, .. } => format!("Remove {member}'s old id from the cluster"),
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
            Self::ReleaseLeases { .. } => "Release the leader leases in the restored state".into(),
            Self::WaitForLeaders => "Wait for controller-manager and scheduler leaders".into(),
            Self::RecoverNodes { hosts } => format!("Get nodes Ready: {}", hosts.join(", ")),
            Self::RebootNode { host } => {
                format!("Reboot {host}, if its node is still not Ready: cordon, drain, reboot, uncordon")
            }
            Self::WaitForChecks { checks } => format!("Wait until these checks pass: {}", checks.join(", ")),
            Self::CleanUp { hosts } => {
                format!("Clean up temporary files on {}", hosts.join(", "))
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
