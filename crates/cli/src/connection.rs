//! How to reach a live member: etcdctl's flags and environment variables.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lifeboat_client::{ConnectOptions, Endpoint, Error, ServerCertificate};

use crate::exit::Usage;
use crate::terminal::{self, stderr_line};

/// How to reach a live member.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection (as etcdctl)")]
pub struct Connection {
    /// Client URL of the member.
    #[arg(long, env = "ETCDCTL_ENDPOINTS", value_delimiter = ',', value_name = "URL")]
    pub endpoints: Vec<String>,

    /// CA that the member's certificate must chain to.
    #[arg(long, env = "ETCDCTL_CACERT", value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Client certificate.
    #[arg(long, env = "ETCDCTL_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Key of the client certificate.
    #[arg(long, env = "ETCDCTL_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Take any certificate of the member, an expired one too. Any server that answers at the URL is trusted.
    #[arg(long)]
    insecure_skip_tls_verify: bool,

    /// Name that the member's certificate must carry, when it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,

    /// User name, or `name:password`, which other users of this machine can see. Without a password it is asked for.
    #[arg(long, env = "ETCDCTL_USER", value_name = "NAME[:PASSWORD]", hide_env_values = true)]
    user: Option<String>,

    /// Password of the user, which other users of this machine can see: use the environment or --password-file.
    #[arg(long, env = "ETCDCTL_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<String>,

    /// File with the password of the user, without the line break at its end.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,

    /// Longest wait for a connection: 5s, 500ms, 1m; a bare number is seconds.
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    dial_timeout: Duration,

    /// Longest wait for an answer, as --dial-timeout.
    #[arg(long, env = "ETCDCTL_COMMAND_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    command_timeout: Duration,
}

impl Connection {
    /// Whether https is meant where an endpoint has no scheme.
    pub fn has_tls_flag(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some() || self.key.is_some() || self.insecure_skip_tls_verify
    }

    /// The options of the client.
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

    /// The user's name and password. One that stands in the arguments is warned of: `ps` shows it to everybody.
    fn credentials(&self) -> anyhow::Result<Option<(String, String)>> {
        let Some(user) = &self.user else { return Ok(None) };
        let is_given = |flag: &str| {
            std::env::args().any(|argument| {
                argument.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        };
        let (name, password) = match (&self.password, &self.password_file, user.split_once(':')) {
            (Some(password), ..) => (user.as_str(), password.clone()),
            (None, Some(file), _) => (user.as_str(), password_in(file)?),
            (None, None, Some((name, password))) => (name, password.to_owned()),
            (None, None, None) => (user.as_str(), asked_for(user)?),
        };
        let in_user = self.password.is_none() && self.password_file.is_none() && user.contains(':');
        if is_given("--password") || (in_user && is_given("--user")) {
            stderr_line(format_args!(
                "warning: the password is visible to other users of this machine, in `ps`: use --password-file or \
                 ETCDCTL_PASSWORD"
            ));
        }
        Ok(Some((name.to_owned(), password)))
    }
}

fn password_in(file: &Path) -> anyhow::Result<String> {
    let text = fs_err::read_to_string(file).map_err(|error| Usage(format!("--password-file: {error}")))?;
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
        .to_owned())
}

fn asked_for(user: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let why = format!("user {user:?} has no password: set ETCDCTL_PASSWORD, or give --password-file");
        return Err(Usage(why).into());
    }
    terminal::read_password(&format!("Password of {user}: ")).context("read the password from the terminal")
}

/// Warns of a password that is about to travel in clear text.
pub fn warn_of_clear_text(options: &ConnectOptions, endpoint: &Endpoint) {
    if options.user.is_some() && !endpoint.is_tls() && !endpoint.is_local() {
        stderr_line(format_args!(
            "warning: {endpoint}: the password goes over the network in clear text; use https"
        ));
    }
}

/// A failure to reach the member, with what to do about it.
pub fn unreached(error: Error) -> anyhow::Error {
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
        // A member that wants a certificate and gets none hangs up on the first call, not before.
        Error::Connect { .. } | Error::Call { cause: Some(_), .. } => TLS,
        _ => return error.into(),
    };
    anyhow::anyhow!("{:#}; {advice}", anyhow::Error::from(error))
}

const REACH: &str = "is etcd running there, and is this its client URL? any other member will do as well";
const TLS: &str = "check the URL's scheme (http or https), --cacert, --cert and --key";
const EXPIRED: &str =
    "renew it, and check the clock of this machine; --insecure-skip-tls-verify takes it as it is";
const NAME: &str = "use one of its names in the URL, or give it with --server-name";
const ISSUER: &str = "--cacert must name the CA of this etcd; kubeadm's is /etc/kubernetes/pki/etcd/ca.crt";
const CLIENT: &str = "give one that is valid with --cert and --key; an etcd with an expired CA or certificate must be renewed first";

/// etcdctl's durations as far as people write them: `5s`, `500ms`, `1m`, or bare seconds.
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
    fn durations_as_etcdctl_takes_them() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for text in ["", "s", "5x", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
