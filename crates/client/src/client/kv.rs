//! Service `KV`.
//!
//! Each call fails with [`Error::Call`](crate::Error::Call) or
//! [`Error::Timeout`](crate::Error::Timeout); all but a serializable range need a quorum.

use super::Client;
use crate::Result;
use crate::messages::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::method::Method;

impl Client {
    /// Reads keys (`KV.Range`).
    ///
    /// # Errors
    ///
    /// As for every call; [`is_compacted`](crate::Error::is_compacted) when the revision is gone.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.connection.unary(Method::RANGE, request).await
    }

    /// Writes one key (`KV.Put`); `lease` 0 for none.
    ///
    /// # Errors
    ///
    /// As for every call.
    pub async fn put(
        &self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        lease: i64,
    ) -> Result<PutResponse> {
        let request = PutRequest { key: key.into(), value: value.into(), lease };
        self.connection.unary(Method::PUT, request).await
    }

    /// Deletes one key or a range (`KV.DeleteRange`).
    ///
    /// # Errors
    ///
    /// As for every call.
    pub async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse> {
        self.connection.unary(Method::DELETE_RANGE, request).await
    }

    /// Compares, then does one of two lists of operations, all at one revision (`KV.Txn`).
    ///
    /// # Errors
    ///
    /// As for every call. A failed comparison is not an error: see [`TxnResponse::succeeded`].
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse> {
        self.connection.unary(Method::TXN, request).await
    }

    /// Drops the history before `revision` (`KV.Compact`). With `physical` it answers only once the
    /// database is rewritten too, which can outlast the default timeout.
    ///
    /// # Errors
    ///
    /// As for every call; [`is_compacted`](crate::Error::is_compacted) when that was done already.
    pub async fn compact(&self, revision: i64, physical: bool) -> Result<CompactionResponse> {
        self.connection.unary(Method::COMPACT, CompactionRequest { revision, physical }).await
    }
}
