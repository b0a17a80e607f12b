//! Certificates that keep a connection from coming about.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with a member's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// It has expired.
    Expired {
        /// When, RFC 3339.
        on: String,
    },
    /// It is not valid yet, or the clock here is behind.
    NotValidYet {
        /// From when on it is, RFC 3339.
        from: String,
    },
    /// It is for other names.
    WrongName {
        /// The name it was expected to have.
        name: String,
        /// Those it has.
        names: Vec<String>,
    },
    /// None of the authorities trusted here signed it.
    UnknownIssuer {
        /// Who signed it, by its own word.
        issuer: String,
    },
    /// Something else, as a predicate.
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
        /// Its file.
        path: PathBuf,
        /// When, RFC 3339.
        on: String,
    },
    /// It is not valid yet, or the clock here is behind.
    NotValidYet {
        /// Its file.
        path: PathBuf,
        /// From when on it is, RFC 3339.
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
