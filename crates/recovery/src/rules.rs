//! The rules: from facts to findings, causes first. Pure functions: the same facts give the same diagnosis.
//!
//! Each layer tells what it sees by itself, one `Sighting` at a time, without looking at the others. Afterwards
//! one place, `cause`, hangs what follows under what it follows from, by a table, and puts sightings of one
//! kind below one cause together into one finding.

mod cause;
mod checks;
mod cloud;
mod control_plane;
mod etcd;
mod host;
mod leaders;
pub(crate) mod look;
mod nodes;
mod sighting;
mod unknown;
mod words;

use crate::facts::Facts;
use crate::finding::{Diagnosis, Remedy};
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
    untouchable(&look, &mut sightings);
    let unknown = unknown::list(&look, &sightings);
    Diagnosis {
        observed_at: facts.observed_at,
        cluster: facts.inventory.cluster.clone(),
        causes: cause::tree(&look, &cluster, sightings),
        unknown,
    }
}

/// Takes away every remedy that would touch a machine which is not known to be the right one, and every start that is
/// not ours to make.
fn untouchable(look: &Look<'_>, sightings: &mut [Sighting]) {
    let trusted = |remedy: &Remedy| sighting::touches(look, remedy).all(|host| look.is_trusted(&host));
    for sighting in sightings {
        sighting.remedies.retain(|remedy| trusted(remedy) && !is_started_by_another(look, remedy));
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
