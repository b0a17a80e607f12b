//! `TxnRequest`, `TxnResponse` and what they are made of.

use super::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader,
};

/// The most operations a member takes in one transaction, unless its `--max-txn-ops` says otherwise.
pub const DEFAULT_MAX_TXN_OPS: usize = 128;

/// `RequestOp.request`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum Request {
    /// A read.
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    /// A write.
    #[prost(message, tag = "2")]
    Put(PutRequest),
    /// A deletion.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
}

/// `RequestOp`: one operation of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RequestOp {
    /// The operation.
    #[prost(oneof = "Request", tags = "1, 2, 3")]
    pub request: Option<Request>,
}

impl From<RangeRequest> for RequestOp {
    fn from(request: RangeRequest) -> Self {
        Self { request: Some(Request::Range(request)) }
    }
}

impl From<PutRequest> for RequestOp {
    fn from(request: PutRequest) -> Self {
        Self { request: Some(Request::Put(request)) }
    }
}

impl From<DeleteRangeRequest> for RequestOp {
    fn from(request: DeleteRangeRequest) -> Self {
        Self { request: Some(Request::DeleteRange(request)) }
    }
}

/// `TxnRequest`. No key may be written twice in it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TxnRequest {
    /// The conditions, all of which must hold.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What to do when they hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// What to do when they do not.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

impl TxnRequest {
    /// Writes all of `pairs`, without a condition or a lease. See [`DEFAULT_MAX_TXN_OPS`] for how
    /// many a member takes; together they must also fit its `--max-request-bytes`, 1.5 MiB.
    #[must_use]
    pub fn put_all<K: Into<Vec<u8>>, V: Into<Vec<u8>>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let puts = pairs.into_iter().map(|(key, value)| PutRequest {
            key: key.into(),
            value: value.into(),
            lease: 0,
        });
        Self { success: puts.map(RequestOp::from).collect(), ..Self::default() }
    }
}

/// `ResponseOp.response`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Response {
    /// The result of a read.
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    /// The result of a write.
    #[prost(message, tag = "2")]
    Put(PutResponse),
    /// The result of a deletion.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeResponse),
}

/// `ResponseOp`: the result of one operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseOp {
    /// The result; its header holds no more than the revision.
    #[prost(oneof = "Response", tags = "1, 2, 3")]
    pub response: Option<Response>,
}

/// `TxnResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// Whether the conditions held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// The results, in the order of the operations done.
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}

#[cfg(test)]
mod tests {
    use super::TxnRequest;

    #[test]
    fn values_in_a_transaction_are_not_shown() {
        let txn = TxnRequest::put_all([("a", "hunter2"), ("b", "hunter3")]);
        assert_eq!(txn.success.len(), 2);
        let shown = format!("{txn:?}");
        assert!(shown.contains("<7 bytes>") && !shown.contains("hunter"), "{shown}");
    }
}
