//! The client of one member; its calls are in the submodules, one per etcd service.

mod auth;
mod cluster;
mod kv;
mod lease;
mod maintenance;

use std::time::Duration;

use crate::connection::Connection;
use crate::{ConnectOptions, Endpoint, Result, WatchOptions, WatchStream};

/// A connection to one member.
///
/// Cheap to clone; clones share the connection and the user's token. The next call reconnects a lost
/// connection. Calls are not retried, except once after the token was renewed, when the member had
/// refused the call without executing it.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to `endpoint`, and authenticates when `options` name a user.
    ///
    /// Needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`](crate::Error::Endpoint), [`Error::Options`](crate::Error::Options),
    /// [`Error::ReadFile`](crate::Error::ReadFile), [`Error::NotPem`](crate::Error::NotPem) and
    /// [`Error::Tls`](crate::Error::Tls) for invalid arguments;
    /// [`Error::Connect`](crate::Error::Connect) and
    /// [`Error::ConnectTimeout`](crate::Error::ConnectTimeout) when there is no connection; those of
    /// a call when the user is refused.
    pub async fn connect(options: &ConnectOptions, endpoint: &str) -> Result<Self> {
        Ok(Self { connection: Connection::open(options, endpoint).await? })
    }

    /// The member's endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.connection.endpoint()
    }

    /// The same connection with another timeout for unary calls, for those that rewrite or read the
    /// whole database: [`defragment`](Self::defragment), [`hash_kv`](Self::hash_kv) and a physical
    /// [`compact`](Self::compact).
    #[must_use]
    pub fn with_command_timeout(&self, command_timeout: Duration) -> Self {
        Self { connection: self.connection.with_command_timeout(command_timeout) }
    }

    /// Opens a watch (`Watch.Watch`).
    ///
    /// # Errors
    ///
    /// [`Error::Call`](crate::Error::Call), [`Error::Timeout`](crate::Error::Timeout). A compacted
    /// start revision or a missing permission is not an error here but a cancelled watch: see
    /// [`WatchStream::message`].
    pub async fn watch(&self, options: &WatchOptions) -> Result<WatchStream> {
        WatchStream::open(&self.connection, options).await
    }
}
