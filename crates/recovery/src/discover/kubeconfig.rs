//! A kubeconfig from a machine, rebuilt from an allow-list.
//!
//! A kubeconfig can run commands (`exec`), read files (`tokenFile`) and send credentials elsewhere (`proxy-url`,
//! `insecure-skip-tls-verify`) on the computer of its user. One that lies on a machine of the cluster is untrusted:
//! only a CA, a client certificate with its key and a token are accepted.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::inventory::is_host;

use super::host_scan::Machine;

/// Fields of a cluster and of a user that are ignored.
const IGNORED: [&str; 3] = ["server", "extensions", "disable-compression"];

/// The credentials of a kubeconfig, by value or by their path on the machine. They are secrets: no `Debug`.
#[derive(PartialEq)]
pub(super) struct Credentials {
    ca: Material,
    client: Option<(Material, Material)>,
    token: Option<String>,
    tls_server_name: Option<String>,
}

/// PEM, or the file on the machine that holds it.
#[derive(PartialEq)]
enum Material {
    Data(Vec<u8>),
    File(PathBuf),
}

/// Takes the credentials of the current context out of the text of a kubeconfig that lies at `path`.
///
/// # Errors
/// What is refused, by name, and why.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Credentials, String> {
    let config: Value = serde_saphyr::from_slice(text).map_err(|_| "not YAML")?;
    let context = named(&config, "contexts", "context", &text_of(&config, "current-context")?)?;
    let cluster =
        named(&config, "clusters", "cluster", &text_of(&Value::Object(context.clone()), "cluster")?)?;
    let user = named(&config, "users", "user", &text_of(&Value::Object(context), "user")?)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    refuse("cluster", &cluster, &["certificate-authority", "tls-server-name", "insecure-skip-tls-verify"])?;
    refuse("user", &user, &["client-certificate", "client-key", "token"])?;
    let ca = material(dir, &cluster, "certificate-authority")?.ok_or("it has no certificate-authority")?;
    let client = match (material(dir, &user, "client-certificate")?, material(dir, &user, "client-key")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err("client-certificate and client-key must be set together".into());
        }
    };
    let token = optional(&user, "token")?;
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err("user.token: not a token".into());
    }
    if client.is_none() && token.is_none() {
        return Err("it has neither a client certificate nor a token".into());
    }
    let tls_server_name = optional(&cluster, "tls-server-name")?;
    if tls_server_name.as_ref().is_some_and(|name| !is_host(name)) {
        return Err("cluster.tls-server-name: not a host name".into());
    }
    Ok(Credentials { ca, client, token, tls_server_name })
}

impl Credentials {
    /// A kubeconfig of our own for the API server at `url`, with what lies in files of the machine put inside.
    pub(super) async fn kubeconfig(self, machine: &Machine, url: &str) -> Result<Vec<u8>, String> {
        let Self { ca, client, token, tls_server_name } = self;
        let mut cluster = json!({ "server": url });
        cluster["certificate-authority-data"] = pem(machine, ca, "CERTIFICATE").await?;
        if let Some(name) = tls_server_name {
            cluster["tls-server-name"] = name.into();
        }
        let mut user = json!({});
        if let Some((certificate, key)) = client {
            user["client-certificate-data"] = pem(machine, certificate, "CERTIFICATE").await?;
            user["client-key-data"] = pem(machine, key, "PRIVATE KEY").await?;
        }
        if let Some(token) = token {
            user["token"] = token.into();
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "cluster", "cluster": cluster }],
            "users": [{ "name": "admin", "user": user }],
            "contexts": [{ "name": "admin@cluster", "context": { "cluster": "cluster", "user": "admin" } }],
            "current-context": "admin@cluster",
        });
        serde_json::to_vec_pretty(&config).map_err(|error| error.to_string())
    }
}

/// The content of an entry of a list, by its name.
fn named(config: &Value, list: &str, entry: &str, name: &str) -> Result<Map<String, Value>, String> {
    let entries = config[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = entries.iter().find(|item| item["name"] == name);
    let found = found.and_then(|item| item[entry].as_object()).cloned();
    found.ok_or_else(|| format!("its current context refers to a {entry} that is not in {list}"))
}

fn text_of(value: &Value, field: &str) -> Result<String, String> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| format!("it has no {field}"))
}

fn optional(entry: &Map<String, Value>, field: &str) -> Result<Option<String>, String> {
    match entry.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{field}: not text")),
    }
}

/// Refuses every field that is not on the list: what a later version of kubectl understands may be harmful too.
fn refuse(entry: &str, fields: &Map<String, Value>, allowed: &[&str]) -> Result<(), String> {
    for (field, value) in fields {
        let stem = field.strip_suffix("-data").unwrap_or(field);
        let off = matches!(value, Value::Null | Value::Bool(false));
        if IGNORED.contains(&field.as_str()) || off {
            continue;
        }
        if !allowed.contains(&stem) || stem == "insecure-skip-tls-verify" {
            let name: String = field.chars().filter(|letter| !letter.is_control()).take(64).collect();
            return Err(format!("{entry}.{name} is not accepted from a machine: {}", harm(field)));
        }
    }
    Ok(())
}

/// What a field would do here.
fn harm(field: &str) -> &'static str {
    match field {
        "exec" | "auth-provider" => "it would run a command on this computer",
        "tokenFile" => "it would read a file of this computer",
        "insecure-skip-tls-verify" => "anyone could answer in the API server's place",
        "proxy-url" => "it would send every request through another server",
        "username" | "password" => "Kubernetes has no basic authentication since 1.19",
        "as" | "as-uid" | "as-groups" | "as-user-extra" => "it would act as another user",
        _ => "Lifeboat does not know this field",
    }
}

fn material(dir: &Path, entry: &Map<String, Value>, field: &str) -> Result<Option<Material>, String> {
    // kubectl prefers the data.
    if let Some(data) = optional(entry, &format!("{field}-data"))? {
        let data: String = data.split_ascii_whitespace().collect();
        let data = STANDARD.decode(data).map_err(|_| format!("{field}-data: not base64"))?;
        return Ok(Some(Material::Data(data)));
    }
    Ok(optional(entry, field)?.map(|path| Material::File(dir.join(path))))
}

/// PEM with a block of this kind, in base64.
async fn pem(machine: &Machine, material: Material, kind: &str) -> Result<Value, String> {
    let bytes = match material {
        Material::Data(bytes) => bytes,
        Material::File(path) => machine.read(&path).await.map_err(|error| error.to_string())?,
    };
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains("-----BEGIN ") || !text.contains(&format!("{kind}-----")) {
        return Err(format!("not a {} in PEM", kind.to_lowercase()));
    }
    Ok(STANDARD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";

    fn with(cluster: &str, user: &str) -> Result<Credentials, String> {
        let text = format!(
            "kind: Config\ncurrent-context: c\ncontexts:\n- {{name: c, context: {{cluster: k, user: u}}}}\n\
             clusters:\n- {{name: other, cluster: {{proxy-url: 'http://x'}}}}\n- {{name: k, cluster: {{{cluster}}}}}\n\
             users:\n- {{name: u, user: {{{user}}}}}\n"
        );
        parse(Path::new("/etc/kubernetes/admin.conf"), text.as_bytes())
    }

    fn why(cluster: &str, user: &str) -> String {
        with(cluster, user).err().expect("it must be refused")
    }

    #[test]
    fn what_acts_on_this_computer_is_refused_by_name() {
        let ca = format!("certificate-authority-data: {CA}, server: 'https://evil:6443'");
        for (user, field) in [
            (
                "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/pwned]}",
                "user.exec",
            ),
            ("auth-provider: {name: gcp, config: {cmd-path: touch}}", "user.auth-provider"),
            ("tokenFile: /root/.ssh/id_ed25519", "user.tokenFile"),
            ("token: a, as: system:admin", "user.as"),
            ("username: a, password: b", "user."),
            ("token: a, later-invention: {a: b}", "user.later-invention"),
        ] {
            let why = why(&ca, user);
            assert!(why.contains(field) && why.contains("is not accepted from a machine"), "{user}: {why}");
        }
        for (cluster, field) in [
            ("insecure-skip-tls-verify: true", "cluster.insecure-skip-tls-verify"),
            ("proxy-url: 'socks5://evil:1080'", "cluster.proxy-url"),
        ] {
            let why = why(&format!("{ca}, {cluster}"), "token: a");
            assert!(why.contains(field), "{cluster}: {why}");
        }
        assert!(why("server: 'https://a'", "token: a").contains("no certificate-authority"));
        assert!(why(&ca, "token: \"a\\nb\"").contains("not a token"));
        assert!(why(&ca, "client-certificate: a").contains("set together"));
        assert!(why(&ca, "").contains("neither"));
    }

    #[test]
    fn certificates_are_taken_by_value_or_by_their_path_on_the_machine() {
        let found = with(
            "certificate-authority: pki/ca.crt, insecure-skip-tls-verify: false, server: 'https://a'",
            "client-certificate: /var/lib/kubelet/pki/c.pem, client-key-data: a2V5",
        );
        let found = found.unwrap_or_else(|why| panic!("{why}"));
        assert!(found.ca == Material::File("/etc/kubernetes/pki/ca.crt".into()));
        let client = (Material::File("/var/lib/kubelet/pki/c.pem".into()), Material::Data(b"key".to_vec()));
        assert!(found.client == Some(client));
    }
}
