//! TLS from the files of [`ConnectOptions`]: rustls with aws-lc-rs, verification always on.

use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{ConnectOptions, Error, Result};

/// Reads the TLS files and builds tonic's configuration for an `https` endpoint.
///
/// The reads block: the files are a few kilobytes and local.
pub(crate) fn client_config(options: &ConnectOptions) -> Result<ClientTlsConfig> {
    let mut config = ClientTlsConfig::new().timeout(options.dial_timeout);
    config = match &options.ca_cert {
        Some(path) => config.ca_certificate(Certificate::from_pem(read_pem(path, "CERTIFICATE")?)),
        None => config.with_native_roots(),
    };
    config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            config.identity(Identity::from_pem(read_pem(cert, "CERTIFICATE")?, read_pem(key, "PRIVATE KEY")?))
        }
        (None, None) => config,
        (Some(_), None) => return Err(Error::Options { reason: "a client certificate needs its key" }),
        (None, Some(_)) => return Err(Error::Options { reason: "a client key needs its certificate" }),
    };
    if let Some(name) = &options.server_name {
        config = config.domain_name(name);
    }
    Ok(config)
}

/// Reads a PEM file and insists on a block whose label ends in `label`.
///
/// tonic takes a file without any block for an empty list; every handshake would then fail with an
/// unknown issuer, which points away from the mistake.
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
    use super::{client_config, read_pem};
    use crate::{ConnectOptions, Error};

    #[test]
    fn a_certificate_and_a_key_come_together() {
        let options = ConnectOptions {
            ca_cert: None,
            cert: None,
            key: Some("client.key".into()),
            ..ConnectOptions::default()
        };
        assert!(matches!(client_config(&options), Err(Error::Options { .. })));
    }

    #[test]
    fn a_file_that_is_not_pem_is_named() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let error = read_pem(path, "CERTIFICATE").unwrap_err();
        assert!(error.to_string().contains("Cargo.toml"), "{error}");
        assert!(matches!(error, Error::NotPem { .. }));
    }
}
