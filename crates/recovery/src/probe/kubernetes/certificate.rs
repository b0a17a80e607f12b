//! The certificate an API server shows, or has in its file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use crate::error_text;
use crate::facts::Certificate;
use crate::host::{Command, Host};
use crate::probe::access::{ANSWER, DIAL};

/// No file with a certificate chain is larger.
const LARGEST: &str = "65536";

/// The certificate a server shows, whether or not it is still good.
pub(super) async fn served(url: &str) -> Result<Certificate, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let host = uri.host().ok_or_else(|| format!("{url} has no host"))?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let name = ServerName::try_from(host.clone()).map_err(|error| format!("{url}: {error}"))?;
    let onlooker = Arc::new(Onlooker::new());
    let config = ClientConfig::builder_with_provider(onlooker.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(onlooker.clone())
        .with_no_client_auth();
    let connect = timeout(DIAL, TcpStream::connect((host, port))).await;
    let stream = connect.map_err(|_| format!("{url}: no connection within {} s", DIAL.as_secs()))?;
    let stream = stream.map_err(|error| format!("{url}: {error}"))?;
    let shaken = timeout(ANSWER, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let seen = onlooker.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, shaken) {
        (Some(der), _) => understand(&der),
        (None, Ok(Err(error))) => Err(error_text::of(&error)),
        (None, _) => Err(format!("{url}: no certificate within {} s", ANSWER.as_secs())),
    }
}

/// Looks at the certificate a server shows and then refuses it, whatever it is: a connection verified by this can
/// never come about, so nothing is ever sent over one.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Onlooker {
    fn new() -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), seen: Mutex::new(None) }
    }
}

fn refused<T>() -> Result<T, Error> {
    Err(Error::General("only looked at".into()))
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        refused()
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The first certificate in a PEM file on a machine: the server's own, as servers expect it.
pub(super) async fn in_file(host: &dyn Host, path: &Path) -> Result<Certificate, String> {
    let path = path.display().to_string();
    let command = Command::new(["head", "-c", LARGEST, "--", &path]).within(ANSWER);
    let output = host.run(&command).await.map_err(|error| error_text::of(&error))?;
    if !output.success() {
        return Err(error_text::one_line(&String::from_utf8_lossy(&output.stderr)));
    }
    first(&output.stdout).map_err(|why| format!("{path}: {why}"))
}

fn first(text: &[u8]) -> Result<Certificate, String> {
    for pem in Pem::iter_from_buffer(text) {
        let pem = pem.map_err(|error| error.to_string())?;
        if pem.label == "CERTIFICATE" {
            return understand(&pem.contents);
        }
    }
    Err("no certificate in PEM".into())
}

pub(super) fn understand(der: &[u8]) -> Result<Certificate, String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    let validity = certificate.validity();
    Ok(Certificate {
        subject: error_text::one_line(&certificate.subject().to_string()),
        not_before: time(validity.not_before.timestamp())?,
        not_after: time(validity.not_after.timestamp())?,
    })
}

#[cfg(test)]
mod tests;
