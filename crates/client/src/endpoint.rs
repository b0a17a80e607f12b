//! Client endpoints as etcdctl takes them (`client/v3/internal/endpoint/endpoint.go`).

use std::fmt;
use std::path::{Path, PathBuf};

use tonic::transport::Uri;

use crate::{Error, Result};

/// A member's client endpoint: a scheme, and a host and a port or a unix socket.
///
/// Displayed as a URL, `https://10.0.0.1:2379`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    tls: bool,
    address: Address,
}

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// `host:port`, an IPv6 host in brackets.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Parses `host:port`, `http://host:port`, `https://host:port`, `unix://path` or `unixs://path`; `tls_by_default`
    /// decides the scheme of the first form. IPv6 addresses need brackets.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] for anything else, including an explicit path or user.
    pub fn parse(text: &str, tls_by_default: bool) -> Result<Self> {
        // Whatever stands before an `@` may be a password, so it never reaches the error.
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let refuse = |reason| Error::Endpoint { endpoint: shown.to_owned(), reason };

        let scheme = text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let (tls, rest) = match &scheme {
            Some((scheme, "")) if scheme.starts_with("unix") => return Err(refuse("no path of a socket")),
            Some((scheme, path)) if scheme == "unix" || scheme == "unixs" => {
                return Ok(Self { tls: scheme == "unixs", address: Address::Unix(path.into()) });
            }
            Some((scheme, rest)) if scheme == "http" => (false, *rest),
            Some((scheme, rest)) if scheme == "https" => (true, *rest),
            Some(_) => return Err(refuse("the scheme is not http, https, unix or unixs")),
            None => (tls_by_default, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(refuse("a user does not belong in an endpoint"));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(refuse("more than a host and a port"));
        }
        let uri: Uri =
            format!("http://{authority}").parse().map_err(|_| refuse("not of the form host:port"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(refuse("no host"));
        }
        // `port_u16` is None for a port above 65535 too, which `Uri` accepts.
        match uri.port_u16() {
            None | Some(0) => Err(refuse("no port, or one that is not between 1 and 65535")),
            Some(_) => Ok(Self { tls, address: Address::Tcp(authority.to_owned()) }),
        }
    }

    /// Whether the endpoint is `https` or `unixs`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// `host:port`, an IPv6 host in brackets; of a unix socket, as gRPC has it, `localhost`.
    #[must_use]
    pub fn authority(&self) -> &str {
        match &self.address {
            Address::Tcp(authority) => authority,
            Address::Unix(_) => "localhost",
        }
    }

    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.authority().rsplit_once(':').map_or(self.authority(), |(host, _)| host);
        host.trim_matches(['[', ']'])
    }

    /// Whether what is sent there stays on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let is_loopback =
            |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.socket().is_some() || self.host() == "localhost" || is_loopback(self.host())
    }

    /// The path of a unix socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match &self.address {
            Address::Tcp(_) => None,
            Address::Unix(path) => Some(path),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        match &self.address {
            Address::Tcp(authority) => write!(f, "http{s}://{authority}"),
            Address::Unix(path) => write!(f, "unix{s}://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn takes_what_etcdctl_takes() {
        for (text, tls_by_default, expected) in [
            ("10.0.0.1:2379", false, "http://10.0.0.1:2379"),
            ("10.0.0.1:2379", true, "https://10.0.0.1:2379"),
            ("http://etcd-0.etcd:2379", true, "http://etcd-0.etcd:2379"),
            ("https://etcd-0:2379/", false, "https://etcd-0:2379"),
            ("[::1]:2379", false, "http://[::1]:2379"),
            ("https://[fd00::2]:2379", false, "https://[fd00::2]:2379"),
            ("HTTPS://etcd-0:2379", false, "https://etcd-0:2379"),
            ("unix:///run/etcd.sock", true, "unix:///run/etcd.sock"),
            ("unixs://localhost:2379", false, "unixs://localhost:2379"),
        ] {
            assert_eq!(Endpoint::parse(text, tls_by_default).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn refuses_what_it_could_only_guess() {
        for text in [
            "",
            ":2379",
            "etcd-0",
            "https://etcd-0",
            "etcd-0:0",
            "etcd-0:65536",
            "etcd-0:port",
            "::1:2379",
            "a:2379,b:2379",
            "http://a:2379/v3",
            "http://a:2379?x",
            "unix://",
            "ftp://a:2379",
            "a b:2379",
        ] {
            assert!(Endpoint::parse(text, false).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        let error = Endpoint::parse("https://root:hunter2@etcd-0:2379", false).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
