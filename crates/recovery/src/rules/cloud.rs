//! The cloud: NICs, VMs and IP ranges as it knows them, against the inventory.

use crate::facts::{CloudFacts, CloudNic, CloudVm};
use crate::finding::{Evidence, FindingId, Remedy};
use crate::inventory::{Cloud, IpRangeSpec, NicSpec, Vm};

use super::facts_view::{FactsView, no_answer, seen_in};
use super::symptom::Symptom;

/// States of a VM that is about to run by itself; everything else but `Running` is powered off.
const PASSING: &[&str] = &["Starting", "Rebooting", "Migrating", "VolumeMigrating", "Resuming", "Stopping"];

pub(super) fn evaluate(view: &FactsView<'_>) -> Vec<Symptom> {
    let Some(cloud) = &view.facts.cloud else { return Vec::new() };
    let mut found: Vec<Symptom> = unreachable(view, cloud).into_iter().collect();
    for (host, spec) in &view.inventory().hosts {
        let Some(vm) = &spec.vm else { continue };
        let power = power(cloud, host, vm);
        // A VM that is not there takes no NIC.
        if power.as_ref().is_none_or(|symptom| symptom.id != FindingId::VmMissing) {
            found.extend(nics(view, cloud, host, vm));
        }
        found.extend(power);
    }
    found
}

fn unreachable(view: &FactsView<'_>, cloud: &CloudFacts) -> Option<Symptom> {
    let silent: Vec<Evidence> = [
        no_answer(&cloud.nics, "NICs"),
        no_answer(&cloud.vms, "VMs"),
        no_answer(&cloud.ip_ranges, "IP ranges"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some(Cloud::Zstack(zstack)) = &view.inventory().cloud else { return None };
    (!silent.is_empty()).then(|| {
        Symptom::new(FindingId::CloudUnreachable)
            .about([zstack.endpoint.as_str()])
            .summary(format!("The cloud's API at {} is unavailable", zstack.endpoint))
            .shown_by(silent)
            .manual(format!(
                "check that {} is reachable from here and accepts the access key",
                zstack.endpoint
            ))
    })
}

fn power(cloud: &CloudFacts, host: &str, vm: &Vm) -> Option<Symptom> {
    let known = cloud.vms.get()?.iter().find(|known| known.uuid == vm.uuid);
    match known {
        Some(CloudVm { state, .. }) if state == "Running" || PASSING.contains(&state.as_str()) => None,
        Some(CloudVm { state, .. }) if state == "Destroyed" => Some(missing(cloud, host, "is destroyed")),
        None => Some(missing(cloud, host, "is not known")),
        Some(CloudVm { state, name, .. }) => {
            let remedy = match state.as_str() {
                "Stopped" | "Crashed" => Remedy::StartVm { host: host.into() },
                _ => Remedy::Manual(format!("bring VM {name} from {state} to Running in the cloud")),
            };
            let seen = seen_in(&cloud.vms, format!("VM {name} ({}) is {state}", vm.uuid));
            Some(Symptom::new(FindingId::VmStopped).on(host).shown_by([seen]).remedy(remedy))
        }
    }
}

fn missing(cloud: &CloudFacts, host: &str, how: &str) -> Symptom {
    Symptom::new(FindingId::VmMissing)
        .on(host)
        .shown_by([seen_in(&cloud.vms, format!("{host}'s VM {how} in the cloud"))])
        .manual(format!(
            "recover {host}'s VM in the cloud, or make a new one and write its id into the inventory"
        ))
}

fn nics(view: &FactsView<'_>, cloud: &CloudFacts, host: &str, vm: &Vm) -> Vec<Symptom> {
    let Some(known) = cloud.nics.get() else { return Vec::new() };
    let judge = |nic: &NicSpec| {
        let own =
            |test: &dyn Fn(&CloudNic) -> bool| known.iter().find(|known| known.vm == vm.uuid && test(known));
        match own(&|known| known.ip == nic.ip)
            .or_else(|| own(&|known| known.mac.eq_ignore_ascii_case(&nic.mac)))
        {
            None => Some(nic_missing(view, cloud, host, nic, known)),
            Some(there) => nic_changed(cloud, host, nic, there),
        }
    };
    vm.nics.iter().filter_map(judge).collect()
}

fn nic_missing(
    view: &FactsView<'_>,
    cloud: &CloudFacts,
    host: &str,
    nic: &NicSpec,
    known: &[CloudNic],
) -> Symptom {
    let gone = format!("{host}'s VM has no NIC {} (MAC {})", nic.ip, nic.mac);
    let mut evidence: Vec<Evidence> = range_gone(view, cloud, nic).into_iter().collect();
    evidence.push(seen_in(&cloud.nics, gone));
    let taken = known.iter().find(|known| known.ip == nic.ip);
    evidence.extend(taken.map(|other| {
        seen_in(&cloud.nics, format!("{} is now the address of another VM, {}", nic.ip, other.vm))
    }));
    let symptom = Symptom::new(FindingId::NicMissing).on(host).shown_by(evidence);
    match taken {
        None => symptom.remedy(Remedy::AttachNics { hosts: vec![host.into()] }),
        // The cloud gives an address once; only people know whether its holder may lose it.
        Some(other) => symptom.manual(format!(
            "release {} from VM {} in the cloud, since it is {host}'s address, then run `lifeboat recover`",
            nic.ip, other.vm
        )),
    }
}

/// The range of the inventory an address lies in, if the cloud has no such range.
fn range_gone(view: &FactsView<'_>, cloud: &CloudFacts, nic: &NicSpec) -> Option<Evidence> {
    let Cloud::Zstack(zstack) = view.inventory().cloud.as_ref()?;
    let holds = |range: &&IpRangeSpec| range.l3_network == nic.l3_network && range.contains(&nic.ip);
    let range = zstack.ip_ranges.iter().find(holds)?;
    let there = cloud.ip_ranges.get()?.iter().any(|known| known.contains(&nic.l3_network, &nic.ip));
    (!there).then(|| {
        let what = format!("IP range {} ({} to {}) is gone", range.name, range.start_ip, range.end_ip);
        seen_in(&cloud.ip_ranges, what)
    })
}

fn nic_changed(cloud: &CloudFacts, host: &str, nic: &NicSpec, there: &CloudNic) -> Option<Symptom> {
    let differs = |what: &str, was: &str, is: &str| {
        (!was.eq_ignore_ascii_case(is)).then(|| format!("{what} {is}, not {was}"))
    };
    let differences: Vec<String> = [
        differs("address", &nic.ip, &there.ip),
        differs("MAC", &nic.mac, &there.mac),
        differs("network", &nic.l3_network, &there.l3_network),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!differences.is_empty()).then(|| {
        let seen = format!("{host}'s NIC {} has {}", nic.ip, differences.join(", "));
        Symptom::new(FindingId::NicChanged)
            .on(host)
            .shown_by([seen_in(&cloud.nics, seen)])
            .manual(format!(
                "detach that NIC from {host} in the cloud and run `lifeboat recover`, which reattaches it; or, if \
                 the change is intended, update the inventory"
            ))
    })
}
