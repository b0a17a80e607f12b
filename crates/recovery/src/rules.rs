//! The rules: from facts to findings, causes first. Pure functions: the same facts give the same diagnosis.
//!
//! Each layer reports its own symptoms (`Symptom`) independently. Then `cause` attaches consequences to their causes
//! by a table, and merges symptoms of one kind below one cause into one finding.

mod cause;
mod checks;
mod cloud;
mod control_plane;
mod coverage;
mod etcd;
pub(crate) mod facts_view;
mod host;
mod impact;
mod leaders;
mod nodes;
mod operation;
mod symptom;
mod unknown;

use crate::facts::Facts;
use crate::finding::{Diagnosis, FindingId, Remedy};
use crate::inventory::Service;
use facts_view::FactsView;
use symptom::Symptom;

/// Diagnoses one observation of a cluster.
///
/// What could not be determined is listed as unknown, unless a finding explains it.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let view = FactsView::new(facts);
    let cluster = etcd::Cluster::of(&view);
    let mut symptoms = cloud::evaluate(&view);
    symptoms.extend(host::evaluate(&view));
    symptoms.extend(etcd::evaluate(&view, &cluster));
    symptoms.extend(control_plane::evaluate(&view, &cluster));
    symptoms.extend(leaders::evaluate(&view));
    symptoms.extend(nodes::evaluate(&view));
    symptoms.extend(checks::evaluate(&view));
    symptoms.extend(operation::evaluate(&view));
    untouchable(&view, &mut symptoms);
    leave_alone_without_state(&mut symptoms);
    let unknown = unknown::list(&view, &symptoms);
    Diagnosis {
        observed_at: facts.observed_at,
        cluster: facts.inventory.cluster.clone(),
        causes: cause::tree(&view, &cluster, symptoms),
        unknown,
        examined: coverage::examined(facts),
        not_examined: coverage::not_examined(),
    }
}

/// Removes remedies that would change a machine whose identity is in doubt, and starts that are up to others.
fn untouchable(view: &FactsView<'_>, symptoms: &mut [Symptom]) {
    let trusted = |remedy: &Remedy| symptom::touches(view, remedy).all(|host| view.is_trusted(&host));
    for symptom in symptoms {
        symptom.remedies.retain(|remedy| {
            trusted(remedy) && !is_started_by_another(view, remedy) && can_end(view, remedy)
        });
    }
}

/// Whether what a remedy starts at its end can be started at all: a member is not taken out of the cluster for one that
/// cannot come.
fn can_end(view: &FactsView<'_>, remedy: &Remedy) -> bool {
    let Remedy::ReplaceMember { member } = remedy else { return true };
    let Some(spec) = view.inventory().etcd.members.get(member) else { return false };
    view.service(&spec.host, &spec.service).is_none_or(|state| symptom::can_start(&spec.service, state))
}

/// While etcd serves a state that is not the cluster's, nothing that reads it is started, restarted or replaced: a kubelet
/// that starts then removes every pod that the state does not have.
fn leave_alone_without_state(symptoms: &mut [Symptom]) {
    if !symptoms.iter().any(|symptom| symptom.id == FindingId::EtcdStateLost) {
        return;
    }
    for symptom in symptoms {
        symptom.remedies.retain(|remedy| {
            remedy.by_hand().is_some() || matches!(remedy, Remedy::AttachNics { .. } | Remedy::StartVm { .. })
        });
    }
}

/// Only its recovery starts a service that is fenced, and only a kubelet a static pod: once it is back, it does.
fn is_started_by_another(view: &FactsView<'_>, remedy: &Remedy) -> bool {
    let Remedy::StartService { host, service } = remedy else { return false };
    let fenced = view.service(host, service).is_some_and(|state| state.fenced);
    let kubelet_down = || {
        let kubelet = view.inventory().kubernetes.nodes.get(host).map(|node| node.kubelet.clone());
        let state = kubelet.and_then(|unit| view.service(host, &Service::Unit(unit)));
        state.is_some_and(|state| !state.is_running())
    };
    fenced || (matches!(service, Service::StaticPod(_)) && kubelet_down())
}
