//! The inventory of the lab's cluster, from how it was made.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;
use serde_json::{Map, Value, json};

use crate::cloud::{Credentials, Network};
use crate::machines::{Blueprint, Lab, Layout, MachineSpec, Role, WEB_PORT};

/// `lifeboat.yaml` for the running lab; it will be in `dir`, with `snapshots` beside it. The AccessKey is
/// written to files in `dir`.
pub fn inventory(lab: &Lab, dir: &Path) -> Result<String> {
    let blueprint = lab.blueprint();
    let l3_network = l3_network(lab)?;
    let (ca, cert, key) = lab.etcd_client_files();
    let text = json!({
        "version": 1,
        "cluster": "lab",
        "ssh": { "config": lab.ssh_config() },
        "hosts": blueprint.machines.iter().map(|m| (m.name.clone(), host(m, &l3_network))).collect::<Map<_, _>>(),
        "etcd": { "tls": { "ca": ca, "cert": cert, "key": key }, "members": members(blueprint) },
        "kubernetes": {
            "kubeconfig": lab.admin_kubeconfig(),
            "controlPlane": masters(blueprint),
            "nodes": nodes(blueprint),
        },
        "cloud": cloud(lab, dir, &l3_network)?,
        "snapshots": ["snapshots"],
        "checks": checks(blueprint),
    });
    // JSON is YAML too.
    Ok(serde_json::to_string_pretty(&text)? + "\n")
}

/// The cloud's id of the network that all machines are on.
fn l3_network(lab: &Lab) -> Result<String> {
    let state: Value = serde_json::from_slice(&fs::read(lab.cloud_dir().join("cloud-state.json"))?)?;
    Ok(state["l3Network"].as_str().context("the cloud's state has no L3 network")?.to_owned())
}

fn host(machine: &MachineSpec, l3_network: &str) -> Value {
    let nic = json!({ "l3Network": l3_network, "ip": machine.ip, "mac": machine.mac });
    let roles: &[&str] = if machine.is(Role::Nfs) { &["nfs"] } else { &[] };
    json!({
        "address": machine.ip,
        "ssh": machine.name,
        "machineId": machine.machine_id,
        "vm": { "uuid": machine.uuid, "nics": [nic] },
        "roles": roles,
    })
}

/// The service that runs a component in this layout.
fn service(layout: Layout, unit: &str) -> Value {
    match layout {
        Layout::Systemd => json!({ "unit": format!("{unit}.service") }),
        Layout::StaticPods => {
            json!({ "staticPod": { "manifest": format!("/etc/kubernetes/manifests/{unit}.yaml"), "process": unit } })
        }
    }
}

fn members(blueprint: &Blueprint) -> Map<String, Value> {
    let member = |machine: &MachineSpec| {
        let entry = json!({
            "host": machine.name,
            "clientUrl": format!("https://{}:2379", machine.ip),
            "peerUrl": format!("https://{}:2380", machine.ip),
            "dataDir": "/var/lib/etcd",
            "service": service(blueprint.layout, "etcd"),
        });
        (machine.member_name(blueprint.layout), entry)
    };
    blueprint.with_role(Role::Etcd).map(member).collect()
}

fn masters(blueprint: &Blueprint) -> Map<String, Value> {
    let certificate = match blueprint.layout {
        Layout::Systemd => "/etc/kubernetes/ssl/kubernetes.pem",
        Layout::StaticPods => "/etc/kubernetes/pki/apiserver.crt",
    };
    let master = |machine: &MachineSpec| {
        let entry = json!({
            "url": Blueprint::api_url(machine),
            "apiserver": service(blueprint.layout, "kube-apiserver"),
            "controllerManager": service(blueprint.layout, "kube-controller-manager"),
            "scheduler": service(blueprint.layout, "kube-scheduler"),
            "certificate": certificate,
        });
        (machine.name.clone(), entry)
    };
    blueprint.with_role(Role::Master).map(master).collect()
}

fn nodes(blueprint: &Blueprint) -> Map<String, Value> {
    let nodes = blueprint.machines.iter().filter(|machine| blueprint.is_kubernetes_node(machine));
    nodes.map(|machine| (machine.name.clone(), json!({}))).collect()
}

/// One check: the workload answers through its Service, on a node that loses its NIC.
fn checks(blueprint: &Blueprint) -> Value {
    match blueprint.with_role(Role::Node).next() {
        Some(node) => json!([{ "name": "web", "url": format!("http://{}:{WEB_PORT}/", node.ip) }]),
        None => json!([]),
    }
}

fn cloud(lab: &Lab, dir: &Path, l3_network: &str) -> Result<Value> {
    let credentials = Credentials::load_or_create(&lab.cloud_dir())?;
    let secret = |name: &str, text: &str| -> Result<Value> {
        let file = dir.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(json!({ "file": file }))
    };
    let network = Network::default();
    let range = |(name, start, end): &(String, Ipv4Addr, Ipv4Addr)| {
        json!({
            "l3Network": l3_network, "name": name, "startIp": start, "endIp": end,
            "netmask": network.netmask, "gateway": network.gateway,
        })
    };
    Ok(json!({ "zstack": {
        "endpoint": lab.cloud_endpoint(),
        "accessKeyId": secret("access-key-id", &credentials.access_key_id)?,
        "accessKeySecret": secret("access-key-secret", &credentials.access_key_secret)?,
        "ipRanges": network.ip_ranges.iter().map(range).collect::<Vec<_>>(),
    }}))
}
