//! Service `Lease`.

use super::Client;
use crate::Result;
use crate::messages::{LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse};
use crate::method::Method;

impl Client {
    /// Creates a lease of `ttl` seconds (`Lease.LeaseGrant`); with `id` 0 the member chooses one.
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn lease_grant(&self, ttl: i64, id: i64) -> Result<LeaseGrantResponse> {
        self.connection.unary(Method::LEASE_GRANT, LeaseGrantRequest { ttl, id }).await
    }

    /// Ends a lease and deletes its keys (`Lease.LeaseRevoke`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn lease_revoke(&self, id: i64) -> Result<LeaseRevokeResponse> {
        self.connection.unary(Method::LEASE_REVOKE, LeaseRevokeRequest { id }).await
    }
}
