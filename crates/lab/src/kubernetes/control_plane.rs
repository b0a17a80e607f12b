//! A master: kube-apiserver, kube-controller-manager and kube-scheduler, as units or static Pods.

use anyhow::Result;

use super::flags::{Program, flags};
use super::manifest::{Mount, Probe, StaticPod};
use super::pki::Pki;
use crate::machines::guest::Guest;
use crate::machines::image;
use crate::machines::topology::{Blueprint, Layout, MachineSpec, POD_CIDR, Role, SERVICE_CIDR};

/// Paths of keys, certificates and kubeconfigs.
struct Files {
    ca: &'static str,
    ca_key: &'static str,
    cert: &'static str,
    key: &'static str,
    kubelet_cert: &'static str,
    kubelet_key: &'static str,
    etcd_ca: &'static str,
    etcd_cert: &'static str,
    etcd_key: &'static str,
    proxy_ca: &'static str,
    proxy_cert: &'static str,
    proxy_key: &'static str,
    service_account: &'static str,
    service_account_key: &'static str,
    admin: &'static str,
    controller_manager: &'static str,
    scheduler: &'static str,
}

const KUBEASZ: Files = Files {
    ca: "/etc/kubernetes/ssl/ca.pem",
    ca_key: "/etc/kubernetes/ssl/ca-key.pem",
    cert: "/etc/kubernetes/ssl/kubernetes.pem",
    key: "/etc/kubernetes/ssl/kubernetes-key.pem",
    kubelet_cert: "/etc/kubernetes/ssl/kubelet-client.pem",
    kubelet_key: "/etc/kubernetes/ssl/kubelet-client-key.pem",
    etcd_ca: "/etc/kubernetes/ssl/ca.pem",
    etcd_cert: "/etc/kubernetes/ssl/etcd-client.pem",
    etcd_key: "/etc/kubernetes/ssl/etcd-client-key.pem",
    proxy_ca: "/etc/kubernetes/ssl/ca.pem",
    proxy_cert: "/etc/kubernetes/ssl/aggregator-proxy.pem",
    proxy_key: "/etc/kubernetes/ssl/aggregator-proxy-key.pem",
    service_account: "/etc/kubernetes/ssl/sa.pub",
    service_account_key: "/etc/kubernetes/ssl/sa.key",
    admin: "/etc/kubernetes/admin.kubeconfig",
    controller_manager: "/etc/kubernetes/kube-controller-manager.kubeconfig",
    scheduler: "/etc/kubernetes/kube-scheduler.kubeconfig",
};

const KUBEADM: Files = Files {
    ca: "/etc/kubernetes/pki/ca.crt",
    ca_key: "/etc/kubernetes/pki/ca.key",
    cert: "/etc/kubernetes/pki/apiserver.crt",
    key: "/etc/kubernetes/pki/apiserver.key",
    kubelet_cert: "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
    kubelet_key: "/etc/kubernetes/pki/apiserver-kubelet-client.key",
    etcd_ca: "/etc/kubernetes/pki/etcd/ca.crt",
    etcd_cert: "/etc/kubernetes/pki/apiserver-etcd-client.crt",
    etcd_key: "/etc/kubernetes/pki/apiserver-etcd-client.key",
    proxy_ca: "/etc/kubernetes/pki/front-proxy-ca.crt",
    proxy_cert: "/etc/kubernetes/pki/front-proxy-client.crt",
    proxy_key: "/etc/kubernetes/pki/front-proxy-client.key",
    service_account: "/etc/kubernetes/pki/sa.pub",
    service_account_key: "/etc/kubernetes/pki/sa.key",
    admin: "/etc/kubernetes/admin.conf",
    controller_manager: "/etc/kubernetes/controller-manager.conf",
    scheduler: "/etc/kubernetes/scheduler.conf",
};

fn files(layout: Layout) -> &'static Files {
    match layout {
        Layout::Systemd => &KUBEASZ,
        Layout::StaticPods => &KUBEADM,
    }
}

/// The paths of an apiserver's certificate and key.
pub(crate) fn apiserver_files(layout: Layout) -> (&'static str, &'static str) {
    (files(layout).cert, files(layout).key)
}

/// Writes the master's files.
pub(super) fn install(blueprint: &Blueprint, machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    let files = files(blueprint.layout);
    write_keys(machine, pki, files, guest)?;
    let api = match blueprint.layout {
        Layout::Systemd => "https://127.0.0.1:6443".into(),
        Layout::StaticPods => Blueprint::api_url(machine),
    };
    guest.secret(files.admin, pki.kubeconfig(&Blueprint::api_url(machine), "admin")?)?;
    guest.secret(files.controller_manager, pki.kubeconfig(&api, "kube-controller-manager")?)?;
    guest.secret(files.scheduler, pki.kubeconfig(&api, "kube-scheduler")?)?;

    let programs = [
        Program { name: "kube-apiserver", flags: apiserver(blueprint, machine, files) },
        Program { name: "kube-controller-manager", flags: controller_manager(files) },
        Program { name: "kube-scheduler", flags: scheduler(files) },
    ];
    for program in programs {
        match blueprint.layout {
            Layout::Systemd => {
                // By default, an apiserver waits a minute for its watches.
                guest.unit(&format!("{}.service", program.name), &program.unit("TimeoutStopSec=10\n"))?;
            }
            Layout::StaticPods => {
                let path = format!("/etc/kubernetes/manifests/{}.yaml", program.name);
                guest.write(&path, static_pod(program, machine, files).yaml())?;
            }
        }
    }
    Ok(())
}

fn write_keys(machine: &MachineSpec, pki: &Pki, files: &Files, guest: &Guest) -> Result<()> {
    let own = format!("apiserver-{}", machine.name);
    let pairs = [
        (files.ca, files.ca_key, "ca"),
        (files.cert, files.key, own.as_str()),
        (files.kubelet_cert, files.kubelet_key, "kubelet-client"),
        (files.etcd_cert, files.etcd_key, "apiserver-etcd-client"),
        (files.proxy_cert, files.proxy_key, "front-proxy-client"),
        (files.service_account, files.service_account_key, "sa"),
    ];
    for (cert, key, name) in pairs {
        guest.write(cert, pki.cert(name)?)?;
        guest.secret(key, pki.key(name)?)?;
    }
    guest.write(files.etcd_ca, pki.cert("etcd-ca")?)?;
    guest.write(files.proxy_ca, pki.cert("front-proxy-ca")?)
}

fn apiserver(blueprint: &Blueprint, machine: &MachineSpec, files: &Files) -> Vec<String> {
    let etcd = match blueprint.layout {
        // kubeadm's apiserver connects only to the member on its own machine.
        Layout::StaticPods if machine.is(Role::Etcd) => "https://127.0.0.1:2379".into(),
        _ => blueprint.etcd_endpoints().join(","),
    };
    let bind = [("bind-address", "0.0.0.0"), ("secure-port", "6443"), ("allow-privileged", "true")];
    let mut list = flags(&[("advertise-address", &machine.ip.to_string())]);
    list.extend(flags(&bind));
    list.extend(flags(&[
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("client-ca-file", files.ca),
        ("tls-cert-file", files.cert),
        ("tls-private-key-file", files.key),
        ("etcd-cafile", files.etcd_ca),
        ("etcd-certfile", files.etcd_cert),
        ("etcd-keyfile", files.etcd_key),
        ("etcd-servers", &etcd),
        ("kubelet-certificate-authority", files.ca),
        ("kubelet-client-certificate", files.kubelet_cert),
        ("kubelet-client-key", files.kubelet_key),
        ("kubelet-preferred-address-types", "InternalIP,Hostname"),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-account-signing-key-file", files.service_account_key),
        ("service-account-key-file", files.service_account),
        ("service-cluster-ip-range", SERVICE_CIDR),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-client-ca-file", files.proxy_ca),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("proxy-client-cert-file", files.proxy_cert),
        ("proxy-client-key-file", files.proxy_key),
        ("enable-aggregator-routing", "true"),
    ]));
    list
}

fn controller_manager(files: &Files) -> Vec<String> {
    flags(&[
        ("bind-address", "127.0.0.1"),
        ("kubeconfig", files.controller_manager),
        ("authentication-kubeconfig", files.controller_manager),
        ("authorization-kubeconfig", files.controller_manager),
        ("allocate-node-cidrs", "false"),
        ("cluster-cidr", POD_CIDR),
        ("service-cluster-ip-range", SERVICE_CIDR),
        ("cluster-name", "kubernetes"),
        ("cluster-signing-cert-file", files.ca),
        ("cluster-signing-key-file", files.ca_key),
        ("root-ca-file", files.ca),
        ("service-account-private-key-file", files.service_account_key),
        ("use-service-account-credentials", "true"),
        ("leader-elect", "true"),
    ])
}

fn scheduler(files: &Files) -> Vec<String> {
    flags(&[
        ("bind-address", "127.0.0.1"),
        ("kubeconfig", files.scheduler),
        ("authentication-kubeconfig", files.scheduler),
        ("authorization-kubeconfig", files.scheduler),
        ("leader-elect", "true"),
    ])
}

fn static_pod(program: Program, machine: &MachineSpec, files: &'static Files) -> StaticPod {
    let certs = Mount { name: "k8s-certs", path: "/etc/kubernetes/pki", read_only: true };
    let config = |path| Mount { name: "kubeconfig", path, read_only: true };
    let (mounts, host, port) = match program.name {
        "kube-apiserver" => (vec![certs], machine.ip.to_string(), 6443),
        "kube-controller-manager" => {
            (vec![certs, config(files.controller_manager)], "127.0.0.1".into(), 10257)
        }
        _ => (vec![config(files.scheduler)], "127.0.0.1".into(), 10259),
    };
    let path = if port == 10257 { "/healthz" } else { "/livez" };
    let probe = Probe { scheme: "HTTPS", host, port, path };
    StaticPod { image: image::control_plane(program.name), program, mounts, probe }
}
