//! The messages of service `Cluster`.

use super::ResponseHeader;

/// `Member`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Member {
    /// The member's id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name; empty until it has started once.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where its peers reach it.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started once.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// Whether it only learns and does not vote.
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

/// `MemberListRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberListRequest {
    /// Ask the quorum, not only this member. Since etcd 3.5.
    #[prost(bool, tag = "1")]
    pub linearizable: bool,
}

/// `MemberListResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemberListResponse {
    /// The header; its revision is not set.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// `MemberAddRequest`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberAddRequest {
    /// Where its peers will reach the member.
    #[prost(string, repeated, tag = "1")]
    pub peer_urls: Vec<String>,
    /// Whether it is to be a learner.
    #[prost(bool, tag = "2")]
    pub is_learner: bool,
}

/// `MemberAddResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemberAddResponse {
    /// The header; its revision is not set.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The member added.
    #[prost(message, required, tag = "2")]
    pub member: Member,
    /// All members, with it.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<Member>,
}

/// `MemberRemoveRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberRemoveRequest {
    /// The id of the member to remove.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// `MemberRemoveResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemberRemoveResponse {
    /// The header; its revision is not set.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// The members left.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// `MemberPromoteRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberPromoteRequest {
    /// The id of the learner to promote.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// `MemberPromoteResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MemberPromoteResponse {
    /// The header; its revision is not set.
    #[prost(message, required, tag = "1")]
    pub header: ResponseHeader,
    /// All members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}
