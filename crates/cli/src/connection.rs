//! How to reach a live member: etcdctl's flags and environment variables.

use std::path::PathBuf;
use std::time::Duration;

use lifeboat_client::{ConnectOptions, Error};

use crate::exit::Usage;

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

    /// Name that the member's certificate must carry, when it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,

    /// User name, or `name:password`. The environment keeps the password out of the process list.
    #[arg(long, env = "ETCDCTL_USER", value_name = "NAME[:PASSWORD]", hide_env_values = true)]
    user: Option<String>,

    /// Password of the user.
    #[arg(long, env = "ETCDCTL_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<String>,

    /// Longest wait for a connection: 5s, 500ms, 1m; a bare number is seconds.
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    dial_timeout: Duration,

    /// Longest wait for an answer, as --dial-timeout.
    #[arg(long, env = "ETCDCTL_COMMAND_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    command_timeout: Duration,
}

impl Connection {
    /// The options of the client.
    pub fn options(&self) -> anyhow::Result<ConnectOptions> {
        Ok(ConnectOptions {
            endpoints: self.endpoints.clone(),
            ca_cert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            server_name: self.server_name.clone(),
            user: self.credentials()?,
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
            ..ConnectOptions::default()
        })
    }

    fn credentials(&self) -> anyhow::Result<Option<(String, String)>> {
        let Some(user) = &self.user else { return Ok(None) };
        if let Some(password) = &self.password {
            return Ok(Some((user.clone(), password.clone())));
        }
        match user.split_once(':') {
            Some((name, password)) => Ok(Some((name.into(), password.into()))),
            None => Err(Usage(format!("user {user:?} has no password: set ETCDCTL_PASSWORD")).into()),
        }
    }
}

/// A failure to reach the member, with what to do about it.
pub fn unreached(error: Error) -> anyhow::Error {
    let advice = match &error {
        Error::Connect { .. } if !error.is_permanent() => REACH,
        Error::ConnectTimeout { .. } | Error::Timeout { .. } => REACH,
        // A member that wants a certificate and gets none hangs up on the first call, not before.
        Error::Connect { .. } | Error::Call { cause: Some(_), .. } => TLS,
        _ => return error.into(),
    };
    anyhow::anyhow!("{:#}; {advice}", anyhow::Error::from(error))
}

const REACH: &str = "is etcd running there, and is this its client URL? any other member will do as well";
const TLS: &str = "check the URL's scheme (http or https), --cacert, --cert and --key";

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
