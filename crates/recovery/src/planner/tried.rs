//! What earlier plans have tried: a remedy that did not help is replaced by the next one, and never repeated.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_etcd::EntryId;

use crate::facts::{DataDir, Facts, MemberFacts};
use crate::finding::Remedy;
use crate::inventory::Service;
use crate::journal::{Entry, Event, GIVEN_UP};
use crate::plan::{Action, HostService, Plan};
use crate::quorum::{Margin, seats};

use super::{Remedies, nodes};

/// What earlier plans have tried and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Services that were started or restarted.
    services: BTreeSet<HostService>,
    /// Machines whose nodes were given up after a restart of their kubelets.
    kubelets: BTreeSet<String>,
    /// Machines that were rebooted.
    rebooted: BTreeSet<String>,
    /// etcd members that were replaced.
    replaced: BTreeSet<String>,
    /// Machines whose NICs or VM the cloud did not bring back, with its words.
    refused: BTreeMap<String, String>,
}

impl Tried {
    /// Takes what a plan did, by the journal of its run. What the cloud refused in an operation that has `ended` is asked
    /// for again: people may have seen to it.
    pub fn add(&mut self, plan: &Plan, journal: &[Entry], ended: bool) {
        let starts = |entry: &Entry| matches!(&entry.event, Event::Plan { plan: id } if *id == plan.id);
        let run: Vec<&Event> = journal
            .iter()
            .skip_while(|entry| !starts(entry))
            .skip(1)
            .map(|entry| &entry.event)
            .take_while(|event| !matches!(event, Event::Plan { .. }))
            .collect();
        let rebooted = |event: &Event| match event {
            Event::Note { note, .. } => {
                note.strip_prefix("reboot ")?.split_once(", boot id ").map(|(host, _)| host.to_owned())
            }
            _ => None,
        };
        self.rebooted.extend(run.iter().filter_map(|event| rebooted(event)));
        // A node that came back, by itself or by a restart of its kubelet, was not recovered in vain.
        let given_up = |event: &Event| match event {
            Event::Note { note, .. } => note.strip_prefix(GIVEN_UP).map(str::to_owned),
            _ => None,
        };
        self.kubelets.extend(run.iter().filter_map(|event| given_up(event)));
        for step in &plan.steps {
            // What there was nothing to do for was not tried.
            let done = run.iter().any(
                |event| matches!(event, Event::Done { step: number, already: false } if *number == step.number),
            );
            let failed = run.iter().rev().find_map(|event| match event {
                Event::Failed { step: number, why } if *number == step.number => Some(why.clone()),
                _ => None,
            });
            if done || failed.is_some() {
                self.attempt(&step.action, failed.filter(|_| !done && !ended));
            }
        }
    }

    fn attempt(&mut self, action: &Action, failed: Option<String>) {
        match action {
            Action::Start { services } | Action::Restart { services } => {
                self.services.extend(services.iter().cloned());
            }
            Action::AddLearner { member, .. } => drop(self.replaced.insert(member.clone())),
            Action::AttachNic { host, .. } | Action::StartVm { host, .. } => {
                if let Some(why) = failed {
                    self.refused.insert(host.clone(), why);
                }
            }
            _ => {}
        }
    }

    pub(super) fn has_started(&self, host: &str, service: &Service) -> bool {
        self.services.iter().any(|tried| tried.host == host && tried.service == *service)
    }
}

impl Remedies {
    /// Replaces remedies that did not help by the next ones.
    pub(super) fn after(self, tried: &Tried, facts: &Facts, reboot_nodes: bool) -> Self {
        let mut after = Self { restore: self.restore, manual: self.manual, ..Self::default() };
        for remedy in self.automatic {
            match &remedy {
                // After the kubelet comes the machine, where that is asked for.
                Remedy::RecoverNode { host } if reboot_nodes && !tried.rebooted.contains(host) => {
                    after.push(remedy);
                }
                _ => next(&mut after, tried, facts, remedy),
            }
        }
        after
    }

    fn push(&mut self, remedy: Remedy) {
        if !self.automatic.contains(&remedy) {
            self.automatic.push(remedy);
        }
    }

    fn push_manual(&mut self, text: String) {
        if !self.manual.contains(&text) {
            self.manual.push(text);
        }
    }
}

fn next(after: &mut Remedies, tried: &Tried, facts: &Facts, remedy: Remedy) {
    match &remedy {
        Remedy::StartService { host, service } | Remedy::RestartService { host, service }
            if tried.has_started(host, service) =>
        {
            let mut members = facts.inventory.etcd.members.iter();
            match members.find(|(_, spec)| spec.host == *host && spec.service == *service) {
                // A process that ends again has a flag, a file or a certificate wrong: a new member would start no better.
                Some((member, _))
                    if stays_up(facts, host, service)
                        && !tried.replaced.contains(member)
                        && is_dispensable(facts, member) =>
                {
                    after.push(Remedy::ReplaceMember { member: member.clone() });
                }
                Some((member, _)) => {
                    after.push_manual(in_vain(host, service));
                    after.push_manual(logs(facts, member));
                }
                None => after.push_manual(in_vain(host, service)),
            }
        }
        Remedy::ReplaceMember { member } if tried.replaced.contains(member) => after.push_manual(format!(
            "etcd member {member} was replaced and is still not healthy: its log says why (certificates, flags, \
             network to its peers)"
        )),
        Remedy::RecoverNode { host } if tried.kubelets.contains(host) => {
            after.push_manual(format!(
                "the kubelet on {host} was restarted and its node is still not Ready: `journalctl -u kubelet -n 50` there says \
                 why"
            ));
            if !tried.rebooted.contains(host) && !facts.inventory.has_role(host) {
                after.push_manual(nodes::reboot_advice(host));
            }
        }
        Remedy::AttachNics { hosts } if hosts.iter().any(|host| tried.refused.contains_key(host)) => {
            let (refused, left): (Vec<String>, Vec<String>) =
                hosts.iter().cloned().partition(|host| tried.refused.contains_key(host));
            refused.iter().for_each(|host| after.push_manual(in_the_cloud(tried, host)));
            if !left.is_empty() {
                after.push(Remedy::AttachNics { hosts: left });
            }
        }
        Remedy::StartVm { host } if tried.refused.contains_key(host) => after.push_manual(in_the_cloud(tried, host)),
        _ => after.push(remedy),
    }
}

/// Whether a service runs now.
fn stays_up(facts: &Facts, host: &str, service: &Service) -> bool {
    let services = facts.hosts.get(host).and_then(|host| host.services.get());
    services.and_then(|all| all.get(&service.key())).is_some_and(crate::facts::ServiceState::is_running)
}

/// Whether the others are a quorum without this member.
fn is_dispensable(facts: &Facts, member: &str) -> bool {
    let seats = seats(&facts.inventory, &facts.members);
    seats.is_some_and(|seats| Margin::replacing(&seats, member).holds())
}

/// How far every member's log goes: what the furthest holds is lost where the cluster is rebuilt from another.
fn logs(facts: &Facts, member: &str) -> String {
    let end = |facts: &MemberFacts| match facts.data_dir.get() {
        Some(DataDir::InUse(Some(log))) => log.last(),
        _ => facts.last_entry(),
    };
    let mut ends: Vec<(EntryId, &String)> =
        facts.members.iter().filter_map(|(name, facts)| Some((end(facts)?, name))).collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let list: Vec<String> = ends
        .iter()
        .map(|(end, name)| format!("{name} at entry {} of term {}", end.index, end.term))
        .collect();
    let furthest = ends.first().map_or(member, |(_, name)| name.as_str());
    format!(
        "{member} is not replaced: the others have no quorum without it. The logs end at: {}. If the members do not \
         come up, stop etcd everywhere and rebuild it from the furthest: `lifeboat recover --source \
         member:{furthest}`",
        list.join(", ")
    )
}

fn in_vain(host: &str, service: &Service) -> String {
    let log = match service {
        Service::Unit(unit) => format!("journalctl -u {unit} -n 50"),
        Service::StaticPod(pod) => format!("crictl ps -a --name {}", pod.process),
    };
    format!("{} on {host} was restarted, which did not help: its log says why: `{log}`", service.label())
}

fn in_the_cloud(tried: &Tried, host: &str) -> String {
    let why = tried.refused.get(host).map(String::as_str).unwrap_or_default();
    format!("the cloud did not recover {host}: {why}; fix it there, then run `lifeboat recover` again")
}
