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

use super::facts_view::FactsView;
use super::symptom::Symptom;

pub(super) fn evaluate(view: &FactsView<'_>, cluster: &Cluster<'_>) -> Vec<Symptom> {
    let mut found = members::evaluate(view, cluster);
    found.extend(quorum::evaluate(view, cluster));
    found.extend(state::evaluate(view, cluster));
    found.extend(unlisted::evaluate(view, cluster));
    found.extend(data::evaluate(view, cluster));
    found.extend(alarms::evaluate(view, cluster));
    found
}
