//! How to reach a member; the settings etcdctl takes as global flags (`etcdctl/ctlv3/ctl.go`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::redact::Hidden;

/// Everything needed to connect to the members of one cluster.
///
/// Its `Debug` hides the password. The files are read by [`Client::connect`](crate::Client::connect).
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The members' client endpoints as etcdctl takes them: `host:port`, `http://host:port` or
    /// `https://host:port`. A list to iterate over; a [`Client`](crate::Client) uses one of them.
    pub endpoints: Vec<String>,
    /// PEM file with the certificates a member's certificate must chain to. Without it the system's
    /// roots apply, which hardly ever know an etcd CA.
    pub ca_cert: Option<PathBuf>,
    /// PEM file with the client certificate; needs `key`.
    pub cert: Option<PathBuf>,
    /// PEM file with the client certificate's private key; needs `cert`.
    pub key: Option<PathBuf>,
    /// The name the member's certificate must carry, when that is not the endpoint's host.
    pub server_name: Option<String>,
    /// Accepts any server certificate, also an expired one or one for another name: any server that answers is trusted.
    pub insecure_skip_tls_verify: bool,
    /// User name and password for etcd's own authentication. Ignored by a cluster that has
    /// authentication off, as etcdctl does.
    pub user: Option<(String, String)>,
    /// Longest wait for the TCP connection and TLS handshake.
    pub dial_timeout: Duration,
    /// Longest wait for a unary call, and for a watch to be accepted.
    pub command_timeout: Duration,
    /// Longest wait for the next chunk of a snapshot.
    pub snapshot_idle_timeout: Duration,
}

impl ConnectOptions {
    /// Whether a TLS file is given, which makes `https` the scheme of an endpoint without one.
    pub(crate) fn has_tls_file(&self) -> bool {
        self.ca_cert.is_some() || self.cert.is_some() || self.key.is_some() || self.insecure_skip_tls_verify
    }
}

impl Default for ConnectOptions {
    /// No endpoint, TLS file or user; 5 s to dial and for a command, 30 s between snapshot chunks.
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca_cert: None,
            cert: None,
            key: None,
            server_name: None,
            insecure_skip_tls_verify: false,
            user: None,
            dial_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            snapshot_idle_timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("endpoints", &self.endpoints)
            .field("ca_cert", &self.ca_cert)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("server_name", &self.server_name)
            .field("insecure_skip_tls_verify", &self.insecure_skip_tls_verify)
            .field("user", &self.user.as_ref().map(|(name, _)| (name, Hidden)))
            .field("dial_timeout", &self.dial_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("snapshot_idle_timeout", &self.snapshot_idle_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectOptions;

    #[test]
    fn debug_hides_the_password() {
        let options =
            ConnectOptions { user: Some(("root".into(), "hunter2".into())), ..ConnectOptions::default() };
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("root"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
