//! API servers, each by itself, and through the first that is ready what only the API can tell.

mod certificate;
mod health;
mod objects;

pub use objects::{CONTROLLER_MANAGER, SCHEDULER};

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::join;

use crate::facts::{Certificate, ControlPlaneFacts, Fact, Health, KubernetesFacts};
use crate::inventory::Inventory;

use super::Hosts;
use super::access::Access;
use crate::error_text;

/// A certificate from its DER encoding.
pub(super) fn certificate(der: &[u8]) -> Result<Certificate, String> {
    certificate::understand(der)
}

/// Asks the API server of one control plane machine. Its certificate is the one it shows.
pub async fn api_server(inventory: &Inventory, access: &Access, name: &str) -> ControlPlaneFacts {
    let source = |what: &str| format!("API server {name}: {what}");
    let health = async {
        match access.api(name).await {
            Ok(client) => {
                let (livez, readyz) = join!(health::ask(&client, "/livez"), health::ask(&client, "/readyz"));
                (known(source("/livez"), livez), known(source("/readyz"), readyz))
            }
            Err(error) => {
                let why = error_text::of(&error);
                (Fact::unknown(source("/livez"), &why), Fact::unknown(source("/readyz"), &why))
            }
        }
    };
    let certificate = async {
        match inventory.kubernetes.control_plane.get(name) {
            Some(spec) => certificate::served(&spec.url).await,
            None => Err(format!("the inventory has no control plane machine {name}")),
        }
    };
    let ((livez, readyz), certificate) = join!(health, certificate);
    ControlPlaneFacts { livez, readyz, certificate: known(source("certificate it shows"), certificate) }
}

/// What only the API can tell, asked of the first API server that is ready.
pub async fn cluster(inventory: &Inventory, access: &Access) -> KubernetesFacts {
    match ready(inventory, access).await {
        Some(name) => through(access, name).await,
        None => KubernetesFacts::unasked("no API server is ready"),
    }
}

/// The first control plane machine whose API server is ready.
pub async fn ready<'a>(inventory: &'a Inventory, access: &Access) -> Option<&'a String> {
    let asked = inventory.kubernetes.control_plane.keys().map(|name| async move {
        let client = access.api(name).await.ok()?;
        health::ask(&client, "/readyz").await.is_ok_and(|health| health.ok).then_some(name)
    });
    join_all(asked).await.into_iter().flatten().next()
}

/// Asks every API server, and one of them for the rest.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    hosts: &Hosts<'_>,
    seen: &(dyn Fn(&str) + Sync),
) -> (BTreeMap<String, ControlPlaneFacts>, KubernetesFacts) {
    let asked = inventory.kubernetes.control_plane.keys().map(|name| async move {
        let mut facts = api_server(inventory, access, name).await;
        if facts.certificate.get().is_none()
            && let Some(found) = certificate_file(inventory, access, hosts, name).await
        {
            facts.certificate = found;
        }
        seen(&format!("API server {name}"));
        (name.clone(), facts)
    });
    let control_plane: BTreeMap<String, ControlPlaneFacts> = join_all(asked).await.into_iter().collect();
    // One that is alive and not ready still answers most questions.
    let ready = control_plane.iter().find(|(_, facts)| is_ok(&facts.readyz));
    let answers = ready.or_else(|| control_plane.iter().find(|(_, facts)| is_ok(&facts.livez)));
    let cluster = match answers {
        Some((name, _)) => through(access, name).await,
        None => KubernetesFacts::unasked("no API server answers"),
    };
    seen("the API");
    (control_plane, cluster)
}

/// The certificate in its file, for an API server that shows none; nothing where there is no file to read.
async fn certificate_file(
    inventory: &Inventory,
    access: &Access,
    hosts: &Hosts<'_>,
    name: &str,
) -> Option<Fact<Certificate>> {
    let path = inventory.kubernetes.control_plane.get(name)?.certificate.as_ref()?;
    let host = access.hosts.get(name)?;
    hosts.trusted(inventory, name).await.ok()?;
    let found = certificate::in_file(host.as_ref(), path).await;
    Some(known(format!("ssh {name}: {}", path.display()), found))
}

async fn through(access: &Access, name: &str) -> KubernetesFacts {
    match access.api(name).await {
        Ok(client) => objects::collect(&client, name).await,
        Err(error) => KubernetesFacts::unasked(&error_text::of(&error)),
    }
}

impl KubernetesFacts {
    fn unasked(why: &str) -> Self {
        let source = |what: &str| format!("Kubernetes API: {what}");
        Self {
            controller_manager: Fact::unknown(source(CONTROLLER_MANAGER), why),
            scheduler: Fact::unknown(source(SCHEDULER), why),
            nodes: Fact::unknown(source("nodes"), why),
            leases_without_node: Fact::unknown(source("leases in kube-node-lease"), why),
        }
    }
}

fn is_ok(health: &Fact<Health>) -> bool {
    health.get().is_some_and(|health| health.ok)
}

fn known<T>(source: String, answer: Result<T, String>) -> Fact<T> {
    match answer {
        Ok(value) => Fact::value(source, value),
        Err(why) => Fact::unknown(source, why),
    }
}
