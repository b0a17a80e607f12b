//! The etcd v3 gRPC calls Lifeboat makes, with hand-written messages.
//!
//! A [`Client`] speaks to exactly one member, because Lifeboat wants to know what *each* member says
//! and a client that fails over hides that. The messages in [`messages`] mirror
//! `api/etcdserverpb/rpc.proto` of etcd v3.6.16, cut down to the fields Lifeboat uses, and work with
//! etcd 3.4 to 3.7: a field a member is too old to know arrives as zero or empty.
//!
//! ```no_run
//! use lifeboat_client::{Client, ConnectOptions};
//!
//! # async fn example() -> lifeboat_client::Result<()> {
//! let options = ConnectOptions {
//!     ca_cert: Some("/etc/kubernetes/pki/etcd/ca.crt".into()),
//!     cert: Some("/etc/kubernetes/pki/etcd/healthcheck-client.crt".into()),
//!     key: Some("/etc/kubernetes/pki/etcd/healthcheck-client.key".into()),
//!     ..ConnectOptions::default()
//! };
//! let client = Client::connect(&options, "10.0.0.1:2379").await?;
//! let status = client.status().await?;
//! println!("etcd {} at revision {}", status.version, status.header.revision);
//!
//! let mut snapshot = client.snapshot().await?;
//! while let Some(chunk) = snapshot.chunk().await? {
//!     println!("{} bytes, {} to go", chunk.blob.len(), chunk.remaining_bytes);
//! }
//! # Ok(())
//! # }
//! ```

mod auth;
mod client;
mod connection;
mod dial;
mod endpoint;
mod error;
pub mod messages;
mod method;
mod options;
mod redact;
mod snapshot;
mod tls;
mod watch;

pub use client::Client;
pub use connection::MAX_RESPONSE_BYTES;
pub use endpoint::Endpoint;
pub use error::{Cause, ClientCertificate, Error, Result, ServerCertificate};
pub use options::ConnectOptions;
pub use prost::bytes::Bytes;
pub use snapshot::SnapshotStream;
pub use tonic::Code;
pub use watch::{WatchOptions, WatchStream};
