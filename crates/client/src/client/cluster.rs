//! Service `Cluster`.

use super::Client;
use crate::Result;
use crate::messages::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
};
use crate::method::Method;

impl Client {
    /// The cluster's members (`Cluster.MemberList`): with `linearizable` as the quorum knows them,
    /// without as this member does, which needs no quorum.
    ///
    /// etcd 3.4 does not know the difference and always answers from the one member.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn member_list(&self, linearizable: bool) -> Result<MemberListResponse> {
        self.connection.unary(Method::MEMBER_LIST, MemberListRequest { linearizable }).await
    }

    /// Adds a member that is to be reached by its peers at `peer_urls` (`Cluster.MemberAdd`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn member_add(&self, peer_urls: Vec<String>, is_learner: bool) -> Result<MemberAddResponse> {
        self.connection.unary(Method::MEMBER_ADD, MemberAddRequest { peer_urls, is_learner }).await
    }

    /// Removes a member (`Cluster.MemberRemove`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn member_remove(&self, id: u64) -> Result<MemberRemoveResponse> {
        self.connection.unary(Method::MEMBER_REMOVE, MemberRemoveRequest { id }).await
    }

    /// Makes a learner a voter (`Cluster.MemberPromote`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout). Not
    /// [permanent](crate::Error::is_permanent) while the learner is still catching up.
    pub async fn member_promote(&self, id: u64) -> Result<MemberPromoteResponse> {
        self.connection.unary(Method::MEMBER_PROMOTE, MemberPromoteRequest { id }).await
    }
}
