//! Connecting to a live member, with etcdctl's flags and environment variables.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lifeboat_client::{ConnectOptions, Endpoint, Error, ServerCertificate};

use crate::exit::Usage;
use crate::terminal::{self, stderr_line};

/// Flags to connect to a live member.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection (same as etcdctl)")]
pub struct Connection {
    /// Client URL of the member.
    #[arg(long, env = "ETCDCTL_ENDPOINTS", value_delimiter = ',', value_name = "URL")]
    pub endpoints: Vec<String>,

    /// CA bundle to verify the member's certificate.
    #[arg(long, env = "ETCDCTL_CACERT", value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Client certificate file.
    #[arg(long, env = "ETCDCTL_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of the client certificate.
    #[arg(long, env = "ETCDCTL_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Skip verification of the member's certificate. Insecure: any server that answers at the URL is trusted.
    #[arg(long)]
    insecure_skip_tls_verify: bool,

    /// Name to verify in the member's certificate, if it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,

    /// User name, or `name:password` (visible to other users of this machine). Prompts for a missing password.
    #[arg(long, env = "ETCDCTL_USER", value_name = "NAME[:PASSWORD]", hide_env_values = true)]
    user: Option<String>,

    /// Password of the user (visible to other users of this machine; prefer ETCDCTL_PASSWORD or --password-file).
    #[arg(long, env = "ETCDCTL_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<String>,

    /// File with the password of the user; a line break at its end is ignored.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,

    /// Timeout for connecting: 5s, 500ms, 1m; a bare number is seconds.
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    dial_timeout: Duration,

    /// Timeout for each request, in the format of --dial-timeout.
    #[arg(long, env = "ETCDCTL_COMMAND_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    command_timeout: Duration,
}

impl Connection {
    /// Whether an endpoint without a scheme means https.
    pub fn has_tls_flag(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some() || self.insecure_skip_tls_verify
    }

    /// Options for the client.
    pub fn options(&self) -> anyhow::Result<ConnectOptions> {
        Ok(ConnectOptions {
            endpoints: self.endpoints.clone(),
            ca_cert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            server_name: self.server_name.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            user: self.credentials()?,
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
            ..ConnectOptions::default()
        })
    }

    /// The user's name and password. Warns if the password is in the arguments, where `ps` shows it to every user.
    fn credentials(&self) -> anyhow::Result<Option<(String, String)>> {
        let Some(user) = &self.user else { return Ok(None) };
        let is_given = |flag: &str| {
            std::env::args().any(|argument| {
                argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        };
        let (name, password) = match (&self.password, &self.password_file, user.split_once(':')) {
            (Some(password), ..) => (user.as_str(), password.clone()),
            (None, Some(file), _) => (user.as_str(), read_password_file(file)?),
            (None, None, Some((name, password))) => (name, password.to_owned()),
            (None, None, None) => (user.as_str(), prompt_password(user)?),
        };
        let in_user = self.password.is_none() && self.password_file.is_none() && user.contains(':');
        if is_given("--password") || (in_user && is_given("--user")) {
            stderr_line(format_args!(
                "warning: other users of this machine can see the password in `ps`; use --password-file or \
                 ETCDCTL_PASSWORD"
            ));
        }
        Ok(Some((name.to_owned(), password)))
    }
}

fn read_password_file(file: &Path) -> anyhow::Result<String> {
    let text = fs_err::read_to_string(file).map_err(|error| Usage(format!("--password-file: {error}")))?;
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
        .to_owned())
}

fn prompt_password(user: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let why = format!("no password for user {user:?}: set ETCDCTL_PASSWORD or pass --password-file");
        return Err(Usage(why).into());
    }
    terminal::read_password(&format!("Password for {user}: ")).context("read the password from the terminal")
}

/// Warns if the password would be sent in clear text.
pub fn warn_about_clear_text(options: &ConnectOptions, endpoint: &Endpoint) {
    if options.user.is_some() && !endpoint.is_tls() && !endpoint.is_local() {
        stderr_line(format_args!(
            "warning: {endpoint}: the password is sent over the network in clear text; use https"
        ));
    }
}

/// Adds advice to an error from a member.
pub fn with_advice(error: Error) -> anyhow::Error {
    let advice = match &error {
        Error::Endpoint { .. } | Error::Options { .. } => return Usage(error.to_string()).into(),
        Error::Connect { .. } if !error.is_permanent() => REACH,
        Error::ConnectTimeout { .. } | Error::Timeout { .. } => REACH,
        Error::ServerCertificate { problem, .. } => match problem {
            ServerCertificate::Expired { .. } | ServerCertificate::NotValidYet { .. } => EXPIRED,
            ServerCertificate::WrongName { .. } => NAME,
            ServerCertificate::UnknownIssuer { .. } => ISSUER,
            ServerCertificate::Other(_) => TLS,
        },
        Error::ClientCertificate { .. } => CLIENT,
        // A member that requires a client certificate closes the connection only on the first call.
        Error::Connect { .. } | Error::Call { cause: Some(_), .. } => TLS,
        _ => return error.into(),
    };
    anyhow::anyhow!("{:#}; {advice}", anyhow::Error::from(error))
}

const REACH: &str = "check that etcd runs there and that this is its client URL, or use another member";
const TLS: &str = "check the URL's scheme (http or https), --cacert, --cert and --key";
const EXPIRED: &str =
    "renew it and check the clock of this machine; --insecure-skip-tls-verify accepts it anyway";
const NAME: &str = "use one of its names in the URL or as --server-name";
const ISSUER: &str = "--cacert must name the CA of this etcd; kubeadm's is /etc/kubernetes/pki/etcd/ca.crt";
const CLIENT: &str =
    "pass a valid one with --cert and --key; if the CA or certificate of etcd has expired, renew that first";

/// Parses a duration in etcdctl's format: `5s`, `500ms`, `1m`, or bare seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| character.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a duration such as 5s"))?;
    let seconds = match unit {
        "" | "s" => number,
        "ms" => number / 1000.0,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{text:?} is not a duration such as 5s")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_in_etcdctl() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for text in ["", "s", "5x", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
