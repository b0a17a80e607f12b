//! Repeatable workloads: the same seed writes the same keys and values in the same order, through a real client
//! to a real cluster, and the returned [`Model`] says what has to be there afterwards.

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
    /// Several writes under one revision; no key occurs twice, which etcd would refuse.
    Txn(Vec<Write>),
    /// A write only if nobody changed the key since the workload last did: the one way kube-apiserver writes.
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
        /// Whether it hangs on a lease (of a time to live no test reaches).
        leased: bool,
    },
    /// Delete, whether it exists or not.
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

/// Sends what a Kubernetes API server would to member `i`: objects under `/registry`, node heartbeats, pods that
/// come and go, events on leases.
pub fn kubernetes_like(cluster: &Cluster, i: usize, workload: &Kubernetes) -> Result<Model> {
    run(cluster, i, workload.ops())
}

/// Sends `ops` to member `i`, one after the other.
pub fn run(cluster: &Cluster, i: usize, ops: impl IntoIterator<Item = Op>) -> Result<Model> {
    let mut model = Model::default();
    extend(cluster, i, &mut model, ops)?;
    Ok(model)
}

/// Like [`run`], after a workload that left `model` behind, in the same cluster or one restored from it.
pub fn extend(
    cluster: &Cluster,
    i: usize,
    model: &mut Model,
    ops: impl IntoIterator<Item = Op>,
) -> Result<()> {
    let client = cluster.client(i)?;
    cluster.block_on(apply::all(&client, model, ops)).context("fill the cluster")
}
