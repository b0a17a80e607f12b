//! How kubelets connect to the API, asked on the machines of nodes that are not Ready: why the API does not hear of a
//! kubelet that is well shows only there.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::facts::{Fact, KubeletApi, Node};
use crate::host::Command;
use crate::inventory::Inventory;

use super::access::Access;
use super::reach::understand;
use super::{Hosts, kubernetes};
use crate::error_text;

const SCRIPT: &str = concat!(include_str!("reach.sh"), include_str!("kubelet.sh"));
const LIMIT: Duration = Duration::from_secs(6);
/// A kubelet renews its lease every 10 s.
const LEASE: SignedDuration = SignedDuration::from_secs(40);

/// Asks the machines of nodes that are not Ready, or whose kubelet has not renewed its lease.
pub(super) async fn collect(
    inventory: &Inventory,
    access: &Access,
    hosts: &Hosts<'_>,
    nodes: &Fact<Vec<Node>>,
) -> BTreeMap<String, Fact<KubeletApi>> {
    let Some(nodes) = nodes.get() else { return BTreeMap::new() };
    let asked = inventory.kubernetes.nodes.iter().map(|(host, spec)| async move {
        let name = spec.name.as_deref().unwrap_or(host);
        if nodes.iter().find(|node| node.name == name).is_some_and(is_well) {
            return None;
        }
        // A machine that cannot be asked is a finding of its own.
        hosts.trusted(inventory, host).await.ok()?;
        let source = format!("ssh {host}: kubelet's kubeconfig");
        let fact = match one(access, host, &spec.kubelet).await {
            Ok(api) => Fact::value(source, api),
            Err(why) => Fact::unknown(source, why),
        };
        Some((host.clone(), fact))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn is_well(node: &Node) -> bool {
    let renewed = node.lease_renewed_at;
    node.ready == "True" && renewed.is_some_and(|at| Timestamp::now().duration_since(at) < LEASE)
}

async fn one(access: &Access, name: &str, unit: &str) -> Result<KubeletApi, String> {
    let host = access.hosts.get(name).ok_or_else(|| format!("no access to {name}"))?;
    let output = host.run(&Command::script(SCRIPT, [unit]).within(LIMIT)).await;
    read(&output.map_err(|error| error_text::of(&error))?.text())
}

fn read(said: &str) -> Result<KubeletApi, String> {
    let value = |key: &str| {
        said.lines().filter_map(|line| line.split_once('\t')).find(|(name, _)| *name == key).map(|(_, v)| v)
    };
    let server = value("server").filter(|server| !server.is_empty());
    let server = server.ok_or("no kubeconfig of the kubelet could be read")?;
    let reach = value("reach").and_then(understand);
    let reach = reach.ok_or("the machine has no bash, curl or BusyBox nc to connect with")?;
    let certificate = value("certificate").and_then(|text| {
        let der = STANDARD.decode(text.trim()).ok()?;
        kubernetes::certificate(&der).ok()
    });
    Ok(KubeletApi { server: error_text::one_line(server), reach, certificate })
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use crate::facts::Reach;
    use crate::host::{Host, LocalHost};

    #[test]
    fn what_a_machine_says_of_its_kubelet_is_understood() {
        let said = "server\thttps://127.0.0.1:6443\nreach\tConnection refused\ncertificate\t\n";
        let api = read(said).unwrap();
        assert_eq!(api.server, "https://127.0.0.1:6443");
        assert_eq!(api.reach, Reach::Failed("Connection refused".into()));
        assert_eq!(api.certificate, None);
        assert!(read("").is_err() && read("server\t\nreach\tconnected\n").is_err());
    }

    /// With a certificate in a file beside its key, and one within the kubeconfig.
    #[tokio::test]
    async fn the_kubeconfigs_server_and_certificate_are_read_and_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["n1".into()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        fs::write(dir.path().join("current.pem"), &pem).unwrap();
        let embedded = format!("    client-certificate-data: {}\n", STANDARD.encode(&pem));
        for user in ["    client-certificate: current.pem\n", &embedded] {
            let config = dir.path().join("kubelet.conf");
            let text = format!(
                "clusters:\n- cluster:\n    server: https://127.0.0.1:1\n  name: a\nusers:\n- user:\n{user}"
            );
            fs::write(&config, text).unwrap();
            let script = SCRIPT.replace("/etc/kubernetes/kubelet.conf", config.to_str().unwrap());
            let command = Command::script(&script, ["no-such.service"]);
            let said = LocalHost::new("here").run_ok(&command).await.unwrap().text();
            assert!(!said.contains("PRIVATE"), "{said}");
            let api = read(&said).unwrap();
            assert_eq!(api.server, "https://127.0.0.1:1");
            assert_eq!(api.reach, Reach::Failed("Connection refused".into()));
            assert!(api.certificate.is_some(), "{said}");
        }
    }
}
