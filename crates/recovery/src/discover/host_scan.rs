//! What one machine runs, as its `/proc` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::host::{Command, Host, HostError};
use crate::inventory::{is_machine_id, is_name, is_unit};
use crate::static_pod::{self, Manifest};

/// Largest file that is read: certificates, keys, configuration.
const FILE_LIMIT: &str = "1048576";

/// Where kubeadm keeps manifests.
const USUAL_MANIFEST_DIR: &str = "/etc/kubernetes/manifests";

/// A machine that was scanned.
pub(super) struct Machine {
    /// What was given to `ssh`.
    pub(super) destination: String,
    pub(super) host: Arc<dyn Host>,
    pub(super) scan: HostScan,
    /// Of its kubelet's static pods.
    pub(super) manifests: Vec<Manifest>,
}

/// Result of a scan.
#[derive(Debug, Default, PartialEq)]
pub(super) struct HostScan {
    pub(super) hostname: String,
    pub(super) machine_id: Option<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) processes: Vec<Process>,
    pub(super) kubeconfigs: Vec<PathBuf>,
    /// Unit files of the control plane, whether they run or not.
    pub(super) units: BTreeSet<String>,
    /// Services outside the control plane that it provides, such as `nfs`.
    pub(super) roles: BTreeSet<String>,
}

/// A process of the control plane, or a kubelet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) directory: PathBuf,
    /// The systemd unit it runs in.
    pub(super) unit: Option<String>,
    /// Whether the kubelet runs it.
    pub(super) in_pod: bool,
}

impl Process {
    /// The value of a flag.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        crate::etcd_settings::flag(&self.arguments, name)
    }
}

impl Machine {
    /// Scans a machine.
    pub(super) async fn scan(destination: &str, host: Arc<dyn Host>) -> Result<Self, HostError> {
        let command = Command::script(include_str!("host_scan.sh"), [""; 0]).within(Duration::from_secs(20));
        let scan = parse(&host.run_ok(&command).await?.text());
        let mut machine = Self { destination: destination.into(), host, scan, manifests: Vec::new() };
        if machine.running("kubelet").next().is_some() {
            machine.manifests = machine.read_manifests().await;
        }
        Ok(machine)
    }

    /// Its processes of one program.
    pub(super) fn running<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a Process> {
        self.scan.processes.iter().filter(move |process| process.program == program)
    }

    pub(super) fn has_address(&self, address: &str) -> bool {
        address.parse().is_ok_and(|ip| self.scan.addresses.contains(&ip)) || address == self.scan.hostname
    }

    /// Where on the machine a file lies that a process knows by a path of its own.
    pub(super) fn path_of(&self, process: &Process, path: &str) -> PathBuf {
        let path = process.directory.join(path);
        match self.manifest_of(process) {
            Some(manifest) => manifest.on_host(&path),
            None => path,
        }
    }

    /// The manifest a process comes from, if the kubelet runs it.
    pub(super) fn manifest_of(&self, process: &Process) -> Option<&Manifest> {
        self.manifest_for(&process.program).filter(|_| process.in_pod)
    }

    /// The manifest that runs a program, whether it runs now or not.
    pub(super) fn manifest_for(&self, program: &str) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.programs.iter().any(|name| name == program))
    }

    /// The content of a file. It may be a secret.
    pub(super) async fn read(&self, path: &Path) -> Result<Vec<u8>, HostError> {
        let path = path.display().to_string();
        let command = Command::new(["head", "-c", FILE_LIMIT, "--", path.as_str()]);
        Ok(self.host.run_ok(&command).await?.stdout)
    }

    /// The manifests of its kubelet.
    async fn read_manifests(&self) -> Vec<Manifest> {
        let dir = self.manifest_dir().await;
        let list = r#"for file in "$1"/*.yaml "$1"/*.yml "$1"/*.json; do if [ -f "$file" ]; then echo "$file"; fi; done"#;
        let list = Command::script(list, [dir.display().to_string()]);
        let Ok(files) = self.host.run_ok(&list).await else { return Vec::new() };
        let mut manifests = Vec::new();
        for path in files.text().lines().map(PathBuf::from) {
            if let Ok(text) = self.read(&path).await {
                manifests.extend(static_pod::parse(path, &text));
            }
        }
        manifests
    }

    async fn manifest_dir(&self) -> PathBuf {
        let Some(kubelet) = self.running("kubelet").next() else { return USUAL_MANIFEST_DIR.into() };
        if let Some(dir) = kubelet.flag("pod-manifest-path") {
            return dir.into();
        }
        let Some(config) = kubelet.flag("config") else { return USUAL_MANIFEST_DIR.into() };
        let text = self.read(&kubelet.directory.join(config)).await.unwrap_or_default();
        let config: Value = serde_saphyr::from_slice(&text).unwrap_or_default();
        config["staticPodPath"].as_str().unwrap_or(USUAL_MANIFEST_DIR).into()
    }
}

/// Takes well-formed values and ignores the rest: the machine's answer is untrusted.
fn parse(text: &str) -> HostScan {
    let mut scan = HostScan::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        let process = scan.processes.last_mut();
        match (key, process) {
            ("hostname", _) if is_name(value) => scan.hostname = value.into(),
            ("machine-id", _) if is_machine_id(value) => scan.machine_id = Some(value.into()),
            ("address", _) => scan.addresses.extend(value.parse::<IpAddr>().ok()),
            ("unit", _) if is_unit(value) => drop(scan.units.insert(value.into())),
            ("role", _) if is_name(value) => drop(scan.roles.insert(value.into())),
            ("kubeconfig", _) => scan.kubeconfigs.push(value.into()),
            ("process", _) => scan.processes.push(Process::default()),
            ("argument", Some(process)) => process.arguments.push(value.into()),
            ("directory", Some(process)) => process.directory = value.into(),
            ("variable", Some(process)) => {
                if let Some((name, value)) = value.split_once('=') {
                    process.variables.insert(name.into(), value.into());
                }
            }
            ("cgroup", Some(process)) => {
                process.in_pod |= value.contains("kubepods");
                let unit = value.rsplit('/').find(|part| is_unit(part));
                process.unit = unit.map(str::to_owned).or(process.unit.take());
            }
            _ => {}
        }
    }
    for process in &mut scan.processes {
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        process.program = process.arguments.first().map(name).unwrap_or_default();
        if process.program == "hyperkube" {
            process.program = process.arguments.get(1).map(name).unwrap_or_default();
        }
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
hostname m2
machine-id 5d3f1c0a9b7e4d2f8a6c1e0b3d5f7a91
address 10.123.0.232
address fd00::2
process 77
argument /usr/local/bin/etcd
argument --name=one
argument --name
argument etcd-232
argument -data-dir=/var/lib/etcd
variable ETCD_CERT_FILE=/etc/etcd/a=b.pem
cgroup /lab/m2/system.slice/etcd.service
cgroup /lab/m2/init.scope
directory /
process 80
argument kube-apiserver
argument --secure-port=6443
cgroup /kubepods/burstable/pod1/2
cgroup /system.slice/kubelet.service
directory /
kubeconfig /etc/kubernetes/admin.conf
";

    #[test]
    fn a_look_is_understood() {
        let scan = parse(TEXT);
        assert_eq!((scan.hostname.as_str(), scan.addresses.len()), ("m2", 2));
        assert_eq!(scan.kubeconfigs, [Path::new("/etc/kubernetes/admin.conf")]);
        let [etcd, apiserver] = scan.processes.as_slice() else { panic!("{scan:?}") };
        assert_eq!((etcd.program.as_str(), etcd.unit.as_deref()), ("etcd", Some("etcd.service")));
        assert_eq!((etcd.flag("name"), etcd.flag("data-dir")), (Some("etcd-232"), Some("/var/lib/etcd")));
        assert_eq!((etcd.flag("nam"), etcd.flag("data")), (None, None));
        assert_eq!(etcd.variables["ETCD_CERT_FILE"], "/etc/etcd/a=b.pem");
        assert!(apiserver.in_pod && !etcd.in_pod);
    }

    #[test]
    fn what_is_not_of_its_form_is_passed_over() {
        let scan = parse(
            "hostname \u{1b}]52;c;aWQ=\u{7}\nmachine-id ../../x\naddress -oProxyCommand=id\nunit a b.service\n\
             role \u{202e}sfn\nprocess 1\nargument etcd\ncgroup /a/-x.service\n",
        );
        let process =
            Process { program: "etcd".into(), arguments: vec!["etcd".into()], ..Process::default() };
        assert_eq!(scan, HostScan { processes: vec![process], ..HostScan::default() });
    }
}
