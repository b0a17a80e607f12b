//! `Maintenance.Snapshot` as `server/etcdserver/api/v3rpc/maintenance.go` sends it.

use std::fmt;

use tonic::Streaming;

use crate::connection::Connection;
use crate::messages::{SnapshotChunk, SnapshotRequest};
use crate::method::Method;
use crate::{Error, Result};

/// A member's database as it arrives.
///
/// The blobs up to the one with `remaining_bytes == 0` are the bbolt file, page for page. One more
/// message follows, its blob the 32-byte SHA-256 of all bytes before it; `etcdctl snapshot save`
/// appends it to the file. So read to the end, not to `remaining_bytes == 0`.
pub struct SnapshotStream {
    stream: Streaming<SnapshotChunk>,
    connection: Connection,
}

impl SnapshotStream {
    pub(crate) async fn open(connection: &Connection) -> Result<Self> {
        let patience = connection.snapshot_idle_timeout;
        let stream = connection.server_streaming(patience, Method::SNAPSHOT, SnapshotRequest {}).await?;
        Ok(Self { stream, connection: connection.clone() })
    }

    /// The next chunk, or `None` once the member has ended the stream properly.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when no chunk comes within
    /// [`snapshot_idle_timeout`](crate::ConnectOptions::snapshot_idle_timeout), [`Error::Call`] when
    /// the stream breaks, [`Error::SnapshotTruncated`] when the member cannot read on.
    pub async fn chunk(&mut self) -> Result<Option<SnapshotChunk>> {
        let limit = self.connection.snapshot_idle_timeout;
        let chunk = self.connection.within(limit, Method::SNAPSHOT, self.stream.message()).await?;
        match chunk {
            // The server's loop ends when nothing remains, not when its reader does: with a database
            // it cannot read to the end it would send empty blobs forever.
            Some(chunk) if chunk.blob.is_empty() && chunk.remaining_bytes > 0 => {
                let endpoint = self.connection.endpoint().to_string();
                Err(Error::SnapshotTruncated { endpoint, remaining: chunk.remaining_bytes })
            }
            other => Ok(other),
        }
    }
}

impl fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotStream").field("endpoint", self.connection.endpoint()).finish_non_exhaustive()
    }
}
