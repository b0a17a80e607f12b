//! TLS from the files of [`ConnectOptions`]: rustls with aws-lc-rs. Verification is on unless it is turned off by name.

mod certificate;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::error::{Cause, ClientCertificate};
use crate::{ConnectOptions, Endpoint, Error, Result};
pub(crate) use certificate::Rejected;

/// How to speak TLS to one member.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// The name its certificate must carry.
    pub(crate) server_name: String,
    witness: Arc<Witness>,
    client_certificate: Option<ClientCertificate>,
}

impl Tls {
    /// Reads the TLS files. The reads block: they are a few kilobytes and local.
    pub(crate) fn new(options: &ConnectOptions, endpoint: &Endpoint) -> Result<Self> {
        let unfit =
            |error: TlsError| Error::Tls { endpoint: endpoint.to_string(), source: Cause::of(&error) };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let witness = Arc::new(Witness {
            verifier: verifier(options, endpoint, &provider)?,
            provider: provider.clone(),
            rejected: Mutex::new(None),
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unfit)?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone());
        let (mut config, client_certificate) = match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let client = certificate::of_client(cert, chain.first());
                let pem = read_pem(key, "PRIVATE KEY")?;
                let not_pem = |_| Error::NotPem { path: key.clone(), expected: "PRIVATE KEY" };
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(not_pem)?;
                (builder.with_client_auth_cert(chain, key).map_err(unfit)?, client)
            }
            (None, None) => (builder.with_no_client_auth(), None),
            (Some(_), None) => return Err(Error::Options { reason: "a client certificate needs its key" }),
            (None, Some(_)) => return Err(Error::Options { reason: "a client key needs its certificate" }),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let server_name = options.server_name.clone().unwrap_or_else(|| endpoint.host().to_owned());
        Ok(Self { config: Arc::new(config), server_name, witness, client_certificate })
    }

    /// Why the member's certificate was refused, if that is why no connection came about.
    pub(crate) fn rejected(&self) -> Option<Rejected> {
        self.witness.rejected.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What speaks against our own certificate.
    pub(crate) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_ref()
    }
}

/// `None` where nothing is to be verified.
fn verifier(
    options: &ConnectOptions,
    endpoint: &Endpoint,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>> {
    if options.insecure_skip_tls_verify {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    match &options.ca_cert {
        Some(path) => {
            for certificate in certificates(path)? {
                let unfit = |error: TlsError| Error::Tls {
                    endpoint: endpoint.to_string(),
                    source: Cause::of(&error),
                };
                roots.add(certificate).map_err(unfit)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = builder.build();
    verifier
        .map(Some)
        .map_err(|error| Error::Tls { endpoint: endpoint.to_string(), source: Cause::of(&error) })
}

/// Verifies as rustls does, if at all, and keeps what was refused, so that it can be told in words.
#[derive(Debug)]
struct Witness {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    rejected: Mutex<Option<Rejected>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(verifier) = &self.verifier else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(error) = &verified {
            let rejected = Rejected::new(end_entity, server_name, error);
            *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = Some(rejected);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read_pem(path, "CERTIFICATE")?;
    let not_pem = |_| Error::NotPem { path: path.to_owned(), expected: "CERTIFICATE" };
    CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(not_pem)
}

/// Reads a PEM file and insists on a block whose label ends in `label`.
///
/// A file without any block would be taken for an empty list; every handshake would then fail with an unknown issuer,
/// which points away from the mistake.
fn read_pem(path: &Path, label: &'static str) -> Result<Vec<u8>> {
    let pem = fs_err::read(path).map_err(|source| Error::ReadFile { path: path.to_owned(), source })?;
    let begins = |line: &[u8]| {
        line.trim_ascii()
            .strip_prefix(b"-----BEGIN ")
            .and_then(|rest| rest.strip_suffix(b"-----"))
            .is_some_and(|found| found.ends_with(label.as_bytes()))
    };
    if pem.split(|&byte| byte == b'\n').any(begins) {
        Ok(pem)
    } else {
        Err(Error::NotPem { path: path.to_owned(), expected: label })
    }
}

#[cfg(test)]
mod tests {
    use super::{Tls, read_pem};
    use crate::{ConnectOptions, Endpoint, Error};

    #[test]
    fn a_certificate_and_a_key_come_together() {
        let options = ConnectOptions {
            ca_cert: None,
            cert: None,
            key: Some("client.key".into()),
            insecure_skip_tls_verify: true,
            ..ConnectOptions::default()
        };
        let endpoint = Endpoint::parse("https://127.0.0.1:2379", true).unwrap();
        assert!(matches!(Tls::new(&options, &endpoint), Err(Error::Options { .. })));
    }

    #[test]
    fn a_file_that_is_not_pem_is_named() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let error = read_pem(path, "CERTIFICATE").unwrap_err();
        assert!(error.to_string().contains("Cargo.toml"), "{error}");
        assert!(matches!(error, Error::NotPem { .. }));
    }
}
