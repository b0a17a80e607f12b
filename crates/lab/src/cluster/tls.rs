//! A certificate authority for one cluster, with the certificates its members and clients need.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The user a client certificate speaks for. etcd takes it from the common name, and with auth turned on only
/// `root` is sure to exist.
const CLIENT_USER: &str = "root";

/// PEM files of a cluster; keys are 0600.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authority that signed all the others.
    pub ca: PathBuf,
    /// What members show clients.
    pub server: CertifiedKey,
    /// What members show each other.
    pub peer: CertifiedKey,
    /// What clients show members.
    pub client: CertifiedKey,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct CertifiedKey {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Makes a new authority and its certificates in `dir`.
pub(super) fn issue(dir: &Path) -> Result<TlsFiles> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

    fs::create_dir_all(dir)?;
    let key = KeyPair::generate().context("make the CA key")?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "lab-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key).context("sign the CA certificate")?;
    let ca = dir.join("ca.crt");
    fs::write(&ca, certificate.pem())?;

    let authority = Issuer::new(params, key);
    let issue = |file, user, uses| certify(dir, &authority, file, user, uses);
    Ok(TlsFiles {
        ca,
        // A member is also a client: 3.4's gRPC gateway dials its own listener with the server certificate.
        server: issue("server", "lab-member", vec![ServerAuth, ClientAuth])?,
        peer: issue("peer", "lab-member", vec![ServerAuth, ClientAuth])?,
        client: issue("client", CLIENT_USER, vec![ClientAuth])?,
    })
}

fn certify(
    dir: &Path,
    authority: &Issuer<'_, KeyPair>,
    file: &str,
    user: &str,
    uses: Vec<ExtendedKeyUsagePurpose>,
) -> Result<CertifiedKey> {
    let names = ["127.0.0.1", "localhost"].map(String::from);
    let mut params = CertificateParams::new(names).context("read the certificate's names")?;
    params.distinguished_name.push(DnType::CommonName, user);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = uses;
    let key = KeyPair::generate().with_context(|| format!("make the {file} key"))?;
    let certificate =
        params.signed_by(&key, authority).with_context(|| format!("sign the {file} certificate"))?;
    let files = CertifiedKey { cert: dir.join(format!("{file}.crt")), key: dir.join(format!("{file}.key")) };
    fs::write(&files.cert, certificate.pem())?;
    // Created 0600 rather than changed to it, so the key is at no time readable by others.
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&files.key)?;
    out.write_all(key.serialize_pem().as_bytes())?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let files = issue(dir.path()).unwrap();
        for pair in [&files.server, &files.peer, &files.client] {
            assert_eq!(fs::metadata(&pair.key).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(fs::read_to_string(&pair.cert).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
    }
}
