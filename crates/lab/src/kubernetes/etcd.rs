//! An etcd member: a unit with kubeasz's paths, or a static Pod with kubeadm's.

use anyhow::Result;

use super::flags::{Program, flags};
use super::manifest::{Mount, Probe, StaticPod};
use super::pki::Pki;
use crate::machines::guest::Guest;
use crate::machines::image;
use crate::machines::topology::{Blueprint, Layout, MachineSpec};

/// A member's data dir, in both layouts.
pub(crate) const DATA_DIR: &str = "/var/lib/etcd";
/// Small enough for tests to fill.
const QUOTA_BYTES: &str = "268435456";

/// Paths of its certificates and keys.
struct Files {
    ca: &'static str,
    /// For clients.
    cert: &'static str,
    key: &'static str,
    /// For other members.
    peer_cert: &'static str,
    peer_key: &'static str,
}

const KUBEASZ: Files = Files {
    ca: "/etc/etcd/ssl/ca.pem",
    cert: "/etc/etcd/ssl/etcd.pem",
    key: "/etc/etcd/ssl/etcd-key.pem",
    peer_cert: "/etc/etcd/ssl/etcd.pem",
    peer_key: "/etc/etcd/ssl/etcd-key.pem",
};

const KUBEADM: Files = Files {
    ca: "/etc/kubernetes/pki/etcd/ca.crt",
    cert: "/etc/kubernetes/pki/etcd/server.crt",
    key: "/etc/kubernetes/pki/etcd/server.key",
    peer_cert: "/etc/kubernetes/pki/etcd/peer.crt",
    peer_key: "/etc/kubernetes/pki/etcd/peer.key",
};

/// Writes the member's files.
pub(super) fn install(blueprint: &Blueprint, machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    let files = match blueprint.layout {
        Layout::Systemd => &KUBEASZ,
        Layout::StaticPods => &KUBEADM,
    };
    let own = format!("etcd-{}", machine.name);
    guest.write(files.ca, pki.cert("etcd-ca")?)?;
    for (cert, key) in [(files.cert, files.key), (files.peer_cert, files.peer_key)] {
        guest.write(cert, pki.cert(&own)?)?;
        guest.secret(key, pki.key(&own)?)?;
    }
    let program = Program { name: "etcd", flags: member_flags(blueprint, machine, files) };
    match blueprint.layout {
        Layout::Systemd => {
            guest.create_dir(DATA_DIR)?;
            let service = format!("Type=notify\nWorkingDirectory={DATA_DIR}\nTimeoutStopSec=10\n");
            guest.unit("etcd.service", &program.unit(&service))
        }
        Layout::StaticPods => {
            guest.write("/etc/kubernetes/pki/etcd/healthcheck-client.crt", pki.cert("etcd-client")?)?;
            guest.secret("/etc/kubernetes/pki/etcd/healthcheck-client.key", pki.key("etcd-client")?)?;
            let pod = StaticPod {
                image: image::control_plane("etcd"),
                mounts: vec![
                    Mount { name: "etcd-data", path: DATA_DIR, read_only: false },
                    Mount { name: "etcd-certs", path: "/etc/kubernetes/pki/etcd", read_only: true },
                ],
                probe: Probe { scheme: "HTTP", host: "127.0.0.1".into(), port: 2381, path: "/readyz" },
                program,
            };
            guest.write("/etc/kubernetes/manifests/etcd.yaml", pod.yaml())
        }
    }
}

fn member_flags(blueprint: &Blueprint, machine: &MachineSpec, files: &Files) -> Vec<String> {
    let ip = machine.ip;
    let (peer, client) = (format!("https://{ip}:2380"), format!("https://{ip}:2379"));
    let listen = match blueprint.layout {
        Layout::Systemd => format!("{client},http://127.0.0.1:2379"),
        Layout::StaticPods => format!("https://127.0.0.1:2379,{client}"),
    };
    let mut list = flags(&[
        ("name", &machine.member_name(blueprint.layout)),
        ("data-dir", DATA_DIR),
        ("cert-file", files.cert),
        ("key-file", files.key),
        ("trusted-ca-file", files.ca),
        ("client-cert-auth", "true"),
        ("peer-cert-file", files.peer_cert),
        ("peer-key-file", files.peer_key),
        ("peer-trusted-ca-file", files.ca),
        ("peer-client-cert-auth", "true"),
        ("initial-advertise-peer-urls", &peer),
        ("listen-peer-urls", &peer),
        ("listen-client-urls", &listen),
        ("advertise-client-urls", &client),
        ("initial-cluster-token", "etcd-cluster-0"),
        ("initial-cluster", &blueprint.initial_cluster()),
        ("initial-cluster-state", "new"),
        ("snapshot-count", "10000"),
        ("quota-backend-bytes", QUOTA_BYTES),
    ]);
    list.extend(match blueprint.layout {
        Layout::Systemd => flags(&[("auto-compaction-mode", "periodic"), ("auto-compaction-retention", "1")]),
        Layout::StaticPods => flags(&[("listen-metrics-urls", "http://127.0.0.1:2381")]),
    });
    list
}
