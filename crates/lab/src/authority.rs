//! A certificate authority and the certificates it signs, as PEM.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Years a certificate lasts.
const YEARS: i32 = 10;

/// A certificate with its private key (PKCS #8), both PEM.
pub(crate) struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pair {
    /// Writes both files, which must not exist yet; the key is 0600.
    pub fn write(&self, cert: &Path, key: &Path) -> Result<()> {
        fs::write(cert, &self.cert)?;
        // Created with mode 0600, so the key is never readable by others.
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(key)?;
        out.write_all(self.key.as_bytes())?;
        Ok(())
    }
}

/// The subject of a certificate, and its use.
pub(crate) struct Subject<'a> {
    /// The common name, which is the user in Kubernetes and etcd.
    pub name: &'a str,
    /// The organization, which is the group in Kubernetes.
    pub organization: Option<&'a str>,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Whether a server may use it.
    pub server: bool,
    /// Expired, for tests of what that breaks.
    pub expired: bool,
}

impl<'a> Subject<'a> {
    /// A client called `name`.
    pub fn client(name: &'a str) -> Self {
        Self { name, organization: None, names: Vec::new(), server: false, expired: false }
    }

    /// A server (and client: etcd's gateway dials its own listener) called `name`, reached by `names`.
    pub fn server(name: &'a str, names: &[String]) -> Self {
        Self { names: names.to_vec(), server: true, ..Self::client(name) }
    }

    /// Sets the organization.
    pub fn of(self, organization: &'a str) -> Self {
        Self { organization: Some(organization), ..self }
    }
}

/// An authority with its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pair: Pair,
}

impl Authority {
    /// Creates an authority with a new key.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("make the CA key")?;
        let params = authority_params(name);
        let cert = params.self_signed(&key).context("sign the CA certificate")?.pem();
        let pair = Pair { cert, key: key.serialize_pem() };
        Ok(Self { issuer: Issuer::new(params, key), pair })
    }

    /// Loads the authority called `name` from these files.
    pub fn read(name: &str, cert: &Path, key: &Path) -> Result<Self> {
        let pair = Pair { cert: fs::read_to_string(cert)?, key: fs::read_to_string(key)? };
        let key = KeyPair::from_pem(&pair.key).with_context(|| format!("read {}", key.display()))?;
        Ok(Self { issuer: Issuer::new(authority_params(name), key), pair })
    }

    /// The authority's certificate and key.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Issues a certificate for a new key.
    pub fn issue(&self, subject: &Subject<'_>) -> Result<Pair> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

        let mut params = CertificateParams::new(subject.names.clone()).context("read the names")?;
        params.distinguished_name.push(DnType::CommonName, subject.name);
        if let Some(organization) = subject.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            if subject.server { vec![ServerAuth, ClientAuth] } else { vec![ClientAuth] };
        let year = this_year()?;
        // An expired certificate must also start before this year, whatever the day.
        let (from, to) = if subject.expired { (year - 3, year - 1) } else { (year - 1, year + YEARS) };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().with_context(|| format!("make a key for {}", subject.name))?;
        let cert = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign a certificate for {}", subject.name))?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// The calendar year, give or take a day around New Year.
fn this_year() -> Result<i32> {
    const SECONDS_PER_YEAR: u64 = 31_556_952;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    i32::try_from(1970 + now.as_secs() / SECONDS_PER_YEAR).context("read the clock")
}
