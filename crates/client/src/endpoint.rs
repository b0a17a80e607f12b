//! Client endpoints as etcdctl takes them (`client/v3/internal/endpoint/endpoint.go`).

use std::fmt;

use tonic::transport::Uri;

use crate::{Error, Result};

/// A member's client endpoint: a scheme, a host and a port.
///
/// Displayed as a URL, `https://10.0.0.1:2379`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    tls: bool,
    authority: String,
}

impl Endpoint {
    /// Parses `host:port`, `http://host:port` or `https://host:port`; `tls_by_default` decides the
    /// scheme of the first form. IPv6 addresses need brackets.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] for anything else, including an explicit path, user or unix socket.
    pub fn parse(text: &str, tls_by_default: bool) -> Result<Self> {
        // Whatever stands before an `@` may be a password, so it never reaches the error.
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        let refuse = |reason| Error::Endpoint { endpoint: shown.to_owned(), reason };

        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(("unix" | "unixs", _)) => return Err(refuse("unix sockets are not supported")),
            Some(_) => return Err(refuse("the scheme is neither http nor https")),
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
            Some(_) => Ok(Self { tls, authority: authority.to_owned() }),
        }
    }

    /// Whether the endpoint is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// `host:port`, an IPv6 host in brackets.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
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
            "unix:///run/etcd.sock",
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
