//! The API: a kubeconfig with cluster-admin rights, the nodes, and further API servers.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};

use super::host_scan::Machine;
use super::kubeconfig;
use crate::inventory::is_machine_id;
use crate::probe::access;

/// What the API tells.
pub(super) struct ApiInfo {
    /// A kubeconfig with everything it refers to inside. It is a secret: no `Debug`.
    pub(super) kubeconfig: Vec<u8>,
    pub(super) nodes: Vec<NodeInfo>,
    /// UID of the namespace kube-system.
    pub(super) uid: Option<String>,
    /// Addresses of API servers, by their own account.
    pub(super) apiservers: Vec<String>,
}

/// A Node object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeInfo {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) machine_id: Option<String>,
}

/// The URL of the API server on a machine, as clients elsewhere reach it.
pub(super) fn url(machine: &Machine, address: &str) -> Option<String> {
    let process = machine.running("kube-apiserver").next()?;
    let port: u16 = process.flag("secure-port").unwrap_or("6443").parse().ok()?;
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    Some(format!("https://{host}:{port}"))
}

/// What the first API server that lets us do everything reports; else why there is none.
pub(super) async fn ask(
    machines: &[Machine],
    address: impl Fn(&Machine) -> String,
) -> Result<ApiInfo, String> {
    let mut why = String::from("no kube-apiserver found on the examined machines");
    for machine in machines {
        let Some(url) = url(machine, &address(machine)) else { continue };
        let mut files = machine.scan.kubeconfigs.clone();
        files.sort_by_key(|file| !file.display().to_string().contains("admin"));
        if files.is_empty() {
            why = format!("{} has no kubeconfig in /etc/kubernetes", machine.scan.hostname);
        }
        for file in files {
            let Ok(text) = machine.read(&file).await else { continue };
            match api_info(machine, &url, &file, &text).await {
                Ok(api) => return Ok(api),
                Err(error) => why = format!("{}: {}: {error}", machine.scan.hostname, file.display()),
            }
        }
    }
    Err(why)
}

async fn api_info(machine: &Machine, url: &str, file: &Path, text: &[u8]) -> Result<ApiInfo, String> {
    let kubeconfig = kubeconfig::parse(file, text)?.kubeconfig(machine, url).await?;
    let client = client(&kubeconfig).await?;
    let why = |error: kube::Error| crate::error_text::of(&error);
    let everything = ResourceAttributes {
        verb: Some("*".into()),
        group: Some("*".into()),
        resource: Some("*".into()),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(everything), non_resource_attributes: None };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let review = Api::all(client.clone()).create(&PostParams::default(), &review).await.map_err(why)?;
    if !review.status.is_some_and(|status| status.allowed) {
        return Err("it may not do everything".into());
    }
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.map_err(why)?;
    let system = Api::<Namespace>::all(client.clone()).get("kube-system").await.map_err(why)?;
    let ours = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    let slices = Api::<EndpointSlice>::namespaced(client, "default").list(&ours).await.map_err(why)?;
    let apiservers = slices.items.into_iter().flat_map(|slice| slice.endpoints);
    Ok(ApiInfo {
        kubeconfig,
        nodes: nodes.items.into_iter().map(node).collect(),
        uid: system.metadata.uid,
        apiservers: apiservers.flat_map(|endpoint| endpoint.addresses).collect(),
    })
}

fn node(node: Node) -> NodeInfo {
    let status = node.status.unwrap_or_default();
    let mut addresses = status.addresses.into_iter().flatten();
    let address = addresses.find(|address| address.type_ == "InternalIP").map(|address| address.address);
    let machine_id = status.node_info.map(|info| info.machine_id);
    NodeInfo {
        name: node.metadata.name.unwrap_or_default(),
        address,
        machine_id: machine_id.filter(|id| is_machine_id(id)),
    }
}

async fn client(kubeconfig: &[u8]) -> Result<Client, String> {
    // What is wrong with it is not told: errors show the lines around it.
    let unfit = "not a usable kubeconfig";
    let text = std::str::from_utf8(kubeconfig).map_err(|_| unfit)?;
    let read = Kubeconfig::from_yaml(text).map_err(|_| unfit)?;
    let mut config = access::direct(read).await.map_err(|_| unfit)?;
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(5));
    config.default_retry = false;
    Client::try_from(config).map_err(|_| unfit.into())
}
