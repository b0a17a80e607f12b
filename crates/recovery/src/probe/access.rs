//! Connections to machines, members, API servers and the cloud.
//!
//! Connections are made again for every question: one that was open when a NIC went away hangs for minutes, and would
//! show the state of the connection instead of the cluster's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use lifeboat_client::{Client, ConnectOptions};

use crate::host::Host;
use crate::inventory::{Etcd, Inventory, Kubernetes};
use crate::provider::CloudProvider;

/// Longest wait for a connection to a member or an API server.
pub(super) const DIAL: Duration = Duration::from_secs(2);
/// Longest wait for one answer of a member or an API server.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// Connections to machines, members, API servers and the cloud.
pub struct Access {
    /// The machines, by name.
    pub hosts: BTreeMap<String, Arc<dyn Host>>,
    /// The cloud, or why it cannot be used.
    pub cloud: Result<Arc<dyn CloudProvider>, String>,
    etcd: Etcd,
    kubernetes: Kubernetes,
}

/// Why no client for an API server could be made. Nothing is sent yet.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The inventory has no such control plane machine.
    #[error("the inventory has no control plane machine {0}")]
    UnknownMachine(String),
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it, never its content.
        why: String,
    },
    /// The URL of its API server cannot be used.
    #[error("kubernetes.controlPlane.{host}.url: {why}; write https://HOST:6443")]
    Url {
        /// The control plane machine.
        host: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Access {
    /// Connections to an inventory's machines, members and API servers. Nothing is opened yet.
    pub fn new(inventory: &Inventory, hosts: BTreeMap<String, Arc<dyn Host>>) -> Self {
        Self {
            hosts,
            cloud: Err("no access to the cloud".into()),
            etcd: inventory.etcd.clone(),
            kubernetes: inventory.kubernetes.clone(),
        }
    }

    /// Adds the cloud, or why it cannot be used.
    #[must_use]
    pub fn with_cloud(self, cloud: Result<Arc<dyn CloudProvider>, String>) -> Self {
        Self { cloud, ..self }
    }

    /// A client of one etcd member, connected.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn etcd(&self, member: &str) -> lifeboat_client::Result<Client> {
        let unknown = || lifeboat_client::Error::Endpoint {
            endpoint: member.to_owned(),
            reason: "the inventory has no such etcd member",
        };
        let url = &self.etcd.members.get(member).ok_or_else(unknown)?.client_url;
        let tls = self.etcd.tls.as_ref();
        let options = ConnectOptions {
            ca_cert: tls.map(|tls| tls.ca.clone()),
            cert: tls.map(|tls| tls.cert.clone()),
            key: tls.map(|tls| tls.key.clone()),
            dial_timeout: DIAL,
            command_timeout: ANSWER,
            ..ConnectOptions::default()
        };
        Client::connect(&options, url).await
    }

    /// A client of the API server on one machine, with the rights of the inventory's kubeconfig. Its certificate and
    /// the name in it are always verified.
    ///
    /// # Errors
    /// [`ApiError`] when the kubeconfig or the URL cannot be used.
    pub async fn api(&self, host: &str) -> Result<kube::Client, ApiError> {
        let config = self.kubeconfig(host).await?;
        kube::Client::try_from(config).map_err(|error| self.bad_kubeconfig(crate::error_text::of(&error)))
    }

    /// The inventory's kubeconfig, for one API server. Files are read again: people correct them meanwhile.
    async fn kubeconfig(&self, host: &str) -> Result<Config, ApiError> {
        let spec = self.kubernetes.control_plane.get(host);
        let spec = spec.ok_or_else(|| ApiError::UnknownMachine(host.into()))?;
        let url = spec.url.parse();
        let url = url.map_err(|error: http::uri::InvalidUri| ApiError::Url {
            host: host.into(),
            why: error.to_string(),
        })?;
        let read = Kubeconfig::read_from(&self.kubernetes.kubeconfig).map_err(|error| self.unfit(&error))?;
        if has_proxy(&read) {
            let why = "proxy-url is set, and Lifeboat connects to each API server directly; remove it";
            return Err(self.bad_kubeconfig(why));
        }
        let mut config = direct(read).await.map_err(|error| self.unfit(&error))?;
        if config.accept_invalid_certs {
            let why = "insecure-skip-tls-verify is set, which lets anyone answer in the API server's place; \
                       give it the cluster's certificate-authority instead";
            return Err(self.bad_kubeconfig(why));
        }
        config.cluster_url = url;
        config.connect_timeout = Some(DIAL);
        config.default_retry = false;
        Ok(config)
    }

    fn unfit(&self, error: &KubeconfigError) -> ApiError {
        match error {
            // The parser shows the lines around the fault, and those may be a token.
            KubeconfigError::Parse(_) => self.bad_kubeconfig("not a kubeconfig in YAML"),
            other => self.bad_kubeconfig(crate::error_text::of(other)),
        }
    }

    fn bad_kubeconfig(&self, why: impl Into<String>) -> ApiError {
        ApiError::Kubeconfig { path: self.kubernetes.kubeconfig.clone(), why: why.into() }
    }
}

/// Whether the cluster of its current context is reached through a proxy.
fn has_proxy(kubeconfig: &Kubeconfig) -> bool {
    let current = kubeconfig.current_context.as_ref();
    let context = kubeconfig.contexts.iter().find(|named| Some(&named.name) == current);
    let cluster = context.and_then(|named| named.context.as_ref()).map(|context| &context.cluster);
    let cluster = kubeconfig.clusters.iter().find(|named| Some(&named.name) == cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()?.proxy_url.as_ref());
    proxy.is_some_and(|url| !url.is_empty())
}

/// The configuration of a client that connects to an API server directly. `HTTPS_PROXY` leads out of a network, not to
/// the machines of a cluster in it, and each API server must be asked by itself.
pub(crate) async fn direct(mut kubeconfig: Kubeconfig) -> Result<Config, KubeconfigError> {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        // kube reads the environment only where nothing is set.
        cluster.proxy_url = Some("http://unused".into());
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(config)
}
