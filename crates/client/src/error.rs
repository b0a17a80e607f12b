//! Errors of connections and calls to one member.
//!
//! The messages compared here are etcd's own, `api/v3rpc/rpctypes/error.go`: several of its errors
//! share a gRPC code, and only the text tells a lagging learner from a wrong request.

mod cause;
mod certificate;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};

pub use cause::Cause;
pub use certificate::{ClientCertificate, ServerCertificate};

use crate::method::Method;

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, or the connection for it, failed.
///
/// No variant carries a password, a token, key material or a stored value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint cannot be parsed.
    #[error("endpoint {endpoint:?}: {reason}")]
    Endpoint {
        /// The endpoint as given, without anything before an `@`.
        endpoint: String,
        /// Why it is invalid.
        reason: &'static str,
    },
    /// The options contradict each other.
    #[error("{reason}")]
    Options {
        /// The contradiction.
        reason: &'static str,
    },
    /// A TLS file cannot be read.
    #[error("read {}", path.display())]
    ReadFile {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A TLS file holds no PEM block of the kind expected.
    #[error("{}: no PEM block labelled {expected}", path.display())]
    NotPem {
        /// Path of the file.
        path: PathBuf,
        /// The label looked for, or its end.
        expected: &'static str,
    },
    /// The TLS files cannot be used: damaged, or a key that is not the certificate's.
    #[error("{endpoint}: set up TLS")]
    Tls {
        /// The member's endpoint.
        endpoint: String,
        /// Cause reported by the transport.
        source: Cause,
    },
    /// The member's certificate was rejected.
    #[error("{endpoint}: the member's certificate {problem}")]
    ServerCertificate {
        /// The member's endpoint.
        endpoint: String,
        /// What is wrong with it.
        problem: ServerCertificate,
    },
    /// The member closed the connection, and the client certificate is invalid.
    #[error("{endpoint}: {certificate}: the member refuses it")]
    ClientCertificate {
        /// The member's endpoint.
        endpoint: String,
        /// The certificate and its problem.
        certificate: ClientCertificate,
    },
    /// No connection: refused, unreachable, an unknown host, or a TLS handshake that failed.
    #[error("{endpoint}: connect")]
    Connect {
        /// The member's endpoint.
        endpoint: String,
        /// Cause reported by the transport.
        source: Cause,
    },
    /// No connection within the dial timeout.
    #[error("{endpoint}: no connection within {timeout:?}")]
    ConnectTimeout {
        /// The member's endpoint.
        endpoint: String,
        /// The dial timeout.
        timeout: Duration,
    },
    /// The call failed, at the member or on the way.
    #[error("{endpoint}: {rpc}: {code:?}: {message}")]
    Call {
        /// The member's endpoint.
        endpoint: String,
        /// The call, `KV/Range`.
        rpc: &'static str,
        /// The gRPC code.
        code: Code,
        /// The member's message, or the transport's.
        message: String,
        /// Cause reported by the transport; `None` if the member itself returned the error.
        #[source]
        cause: Option<Cause>,
    },
    /// No response, or no next chunk, in time. The member may still execute the request.
    #[error("{endpoint}: {rpc}: no answer within {timeout:?}")]
    Timeout {
        /// The member's endpoint.
        endpoint: String,
        /// The call, `KV/Range`.
        rpc: &'static str,
        /// The time allowed.
        timeout: Duration,
    },
    /// The member stopped reading its database in the middle of a snapshot.
    #[error("{endpoint}: the snapshot ends {remaining} bytes early")]
    SnapshotTruncated {
        /// The member's endpoint.
        endpoint: String,
        /// Bytes of the database still announced.
        remaining: u64,
    },
}

/// Transient errors with a permanent gRPC code.
const TRANSIENT: &[&str] = &[
    "etcdserver: can only promote a learner member which is in sync with leader",
    "etcdserver: re-configuration failed due to not enough started members",
    "etcdserver: mvcc: required revision is a future revision",
    "etcdserver: revision of auth store is old",
    "etcdserver: not leader",
    "auth: revision in header is old",
];
/// Prefix of the errors of `server/auth/store.go`, which the maintenance service before etcd 3.6 returns untranslated, with
/// code `Unknown`.
const RAW_AUTH: &str = "auth: ";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
/// grpc-go's error for a request above `--max-request-bytes` plus overhead (`rpc_util.go`).
const TOO_LARGE: &str = "grpc: received message larger than max";

impl Error {
    pub(crate) fn connect(endpoint: &impl ToString, error: &tonic::transport::Error) -> Self {
        Self::Connect { endpoint: endpoint.to_string(), source: Cause::of_transport(error) }
    }

    pub(crate) fn call(endpoint: &impl ToString, method: Method, status: &Status) -> Self {
        Self::Call {
            endpoint: endpoint.to_string(),
            rpc: method.name(),
            code: status.code(),
            message: status.message().to_owned(),
            cause: Cause::of_status(status),
        }
    }

    /// Whether retrying the same request later cannot help.
    ///
    /// A wrong request, credential or certificate is permanent; a member that is down, slow, without
    /// a leader or behind is not.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Endpoint { .. }
            | Self::Options { .. }
            | Self::ReadFile { .. }
            | Self::NotPem { .. }
            | Self::ServerCertificate { .. }
            | Self::ClientCertificate { .. }
            | Self::Tls { .. } => true,
            Self::ConnectTimeout { .. } | Self::Timeout { .. } | Self::SnapshotTruncated { .. } => false,
            Self::Connect { source, .. } => source.is_bad_peer(),
            Self::Call { code, message, cause, .. } => match code {
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss => !TRANSIENT.contains(&message.as_str()),
                Code::ResourceExhausted => message == NO_SPACE || message.starts_with(TOO_LARGE),
                Code::Unknown if message.starts_with(RAW_AUTH) => !TRANSIENT.contains(&message.as_str()),
                _ => cause.as_ref().is_some_and(Cause::is_bad_peer),
            },
        }
    }

    /// The gRPC code, when the failure is that of a call.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Call { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the revision asked for is older than the member's compaction.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Call { code: Code::OutOfRange, message, .. } if message == COMPACTED)
    }
}

#[cfg(test)]
mod tests;
