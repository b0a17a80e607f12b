//! The rules: from facts to findings, causes first. Pure functions: the same facts give the same diagnosis.
//!
//! Each layer tells what it sees by itself, one `Sighting` at a time, without looking at the others. Afterwards
//! one place, `cause`, hangs what follows under what it follows from, by a table, and puts sightings of one
//! kind below one cause together into one finding.

mod cause;
mod checks;
mod cloud;
mod control_plane;
mod coverage;
mod etcd;
mod host;
mod leaders;
pub(crate) mod look;
mod nodes;
mod operation;
mod sighting;
mod unknown;
mod words;

use crate::facts::Facts;
use crate::finding::{Diagnosis, FindingId, Remedy};
use crate::inventory::Service;
use look::Look;
use sighting::Sighting;

/// Tells what is wrong and why, from one look at a cluster.
///
/// What could not be asked is neither right nor wrong: it is listed as unknown, unless a finding explains it.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let look = Look::new(facts);
    let cluster = etcd::Cluster::of(&look);
    let mut sightings = cloud::look(&look);
    sightings.extend(host::look(&look));
    sightings.extend(etcd::look(&look, &cluster));
    sightings.extend(control_plane::look(&look, &cluster));
    sightings.extend(leaders::look(&look));
    sightings.extend(nodes::look(&look));
    sightings.extend(checks::look(&look));
    sightings.extend(operation::look(&look));
    untouchable(&look, &mut sightings);
    leave_alone_without_state(&mut sightings);
    let unknown = unknown::list(&look, &sightings);
    Diagnosis {
        observed_at: facts.observed_at,
        cluster: facts.inventory.cluster.clone(),
        causes: cause::tree(&look, &cluster, sightings),
        unknown,
        examined: coverage::examined(facts),
        not_examined: coverage::not_examined(),
    }
}

/// Takes away every remedy that would touch a machine which is not known to be the right one, and every start that is
/// not ours to make.
fn untouchable(look: &Look<'_>, sightings: &mut [Sighting]) {
    let trusted = |remedy: &Remedy| sighting::touches(look, remedy).all(|host| look.is_trusted(&host));
    for sighting in sightings {
        sighting.remedies.retain(|remedy| {
            trusted(remedy) && !is_started_by_another(look, remedy) && can_end(look, remedy)
        });
    }
}

/// Whether what a remedy starts at its end can be started at all: a member is not taken out of the cluster for one that
/// cannot come.
fn can_end(look: &Look<'_>, remedy: &Remedy) -> bool {
    let Remedy::ReplaceMember { member } = remedy else { return true };
    let Some(spec) = look.inventory().etcd.members.get(member) else { return false };
    look.service(&spec.host, &spec.service).is_none_or(|state| sighting::can_start(&spec.service, state))
}

/// While etcd serves a state that is not the cluster's, nothing that reads it is started, restarted or replaced: a kubelet
/// that starts then removes every pod that the state does not have.
fn leave_alone_without_state(sightings: &mut [Sighting]) {
    if !sightings.iter().any(|sighting| sighting.id == FindingId::EtcdStateLost) {
        return;
    }
    for sighting in sightings {
        sighting.remedies.retain(|remedy| {
            remedy.by_hand().is_some() || matches!(remedy, Remedy::AttachNics { .. } | Remedy::StartVm { .. })
        });
    }
}

/// Only its recovery starts a service that is fenced, and only a kubelet a static pod: once it is back, it does.
fn is_started_by_another(look: &Look<'_>, remedy: &Remedy) -> bool {
    let Remedy::StartService { host, service } = remedy else { return false };
    let fenced = look.service(host, service).is_some_and(|state| state.fenced);
    let kubelet_down = || {
        let kubelet = look.inventory().kubernetes.nodes.get(host).map(|node| node.kubelet.clone());
        let state = kubelet.and_then(|unit| look.service(host, &Service::Unit(unit)));
        state.is_some_and(|state| !state.is_running())
    };
    fenced || (matches!(service, Service::StaticPod(_)) && kubelet_down())
}
