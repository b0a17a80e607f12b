//! A certificate authority for one cluster, with the certificates its members and clients need.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

use crate::authority::{Authority, Subject};

/// The user of the client certificate, which etcd takes from the common name. With auth enabled, only `root` is sure to
/// exist.
const CLIENT_USER: &str = "root";

/// PEM files of a cluster; keys are 0600.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authority that signed all the others.
    pub ca: PathBuf,
    /// The members' certificate for clients.
    pub server: CertifiedKey,
    /// The members' certificate for each other.
    pub peer: CertifiedKey,
    /// The clients' certificate.
    pub client: CertifiedKey,
    /// An expired server certificate.
    pub expired_server: CertifiedKey,
    /// An expired client certificate.
    pub expired_client: CertifiedKey,
    /// A server certificate for other names.
    pub misnamed_server: CertifiedKey,
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
    fs::create_dir_all(dir)?;
    let authority = Authority::new("lab-ca")?;
    let ca = dir.join("ca.crt");
    fs::write(&ca, &authority.pair().cert)?;

    let names = ["127.0.0.1", "localhost"].map(String::from);
    let certify = |file: &str, subject: Subject<'_>| -> Result<CertifiedKey> {
        let files =
            CertifiedKey { cert: dir.join(format!("{file}.crt")), key: dir.join(format!("{file}.key")) };
        authority.issue(&subject)?.write(&files.cert, &files.key)?;
        Ok(files)
    };
    Ok(TlsFiles {
        ca,
        // A member is also a client: 3.4's gRPC gateway dials its own listener with the server certificate.
        server: certify("server", Subject::server("lab-member", &names))?,
        peer: certify("peer", Subject::server("lab-member", &names))?,
        client: certify("client", Subject::client(CLIENT_USER))?,
        expired_server: certify(
            "expired-server",
            Subject { expired: true, ..Subject::server("lab-member", &names) },
        )?,
        expired_client: certify("expired-client", Subject { expired: true, ..Subject::client(CLIENT_USER) })?,
        misnamed_server: certify("misnamed-server", Subject::server("lab-member", &["etcd.example".into()]))?,
    })
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
