//! Static Pods, shaped like those kubeadm writes (`cmd/kubeadm/app/phases/controlplane`, `phases/etcd`).

use super::flags::Program;

/// A directory of the host, mounted in the Pod at the same path.
pub(super) struct Mount {
    pub name: &'static str,
    pub path: &'static str,
    pub read_only: bool,
}

/// The endpoint of the program's startup and liveness probes.
pub(super) struct Probe {
    pub scheme: &'static str,
    pub host: String,
    pub port: u16,
    pub path: &'static str,
}

/// A program of the control plane as a Pod.
pub(super) struct StaticPod {
    pub image: String,
    pub program: Program,
    pub mounts: Vec<Mount>,
    pub probe: Probe,
}

impl StaticPod {
    /// The manifest.
    pub fn yaml(&self) -> String {
        let (name, image) = (self.program.name, &self.image);
        let mut yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    component: {name}\n    tier: control-plane\n  \
             name: {name}\n  namespace: kube-system\nspec:\n  containers:\n  - command:\n    - /{name}\n"
        );
        for flag in &self.program.flags {
            yaml.push_str(&format!("    - {flag}\n"));
        }
        yaml.push_str(&format!(
            "    image: {image}\n    imagePullPolicy: Never\n    name: {name}\n{}{}",
            self.probe("livenessProbe", "initialDelaySeconds: 10\n      periodSeconds: 10", 8),
            self.probe("startupProbe", "initialDelaySeconds: 1\n      periodSeconds: 2", 60),
        ));
        yaml.push_str("    volumeMounts:\n");
        for mount in &self.mounts {
            yaml.push_str(&format!(
                "    - mountPath: {}\n      name: {}\n      readOnly: {}\n",
                mount.path, mount.name, mount.read_only
            ));
        }
        yaml.push_str(
            "  hostNetwork: true\n  priority: 2000001000\n  priorityClassName: system-node-critical\n  volumes:\n",
        );
        for mount in &self.mounts {
            let kind = if mount.path.ends_with(".conf") { "FileOrCreate" } else { "DirectoryOrCreate" };
            yaml.push_str(&format!(
                "  - hostPath:\n      path: {}\n      type: {kind}\n    name: {}\n",
                mount.path, mount.name
            ));
        }
        yaml
    }

    fn probe(&self, kind: &str, timing: &str, failures: u32) -> String {
        let Probe { scheme, host, port, path } = &self.probe;
        format!(
            "    {kind}:\n      failureThreshold: {failures}\n      httpGet:\n        host: {host}\n        \
             path: {path}\n        port: {port}\n        scheme: {scheme}\n      {timing}\n      timeoutSeconds: 15\n"
        )
    }
}
