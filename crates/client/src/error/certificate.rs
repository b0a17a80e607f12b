//! Certificate problems that prevent a connection.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with a member's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// It has expired.
    Expired {
        /// End of its validity, RFC 3339.
        on: String,
    },
    /// It is not valid yet, or the local clock is behind.
    NotValidYet {
        /// Start of its validity, RFC 3339.
        from: String,
    },
    /// It does not have the expected name.
    WrongName {
        /// The expected name.
        name: String,
        /// Its names.
        names: Vec<String>,
    },
    /// No trusted authority signed it.
    UnknownIssuer {
        /// The issuer it names.
        issuer: String,
    },
    /// Another problem, as a predicate: "has no names".
    Other(String),
}

impl fmt::Display for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { on } => write!(f, "expired on {on}"),
            Self::NotValidYet { from } => write!(f, "is not valid before {from}"),
            Self::WrongName { name, names } if names.is_empty() => {
                write!(f, "has no names, {name} was expected")
            }
            Self::WrongName { name, names } => write!(f, "is for {}, not for {name}", names.join(", ")),
            Self::UnknownIssuer { issuer } => write!(f, "is signed by an unknown authority, {issuer}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// What is wrong with the client certificate that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It has expired.
    Expired {
        /// File of the certificate.
        path: PathBuf,
        /// End of its validity, RFC 3339.
        on: String,
    },
    /// It is not valid yet, or the local clock is behind.
    NotValidYet {
        /// File of the certificate.
        path: PathBuf,
        /// Start of its validity, RFC 3339.
        from: String,
    },
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { path, on } => {
                write!(f, "the client certificate {} expired on {on}", path.display())
            }
            Self::NotValidYet { path, from } => {
                write!(f, "the client certificate {} is not valid before {from}", path.display())
            }
        }
    }
}
