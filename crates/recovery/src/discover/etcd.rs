//! The etcd cluster: how its processes were started, its client credentials and its members.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use lifeboat_client::messages::Member;
use lifeboat_client::{Client, ConnectOptions};
use serde_json::Value;

use crate::etcd_settings::Invocation;

use super::host_scan::{Machine, Process};

/// How an etcd process was started, as far as it matters here.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) name: String,
    /// As the process knows it.
    pub(super) data_dir: String,
    /// Where it keeps its log, if not in the data dir.
    pub(super) wal_dir: Option<String>,
    pub(super) client_urls: Vec<String>,
    pub(super) peer_urls: Vec<String>,
    pub(super) ca: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
}

/// What a client shows to etcd. The key is a secret: no `Debug`.
pub(super) struct Credentials {
    pub(super) ca: Vec<u8>,
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// The settings of an etcd process.
pub(super) async fn settings(machine: &Machine, process: &Process) -> Settings {
    let mut etcd = Invocation { arguments: &process.arguments, variables: &process.variables, config: None };
    let file = match etcd.flag("config-file") {
        Some(file) => {
            let text = machine.read(&machine.path_of(process, file)).await.unwrap_or_default();
            serde_saphyr::from_slice::<Value>(&text).ok()
        }
        None => None,
    };
    etcd.config = file.as_ref();
    let value = |name: &str| etcd.setting(name);
    let urls = |name: &str, default: &str| {
        let urls = value(name).unwrap_or_else(|| default.into());
        urls.split(',').map(|url| url.trim().to_owned()).collect::<Vec<_>>()
    };
    Settings {
        data_dir: etcd.data_dir(),
        wal_dir: value("wal-dir"),
        client_urls: urls("advertise-client-urls", "http://localhost:2379"),
        peer_urls: urls("initial-advertise-peer-urls", "http://localhost:2380"),
        ca: value("trusted-ca-file"),
        cert: value("cert-file"),
        key: value("key-file"),
        name: value("name").unwrap_or_else(|| "default".into()),
    }
}

/// The members, as the first that answers to any of these credentials tells, and the credentials it took.
pub(super) async fn members(
    machines: &[Machine],
    urls: &[String],
) -> Result<(Vec<Member>, Option<Credentials>), String> {
    let mut why = String::from("no etcd and no kube-apiserver was found");
    if let Some(url) = urls.iter().find(|url| url.starts_with("http://")) {
        match ask(url, None).await {
            Ok(members) => return Ok((members, None)),
            Err(error) => why = error,
        }
    }
    for credentials in candidates(machines).await {
        for url in urls {
            match ask(url, Some(&credentials)).await {
                Ok(members) => return Ok((members, Some(credentials))),
                Err(error) => why = error,
            }
        }
    }
    Err(why)
}

/// Certificates that etcd may take from a client: what the API servers show it, what kubeadm has for its health
/// checks, and etcd's own.
async fn candidates(machines: &[Machine]) -> Vec<Credentials> {
    let mut found = Vec::new();
    for machine in machines {
        for process in machine.running("kube-apiserver") {
            let path = |flag| process.flag(flag).map(|path| machine.path_of(process, path));
            found.extend(
                read(machine, path("etcd-cafile"), path("etcd-certfile"), path("etcd-keyfile")).await,
            );
        }
    }
    for machine in machines {
        for process in machine.running("etcd") {
            let settings = settings(machine, process).await;
            let path = |path: &Option<String>| path.as_ref().map(|path| machine.path_of(process, path));
            let ca = path(&settings.ca);
            let beside = |name: &str| Some(ca.as_ref()?.parent()?.join(name));
            let (cert, key) = (beside("healthcheck-client.crt"), beside("healthcheck-client.key"));
            found.extend(read(machine, ca.clone(), cert, key).await);
            found.extend(read(machine, ca, path(&settings.cert), path(&settings.key)).await);
        }
    }
    found
}

async fn read(
    machine: &Machine,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<Credentials> {
    let (ca, cert, key) = (ca?, cert?, key?);
    Some(Credentials {
        ca: machine.read(&ca).await.ok()?,
        cert: machine.read(&cert).await.ok()?,
        key: machine.read(&key).await.ok()?,
    })
}

async fn ask(url: &str, credentials: Option<&Credentials>) -> Result<Vec<Member>, String> {
    let why = |error: &dyn std::error::Error| format!("{url}: {}", crate::error_text::of(error));
    let mut options = ConnectOptions {
        dial_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(3),
        ..ConnectOptions::default()
    };
    // Removed when the answer has come.
    let dir = tempfile::tempdir().map_err(|error| why(&error))?;
    if let Some(credentials) = credentials {
        let put = |name: &str, bytes: &[u8]| put(dir.path(), name, bytes).map_err(|error| why(&error));
        options.ca_cert = Some(put("ca.crt", &credentials.ca)?);
        options.cert = Some(put("client.crt", &credentials.cert)?);
        options.key = Some(put("client.key", &credentials.key)?);
    }
    let client = Client::connect(&options, url).await.map_err(|error| why(&error))?;
    let answer = client.member_list(true).await.map_err(|error| why(&error))?;
    Ok(answer.members)
}

/// Writes a file with mode 0600.
pub(super) fn put(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    use std::io::Write;

    let path = dir.join(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(path)
}
