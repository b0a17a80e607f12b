//! Whether what etcd serves is this cluster's state: members that were all wiped, and started by units that say
//! `--initial-cluster-state=new`, make a new cluster that is well and empty.

use crate::finding::{FindingId, Severity};
use crate::rules::look::{Look, seen_in};
use crate::rules::sighting::Sighting;

use super::cluster::{Cluster, Quorum, State};

pub(super) fn look(look: &Look<'_>, cluster: &Cluster<'_>) -> Option<Sighting> {
    let nodes = &look.facts.kubernetes.nodes;
    let expected = look.inventory().kubernetes.nodes.len();
    let empty = expected > 0 && nodes.get()?.is_empty();
    if !empty || cluster.quorum != Quorum::Held {
        return None;
    }
    let served =
        cluster.members.iter().filter(|member| member.state == State::Serving).filter_map(|member| {
            let status = member.facts.status.get()?;
            Some(seen_in(
                &member.facts.status,
                format!("{} serves revision {}", member.name, status.revision),
            ))
        });
    Some(
        Sighting::new(FindingId::EtcdStateLost, Severity::Critical)
            .about([look.inventory().cluster.as_str()])
            .shown_by([seen_in(nodes, format!("the API knows no node at all; the inventory has {expected}"))])
            .shown_by(served)
            .manual(
                "decide which state is the cluster's, a snapshot or a data dir that was moved aside, and restore it: \
                 `lifeboat recover --source FILE`",
            ),
    )
}
