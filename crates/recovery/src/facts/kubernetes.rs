//! What the Kubernetes API says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Fact;

/// What one control plane machine's API server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneFacts {
    /// Answer of `/livez`.
    pub livez: Fact<Health>,
    /// Answer of `/readyz`.
    pub readyz: Fact<Health>,
    /// The serving certificate it shows to clients, or the one in its file when it shows none.
    pub certificate: Fact<Certificate>,
}

/// Answer of a health endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether it said ok.
    pub ok: bool,
    /// What is not ok, by the endpoint's own account; or why it said nothing.
    pub detail: String,
}

/// An X.509 certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Distinguished name of the subject.
    pub subject: String,
    /// First second it is good.
    pub not_before: Timestamp,
    /// Last second it is good.
    pub not_after: Timestamp,
}

/// What the API tells of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesFacts {
    /// Leader lease of the controller-manager.
    pub controller_manager: Fact<Lease>,
    /// Leader lease of the scheduler.
    pub scheduler: Fact<Lease>,
    /// The Node objects.
    pub nodes: Fact<Vec<Node>>,
    /// Leases in kube-node-lease whose Node object is missing.
    pub leases_without_node: Fact<Vec<String>>,
}

/// A `coordination.k8s.io` Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Who holds it.
    pub holder: String,
    /// When it was last renewed, by the holder's clock.
    pub renewed_at: Option<Timestamp>,
    /// For how many seconds it holds.
    pub duration_seconds: i32,
}

/// A Node object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Name of the Node object.
    pub name: String,
    /// Its Ready condition: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Why, in the condition's words.
    pub reason: String,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// When its kubelet last renewed its lease.
    pub lease_renewed_at: Option<Timestamp>,
    /// The pods on it, as `NAMESPACE/NAME`, asked of nodes that are not Ready: a reboot would stop them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<String>>,
}
