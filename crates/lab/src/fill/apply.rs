//! Sends a workload and records its changes.

use anyhow::{Context, Result, ensure};
use lifeboat_client::Client;
use lifeboat_client::messages::{
    Compare, CompareResult, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
};

use super::{Model, Op, Write};

/// Longer than any test, so that no lease expires.
const LEASE_TTL_SECONDS: i64 = 24 * 3600;
/// Keys attached to one lease.
const KEYS_PER_LEASE: usize = 50;

/// Sends `ops` one after the other, so that their revisions follow from the seed.
pub(super) async fn all(client: &Client, model: &mut Model, ops: impl IntoIterator<Item = Op>) -> Result<()> {
    let mut sender = Sender { client, model, keys_on_lease: KEYS_PER_LEASE };
    for (i, op) in ops.into_iter().enumerate() {
        sender.send(op).await.with_context(|| format!("send request {i} of the workload"))?;
    }
    Ok(())
}

struct Sender<'a> {
    client: &'a Client,
    model: &'a mut Model,
    /// Keys attached to the newest lease; starts full, because an earlier workload's lease may have been revoked.
    keys_on_lease: usize,
}

impl Sender<'_> {
    async fn send(&mut self, op: Op) -> Result<()> {
        let revision = match op {
            Op::Single(write) => self.single(write).await?,
            Op::DeletePrefix(prefix) => {
                let response = self.client.delete_range(DeleteRangeRequest::prefix(prefix.clone())).await?;
                self.model.delete_prefix(response.header.revision, &prefix);
                response.header.revision
            }
            Op::Txn(writes) => self.txn(Vec::new(), writes).await?,
            Op::Guarded(write) => {
                let unchanged = Compare::mod_revision(
                    write.key(),
                    CompareResult::Equal,
                    self.model.mod_revision(write.key()),
                );
                self.txn(vec![unchanged], vec![write]).await?
            }
        };
        // A delete of nothing, or of keys unknown to the model, does not change it.
        self.model.revision = revision;
        Ok(())
    }

    async fn single(&mut self, write: Write) -> Result<i64> {
        let revision = match &write {
            Write::Put { key, value, leased } => {
                let lease = self.lease(*leased).await?;
                self.client.put(key.clone(), value.clone(), lease).await?.header.revision
            }
            Write::Delete { key } => {
                self.client.delete_range(DeleteRangeRequest::key(key.clone())).await?.header.revision
            }
        };
        self.model.apply(revision, write);
        Ok(revision)
    }

    async fn txn(&mut self, compare: Vec<Compare>, writes: Vec<Write>) -> Result<i64> {
        let mut success = Vec::new();
        for write in &writes {
            success.push(self.request(write).await?);
        }
        let response = self.client.txn(TxnRequest { compare, success, failure: Vec::new() }).await?;
        ensure!(response.succeeded, "another client has changed a key of the workload");
        for write in writes {
            self.model.apply(response.header.revision, write);
        }
        Ok(response.header.revision)
    }

    async fn request(&mut self, write: &Write) -> Result<RequestOp> {
        Ok(match write {
            Write::Put { key, value, leased } => {
                let lease = self.lease(*leased).await?;
                PutRequest { key: key.clone(), value: value.clone(), lease }.into()
            }
            Write::Delete { key } => DeleteRangeRequest::key(key.clone()).into(),
        })
    }

    /// The lease for the next key, or 0 for none.
    async fn lease(&mut self, leased: bool) -> Result<i64> {
        if !leased {
            return Ok(0);
        }
        if self.keys_on_lease >= KEYS_PER_LEASE {
            self.model.leases.push(self.client.lease_grant(LEASE_TTL_SECONDS, 0).await?.id);
            self.keys_on_lease = 0;
        }
        self.keys_on_lease += 1;
        self.model.leases.last().copied().context("no lease granted")
    }
}
