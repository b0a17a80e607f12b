//! What a certificate says of itself, for those who must find out why it is refused.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::{ClientCertificate, ServerCertificate};

/// A member's certificate that was refused.
pub(crate) type Rejected = ServerCertificate;

impl ServerCertificate {
    pub(super) fn new(certificate: &CertificateDer<'_>, name: &ServerName<'_>, error: &TlsError) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self::Other("is not an X.509 certificate".into());
        };
        let validity = parsed.validity();
        let TlsError::InvalidCertificate(error) = error else {
            return Self::Other(format!("is refused: {error}"));
        };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::Expired { on: date(validity.not_after.timestamp()) }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotValidYet { from: date(validity.not_before.timestamp()) }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName { name: name.to_str().into_owned(), names: names(&parsed) }
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::UnknownIssuer { issuer: parsed.issuer().to_string() }
            }
            other => Self::Other(format!("is refused: {other:?}")),
        }
    }
}

/// What speaks against a client's certificate by itself, as a member would see it.
pub(super) fn of_client(path: &Path, certificate: Option<&CertificateDer<'_>>) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(certificate?).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let now = i64::try_from(now).ok()?;
    let validity = parsed.validity();
    let path = PathBuf::from(path);
    if validity.not_after.timestamp() < now {
        return Some(ClientCertificate::Expired { path, on: date(validity.not_after.timestamp()) });
    }
    (validity.not_before.timestamp() > now)
        .then(|| ClientCertificate::NotValidYet { path, from: date(validity.not_before.timestamp()) })
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| format!("{seconds} s since 1970"), |time| time.to_string())
}

/// The names and addresses that it is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string())
}
