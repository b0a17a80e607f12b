//! etcd: quorum, members, alarms.

mod ahead;
mod alarms;
mod cluster;
mod data;
mod members;
mod quorum;
mod state;
mod unlisted;

pub(super) use cluster::{Cluster, Quorum};

use super::look::Look;
use super::sighting::Sighting;

pub(super) fn look(look: &Look<'_>, cluster: &Cluster<'_>) -> Vec<Sighting> {
    let mut found = members::look(look, cluster);
    found.extend(quorum::look(look, cluster));
    found.extend(state::look(look, cluster));
    found.extend(unlisted::look(look, cluster));
    found.extend(data::look(look, cluster));
    found.extend(alarms::look(look, cluster));
    found
}
