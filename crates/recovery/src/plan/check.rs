//! A plan from a file is untrusted until it is checked: it may only name what is in the inventory.

use super::{Action, Guard, HostService, Plan, RestoredCluster, Step, aside, is_id};
use crate::facts::DataDirs;
use crate::inventory::{Cloud, Inventory, is_machine_id};

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanMismatch {
    /// The plan itself is not one that Lifeboat makes.
    #[error("not a plan of lifeboat: {0}")]
    Form(&'static str),
    /// A step names something that the inventory does not have.
    #[error("step {step} ({what}) names {name}, which is not in the inventory")]
    Foreign {
        /// Step number, from 1.
        step: u32,
        /// What it does.
        what: String,
        /// The unknown name.
        name: String,
    },
}

/// Seconds that no step needs: a month.
const LONGEST_STEP: u64 = 30 * 24 * 3600;

type Named = Result<(), String>;

impl Plan {
    /// Takes a plan that was read from a file: refuses one that names what the inventory does not have, and gives its steps
    /// the titles of what they do.
    ///
    /// # Errors
    /// [`PlanMismatch`].
    pub fn checked(mut self, inventory: &Inventory) -> Result<Self, PlanMismatch> {
        if !is_id(&self.id) {
            return Err(PlanMismatch::Form("its id is not a time and four letters"));
        }
        if !self.machine_ids.iter().all(|(host, id)| is_machine_id(id) && inventory.hosts.contains_key(host))
        {
            return Err(PlanMismatch::Form("its machine ids are not those of machines of the inventory"));
        }
        if self.steps.iter().any(|step| step.timeout_seconds > LONGEST_STEP) {
            return Err(PlanMismatch::Form("a step may take more than a month"));
        }
        let last = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        for (number, step) in (1..).zip(&self.steps) {
            if step.number != number || step.holds_until.is_some_and(|until| until <= number || until > last)
            {
                return Err(PlanMismatch::Form("its steps are not in order"));
            }
            self.check_dirs(step)?;
            self.check(&step.action, inventory).map_err(|name| PlanMismatch::Foreign {
                step: number,
                what: step.action.title(),
                name,
            })?;
        }
        for step in &mut self.steps {
            step.title = step.action.title();
            step.changes.clear();
        }
        Ok(self)
    }

    /// Directories are where the inventory's paths lead on the machine, which only the machine can say: what is moved must be
    /// guarded by that question, and what is written must be what was moved.
    fn check_dirs(&self, step: &Step) -> Result<(), PlanMismatch> {
        let guards = |member: &String, dirs: &DataDirs| {
            let guard = Guard::Data { member: member.clone(), dirs: dirs.clone() };
            step.guards.contains(&guard)
        };
        let moved = |member: &String, dirs: &DataDirs| {
            self.steps.iter().any(|other| match &other.action {
                Action::MoveAside { member: its, dirs: theirs, .. } => its == member && theirs == dirs,
                _ => false,
            })
        };
        let known = match &step.action {
            Action::MoveAside { member, dirs, .. } => guards(member, dirs),
            Action::RestoreMember { member, dirs, .. } | Action::AddLearner { member, dirs } => {
                moved(member, dirs)
            }
            _ => true,
        };
        if known {
            Ok(())
        } else {
            Err(PlanMismatch::Form("it moves or writes a directory that it does not check"))
        }
    }

    fn is_restored(&self, inventory: &Inventory, cluster: &RestoredCluster) -> Named {
        has(cluster.token == self.token(), || format!("token {}", cluster.token))?;
        has(cluster.initial_cluster == inventory.initial_cluster(), || cluster.initial_cluster.clone())
    }

    /// What an action names and the inventory does not have, if there is such a thing.
    fn check(&self, action: &Action, inventory: &Inventory) -> Named {
        match action {
            Action::CreateIpRange { range } => {
                let Some(Cloud::Zstack(zstack)) = &inventory.cloud else { return Err("a cloud".into()) };
                has(zstack.ip_ranges.contains(range), || {
                    format!("IP range {}-{}", range.start_ip, range.end_ip)
                })
            }
            Action::AttachNic { host, vm, nic } => {
                is_vm(inventory, host, vm)?;
                let known = inventory.hosts.get(host).and_then(|spec| spec.vm.as_ref());
                has(known.is_some_and(|known| known.nics.contains(nic)), || format!("NIC {}", nic.ip))
            }
            Action::StartVm { host, vm } => is_vm(inventory, host, vm),
            Action::WaitForHosts { hosts } | Action::CleanUp { hosts } => are_hosts(inventory, hosts),
            Action::Fence { services }
            | Action::Release { services }
            | Action::Start { services }
            | Action::Restart { services }
            | Action::Enable { services }
            | Action::ReleaseLeases { candidates: services } => are_services(inventory, services),
            Action::Distribute { source, hosts, .. } | Action::ConfirmState { source, hosts, .. } => {
                source.members().try_for_each(|name| is_member(inventory, name))?;
                are_hosts(inventory, hosts)
            }
            Action::MoveAside { member, dirs, to } => {
                is_member(inventory, member)?;
                has(aside(&dirs.data, &self.id) == *to, || to.display().to_string())
            }
            Action::RestoreMember { member, cluster, .. } => {
                is_member(inventory, member)?;
                self.is_restored(inventory, cluster)
            }
            Action::RemoveMember { member, id } => {
                is_member(inventory, member)?;
                is_member_id(id)
            }
            Action::DisarmCorrupt { id } => is_member_id(id),
            Action::AddLearner { member, .. } | Action::PromoteLearner { member } => {
                is_member(inventory, member)
            }
            Action::ClearNospace { members } => are_members(inventory, members),
            Action::WaitForEtcd { members, restored } => {
                are_members(inventory, members)?;
                restored.as_ref().map_or(Ok(()), |cluster| self.is_restored(inventory, cluster))
            }
            Action::WaitForApiservers { hosts } => {
                all(hosts, |host| inventory.kubernetes.control_plane.contains_key(host))
            }
            Action::RecoverNodes { hosts } => {
                all(hosts, |host| inventory.kubernetes.nodes.contains_key(host))
            }
            Action::RebootNode { host } => {
                has(inventory.kubernetes.nodes.contains_key(host), || host.clone())
            }
            Action::WaitForChecks { checks } => {
                all(checks, |name| inventory.checks.iter().any(|check| check.name == *name))
            }
            Action::Preflight | Action::Stabilize { .. } | Action::WaitForLeaders => Ok(()),
        }
    }
}

fn has(known: bool, name: impl FnOnce() -> String) -> Named {
    if known { Ok(()) } else { Err(name()) }
}

fn all(names: &[String], known: impl Fn(&String) -> bool) -> Named {
    names.iter().try_for_each(|name| has(known(name), || name.clone()))
}

fn are_hosts(inventory: &Inventory, hosts: &[String]) -> Named {
    all(hosts, |host| inventory.hosts.contains_key(host))
}

fn is_member(inventory: &Inventory, name: &str) -> Named {
    has(inventory.etcd.members.contains_key(name), || name.to_owned())
}

fn is_member_id(id: &str) -> Named {
    has(u64::from_str_radix(id, 16).is_ok(), || format!("member id {id}"))
}

fn are_members(inventory: &Inventory, members: &[String]) -> Named {
    members.iter().try_for_each(|member| is_member(inventory, member))
}

fn is_vm(inventory: &Inventory, host: &str, vm: &str) -> Named {
    let known = inventory.hosts.get(host).and_then(|spec| spec.vm.as_ref());
    has(known.is_some_and(|known| known.uuid == vm), || format!("VM {vm} of {host}"))
}

fn are_services(inventory: &Inventory, services: &[HostService]) -> Named {
    services.iter().try_for_each(|HostService { host, service }| {
        has(inventory.services_on(host).contains(service), || format!("{} on {host}", service.key()))
    })
}
