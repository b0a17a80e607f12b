//! The messages of service `Lease`.

use super::ResponseHeader;

/// `LeaseGrantRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseGrantRequest {
    /// The time to live asked for, in seconds.
    #[prost(int64, tag = "1")]
    pub ttl: i64,
    /// The id asked for; 0 lets the member choose.
    #[prost(int64, tag = "2")]
    pub id: i64,
}

/// `LeaseGrantResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseGrantResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The lease's id.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// The time to live granted, in seconds.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

/// `LeaseRevokeRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseRevokeRequest {
    /// The lease's id.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// `LeaseRevokeResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseRevokeResponse {
    /// The header.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
}
