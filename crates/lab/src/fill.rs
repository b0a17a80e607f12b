//! Repeatable workloads: the same seed writes the same keys and values in the same order to a real cluster. The
//! returned [`Model`] tells what the cluster must hold afterwards.

mod apply;
mod kubernetes;
mod model;
mod object;
mod plain;

use anyhow::{Context, Result};

pub use self::kubernetes::Kubernetes;
pub use self::model::{Change, Model};
pub use self::plain::Plain;
use crate::cluster::Cluster;

/// One request of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An unconditional put or delete.
    Single(Write),
    /// Deletes every key with this prefix.
    DeletePrefix(Vec<u8>),
    /// Several writes in one transaction; no key occurs twice, which etcd would refuse.
    Txn(Vec<Write>),
    /// A write on condition that the key is unchanged since the workload last wrote it, as kube-apiserver writes.
    Guarded(Write),
}

/// A change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Create or overwrite.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
        /// Whether it is attached to a lease (with a TTL longer than any test).
        leased: bool,
    },
    /// Delete, whether or not it exists.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

impl Write {
    fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Sends a plain workload to member `i`: puts, overwrites, leased keys, deletes, range deletes and transactions on
/// keys and values of any bytes.
pub fn plain(cluster: &Cluster, i: usize, workload: &Plain) -> Result<Model> {
    run(cluster, i, workload.ops())
}

/// Sends to member `i` what a Kubernetes API server would: objects under `/registry`, node heartbeats, pods that
/// come and go, events with leases.
pub fn kubernetes_like(cluster: &Cluster, i: usize, workload: &Kubernetes) -> Result<Model> {
    run(cluster, i, workload.ops())
}

/// Sends `ops` to member `i`, one after the other.
pub fn run(cluster: &Cluster, i: usize, ops: impl IntoIterator<Item = Op>) -> Result<Model> {
    let mut model = Model::default();
    extend(cluster, i, &mut model, ops)?;
    Ok(model)
}

/// Like [`run`], after a workload that returned `model`, in the same cluster or one restored from it.
pub fn extend(
    cluster: &Cluster,
    i: usize,
    model: &mut Model,
    ops: impl IntoIterator<Item = Op>,
) -> Result<()> {
    let client = cluster.client(i)?;
    cluster.block_on(apply::all(&client, model, ops)).context("fill the cluster")
}
