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
mod look;
mod nodes;
mod sighting;
mod unknown;
mod words;

use crate::facts::Facts;
use crate::finding::{Diagnosis, Remedy};
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

/// Takes away every remedy that would touch a machine which is not known to be the right one, and every start of a
/// service that is fenced, which only its recovery may start.
fn untouchable(look: &Look<'_>, sightings: &mut [Sighting]) {
    let fenced = |remedy: &Remedy| match remedy {
        Remedy::StartService { host, service } => {
            look.service(host, service).is_some_and(|state| state.fenced)
        }
        _ => false,
    };
    let trusted = |remedy: &Remedy| sighting::touches(look, remedy).all(|host| look.is_trusted(&host));
    for sighting in sightings {
        sighting.remedies.retain(|remedy| trusted(remedy) && !fenced(remedy));
    }
}
