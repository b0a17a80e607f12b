//! The cluster's keys, certificates and kubeconfigs, made once and kept in the lab's state directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;

use crate::authority::{Authority, Pair, Subject};
use crate::machines::topology::{API_SERVICE, Blueprint, Layout, MachineSpec, Role};

const CA: &str = "kubernetes-ca";

/// The directory with `<name>.crt` and `<name>.key` of each.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Creates them, unless they exist.
    pub fn make(dir: PathBuf, blueprint: &Blueprint) -> Result<Self> {
        if !dir.exists() {
            let new = dir.with_extension("new");
            if new.exists() {
                fs::remove_dir_all(&new)?;
            }
            fs::create_dir_all(&new)?;
            issue_all(&Self { dir: new.clone() }, blueprint).context("issue the cluster's certificates")?;
            fs::rename(new, &dir)?;
        }
        Ok(Self { dir })
    }

    /// Opens those created before.
    pub fn open(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// A certificate, PEM.
    pub fn cert(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.file(name, "crt"))?)
    }

    /// A private key, PEM.
    pub fn key(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.file(name, "key"))?)
    }

    /// `<name>.crt`, `<name>.key` or `<name>.kubeconfig`.
    pub fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    /// A kubeconfig for the user with this certificate.
    pub fn kubeconfig(&self, server: &str, user: &str) -> Result<String> {
        let encode = |text: String| STANDARD.encode(text);
        Ok(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {}\nusers:\n- name: {user}\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\ncontexts:\n- name: lab\n  context:\n    cluster: lab\n    user: {user}\n\
             current-context: lab\n",
            encode(self.cert("ca")?),
            encode(self.cert(user)?),
            encode(self.key(user)?)
        ))
    }

    /// An expired certificate for an apiserver, and its key, PEM.
    pub fn expired_apiserver(&self, machine: &MachineSpec) -> Result<(String, String)> {
        let authority = Authority::read(CA, &self.file("ca", "crt"), &self.file("ca", "key"))?;
        let names = apiserver_names(machine);
        let subject = Subject { expired: true, ..Subject::server("kube-apiserver", &names) };
        let pair = authority.issue(&subject)?;
        Ok((pair.cert, pair.key))
    }

    fn keep(&self, name: &str, pair: &Pair) -> Result<()> {
        pair.write(&self.file(name, "crt"), &self.file(name, "key"))
    }
}

fn issue_all(pki: &Pki, blueprint: &Blueprint) -> Result<()> {
    let ca = Authority::new(CA)?;
    // kubeasz has one CA for everything; kubeadm has three.
    let own = |name: &str| match blueprint.layout {
        Layout::Systemd => Authority::read(CA, &pki.file("ca", "crt"), &pki.file("ca", "key")),
        Layout::StaticPods => Authority::new(name),
    };
    pki.keep("ca", ca.pair())?;
    let etcd_ca = own("etcd-ca")?;
    pki.keep("etcd-ca", etcd_ca.pair())?;
    let proxy_ca = own("front-proxy-ca")?;
    pki.keep("front-proxy-ca", proxy_ca.pair())?;
    pki.keep("sa", &service_account_key()?)?;

    let keep = |name: &str, authority: &Authority, subject: &Subject<'_>| {
        pki.keep(name, &authority.issue(subject)?).with_context(|| format!("issue {name}"))
    };
    let masters = "system:masters";
    keep("admin", &ca, &Subject::client("kubernetes-admin").of(masters))?;
    keep("kubelet-client", &ca, &Subject::client("kube-apiserver-kubelet-client").of(masters))?;
    for user in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        keep(user, &ca, &Subject::client(&format!("system:{user}")))?;
    }
    keep("front-proxy-client", &proxy_ca, &Subject::client("front-proxy-client"))?;
    for name in ["apiserver-etcd-client", "etcd-client"] {
        keep(name, &etcd_ca, &Subject::client(name).of(masters))?;
    }
    for machine in &blueprint.machines {
        let name = &machine.name;
        let names = ["127.0.0.1".into(), "localhost".into(), machine.ip.to_string(), name.clone()];
        if machine.is(Role::Etcd) {
            keep(&format!("etcd-{name}"), &etcd_ca, &Subject::server(name, &names))?;
        }
        if machine.is(Role::Master) {
            let subject = apiserver_names(machine);
            keep(&format!("apiserver-{name}"), &ca, &Subject::server("kube-apiserver", &subject))?;
        }
        if blueprint.runs_kubelet(machine) {
            let user = format!("system:node:{name}");
            keep(&format!("kubelet-{name}"), &ca, &Subject::server(&user, &names).of("system:nodes"))?;
        }
    }
    let first = blueprint.with_role(Role::Master).next().context("the cluster has no master")?;
    let admin = pki.kubeconfig(&Blueprint::api_url(first), "admin")?;
    write_secret(&pki.file("admin", "kubeconfig"), &admin)
}

/// The key pair that signs service account tokens; the public key takes the place of a certificate.
fn service_account_key() -> Result<Pair> {
    let key = rcgen::KeyPair::generate().context("make the service account key")?;
    Ok(Pair { cert: key.public_key_pem(), key: key.serialize_pem() })
}

fn apiserver_names(machine: &MachineSpec) -> Vec<String> {
    let service = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let own = ["127.0.0.1".into(), "localhost".into(), machine.ip.to_string(), machine.name.clone()];
    own.into_iter().chain([API_SERVICE.into()]).chain(service.map(String::from)).collect()
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;

    use fs_err::os::unix::fs::OpenOptionsExt;

    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
