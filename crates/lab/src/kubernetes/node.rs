//! A machine with containerd and kubelet, and on nodes kube-proxy with a local balancer in front of the apiservers.

use anyhow::Result;

use super::pki::Pki;
use crate::machines::binaries::BIN;
use crate::machines::guest::Guest;
use crate::machines::image::PAUSE;
use crate::machines::topology::{Blueprint, DNS_SERVICE, Layout, MachineSpec, POD_CIDR, Role};

const PREPARE: &str = include_str!("../../../../lab/guest/node-prepare.sh");
const CONTAINERD: &str = include_str!("../../../../lab/guest/containerd.toml");

/// Writes the machine's files.
pub(super) fn install(blueprint: &Blueprint, machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    runtime(machine, guest)?;
    kubelet(blueprint, machine, pki, guest)?;
    if machine.is(Role::Node) {
        kube_proxy(machine, pki, guest)?;
        balancer(blueprint, guest)?;
    }
    Ok(())
}

/// Installs the container runtime.
fn runtime(machine: &MachineSpec, guest: &Guest) -> Result<()> {
    guest.program("/usr/local/sbin/lab-node-prepare", PREPARE)?;
    guest.write("/etc/containerd/config.toml", CONTAINERD.replace("@PAUSE@", PAUSE))?;
    let pods = machine.pod_cidr();
    guest.write(
        "/etc/cni/net.d/10-lab.conflist",
        format!(
            r#"{{"cniVersion":"0.4.0","name":"lab","plugins":[
 {{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{{"type":"host-local","ranges":[[{{"subnet":"{pods}"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}},
 {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}
"#
        ),
    )?;
    guest.unit(
        "lab-node-prepare.service",
        "[Unit]\nDescription=cgroups and kernel settings for kubelet\n\
         Before=containerd.service kubelet.service kube-proxy.service\n\n[Service]\nType=oneshot\n\
         RemainAfterExit=yes\nExecStart=/usr/local/sbin/lab-node-prepare\n\n[Install]\nWantedBy=multi-user.target\n",
    )?;
    guest.packaged_unit("containerd.service")
}

fn kubelet(blueprint: &Blueprint, machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    let (dir, cert, key, kubeconfig) = match blueprint.layout {
        Layout::Systemd => {
            ("/etc/kubernetes/ssl", "kubelet.pem", "kubelet-key.pem", "/etc/kubernetes/kubelet.kubeconfig")
        }
        Layout::StaticPods => {
            ("/etc/kubernetes/pki", "kubelet.crt", "kubelet.key", "/etc/kubernetes/kubelet.conf")
        }
    };
    let ca = match blueprint.layout {
        Layout::Systemd => "/etc/kubernetes/ssl/ca.pem",
        Layout::StaticPods => "/etc/kubernetes/pki/ca.crt",
    };
    let own = format!("kubelet-{}", machine.name);
    guest.write(ca, pki.cert("ca")?)?;
    guest.write(&format!("{dir}/{cert}"), pki.cert(&own)?)?;
    guest.secret(&format!("{dir}/{key}"), pki.key(&own)?)?;
    guest.create_dir("/etc/kubernetes/manifests")?;

    let registered = blueprint.is_kubernetes_node(machine);
    let mut flags = format!(
        "--config=/etc/kubernetes/kubelet.yaml --hostname-override={} --node-ip={}",
        machine.name, machine.ip
    );
    if registered {
        flags.push_str(&format!(" --kubeconfig={kubeconfig}"));
        // A node uses its local balancer, a master its own apiserver.
        let api = if machine.is(Role::Node) {
            "https://127.0.0.1:6443".into()
        } else {
            Blueprint::api_url(machine)
        };
        guest.secret(kubeconfig, pki.kubeconfig(&api, &own)?)?;
    }
    guest.write(
        "/etc/kubernetes/kubelet.yaml",
        kubelet_config(machine, registered, ca, &format!("{dir}/{cert}"), &format!("{dir}/{key}")),
    )?;
    guest.unit(
        "kubelet.service",
        &format!(
            "[Unit]\nDescription=kubelet\nAfter=containerd.service lab-node-prepare.service\n\
             Requires=containerd.service\n\n[Service]\nExecStart={BIN}/kubelet {flags}\nRestart=always\nRestartSec=5\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        ),
    )
}

fn kubelet_config(machine: &MachineSpec, registered: bool, ca: &str, cert: &str, key: &str) -> String {
    // Without an apiserver, requests cannot be authorized: only root on the machine has access.
    let access = if registered {
        "authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: true\nauthorization:\n  mode: Webhook\n"
    } else {
        "address: 127.0.0.1\nauthentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: false\n\
         authorization:\n  mode: AlwaysAllow\n"
    };
    let access = access.replace(
        "    enabled: false\n  webhook",
        &format!("    enabled: false\n  x509:\n    clientCAFile: {ca}\n  webhook"),
    );
    let taint = if registered && machine.is(Role::Master) {
        "registerWithTaints:\n- key: node-role.kubernetes.io/control-plane\n  effect: NoSchedule\n"
    } else {
        ""
    };
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{access}tlsCertFile: {cert}\n\
         tlsPrivateKeyFile: {key}\ncgroupDriver: cgroupfs\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n\
         clusterDNS:\n- {DNS_SERVICE}\nclusterDomain: cluster.local\nfailSwapOn: false\nstaticPodPath: /etc/kubernetes/manifests\n\
         imageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99\nevictionHard:\n  memory.available: 100Mi\n  \
         nodefs.available: 200Mi\n  imagefs.available: 200Mi\n{taint}"
    )
}

fn kube_proxy(machine: &MachineSpec, pki: &Pki, guest: &Guest) -> Result<()> {
    guest.secret(
        "/etc/kubernetes/kube-proxy.kubeconfig",
        pki.kubeconfig("https://127.0.0.1:6443", "kube-proxy")?,
    )?;
    guest.write(
        "/etc/kubernetes/kube-proxy.yaml",
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclientConnection:\n  \
             kubeconfig: /etc/kubernetes/kube-proxy.kubeconfig\nmode: iptables\nclusterCIDR: {POD_CIDR}\n\
             hostnameOverride: {}\nconntrack:\n  maxPerCore: 0\n  min: 0\n  tcpEstablishedTimeout: 0s\n  \
             tcpCloseWaitTimeout: 0s\n",
            machine.name
        ),
    )?;
    guest.unit(
        "kube-proxy.service",
        &format!(
            "[Unit]\nDescription=kube-proxy\nAfter=network.target\n\n[Service]\n\
             ExecStart={BIN}/kube-proxy --config=/etc/kubernetes/kube-proxy.yaml\nRestart=always\nRestartSec=5\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        ),
    )
}

/// The local load balancer that kubelet and kube-proxy use, like kubeasz's kube-lb.
fn balancer(blueprint: &Blueprint, guest: &Guest) -> Result<()> {
    let mut text = String::from(
        "global\n  log /dev/log local0 warning\ndefaults\n  mode tcp\n  log global\n  timeout connect 2s\n  \
         timeout client 10m\n  timeout server 10m\nlisten apiserver\n  bind 127.0.0.1:6443\n  balance roundrobin\n  \
         default-server check inter 2s fall 2 rise 1 on-marked-down shutdown-sessions\n",
    );
    for master in blueprint.with_role(Role::Master) {
        text.push_str(&format!("  server {} {}:6443\n", master.name, master.ip));
    }
    guest.write("/etc/haproxy/haproxy.cfg", text)?;
    guest.packaged_unit("haproxy.service")
}
