//! Infrastructure: NICs, power and logins.

use crate::finding::Remedy;
use crate::inventory::{Cloud, IpRangeSpec};
use crate::plan::{Action, Needs};

use super::{Draft, Remedies};

/// Longest an attach may take; ZStack answers in seconds unless its agents are busy.
const ATTACH_SECONDS: u64 = 120;
/// Longest from power-on to a login.
const BOOT_SECONDS: u64 = 300;
/// How long members, API servers and nodes get to find each other again by themselves.
const STABILIZE_SECONDS: u64 = 30;

/// Adds the steps that recover machines. They are independent: one that the cloud refuses does not block the others.
pub(super) fn plan(draft: &mut Draft<'_>, remedies: &Remedies) {
    let mut back = Back::default();
    for remedy in &remedies.automatic {
        match remedy {
            Remedy::AttachNics { hosts } => {
                let ranges = create_ranges(draft);
                // Control plane and etcd machines come first.
                let mut hosts = hosts.clone();
                hosts.sort_by_key(|host| !draft.facts.inventory.holds_cluster_up(host));
                hosts.iter().for_each(|host| attach(draft, host, &ranges, &mut back));
            }
            Remedy::StartVm { host } => start(draft, host, &mut back),
            _ => {}
        }
    }
    if back.hosts.is_empty() {
        return;
    }
    let Back { hosts, steps } = back;
    draft.steps.add(BOOT_SECONDS, Action::WaitForHosts { hosts });
    draft.steps.needing(Needs::OneOf(steps.clone()));
    stabilize(draft);
    draft.steps.needing(Needs::OneOf(steps));
}

/// The machines that come back, and the steps that bring them.
#[derive(Default)]
struct Back {
    hosts: Vec<String>,
    steps: Vec<u32>,
}

impl Back {
    fn add(&mut self, host: &str, step: u32) {
        if !self.hosts.iter().any(|known| known == host) {
            self.hosts.push(host.into());
        }
        self.steps.push(step);
    }
}

/// Adds a pause: most services recover by themselves once their dependencies are back, and must not be restarted
/// meanwhile.
pub(super) fn stabilize(draft: &mut Draft<'_>) {
    draft.steps.add(STABILIZE_SECONDS + 30, Action::Stabilize { seconds: STABILIZE_SECONDS });
}

/// Addresses can be given out only inside a range: those that are gone are made again.
fn create_ranges(draft: &mut Draft<'_>) -> Vec<u32> {
    let Some(Cloud::Zstack(zstack)) = &draft.facts.inventory.cloud else { return Vec::new() };
    let known = draft.facts.cloud.as_ref().and_then(|cloud| cloud.ip_ranges.get());
    let Some(known) = known else { return Vec::new() };
    let gone = |range: &&IpRangeSpec| {
        let holds = |ip: &str| known.iter().any(|known| known.contains(&range.l3_network, ip));
        !(holds(&range.start_ip) && holds(&range.end_ip))
    };
    let mut steps = Vec::new();
    for range in zstack.ip_ranges.iter().filter(gone) {
        steps.push(draft.steps.add(ATTACH_SECONDS, Action::CreateIpRange { range: range.clone() }));
        draft.steps.needing(Needs::Steps(Vec::new()));
    }
    steps
}

fn attach(draft: &mut Draft<'_>, host: &str, ranges: &[u32], back: &mut Back) {
    let inventory = &draft.facts.inventory;
    let Some(vm) = inventory.hosts.get(host).and_then(|spec| spec.vm.as_ref()) else { return };
    let nics = draft.facts.cloud.as_ref().and_then(|cloud| cloud.nics.get());
    for nic in &vm.nics {
        if nics.is_some_and(|nics| nics.iter().any(|known| known.vm == vm.uuid && known.ip == nic.ip)) {
            continue;
        }
        let action = Action::AttachNic { host: host.into(), vm: vm.uuid.clone(), nic: nic.clone() };
        let step = draft.steps.add(ATTACH_SECONDS, action);
        draft.steps.changing(format!("{host} is back on the network with its address and MAC"));
        draft.steps.needing(Needs::Steps(ranges.to_vec()));
        back.add(host, step);
    }
}

fn start(draft: &mut Draft<'_>, host: &str, back: &mut Back) {
    let Some(vm) = draft.facts.inventory.hosts.get(host).and_then(|spec| spec.vm.as_ref()) else { return };
    let action = Action::StartVm { host: host.into(), vm: vm.uuid.clone() };
    let step = draft.steps.add(BOOT_SECONDS, action);
    draft.steps.needing(Needs::Steps(Vec::new()));
    back.add(host, step);
}
