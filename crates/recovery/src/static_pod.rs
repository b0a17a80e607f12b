//! Static pods: which manifest runs a program, and where its paths are on the machine.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A manifest in a kubelet's static pod directory.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) path: PathBuf,
    /// What its containers run.
    pub(crate) programs: Vec<String>,
    /// Command and arguments of each container.
    commands: Vec<Vec<String>>,
    /// Paths inside and outside of its containers.
    mounts: Vec<(PathBuf, PathBuf)>,
}

impl Manifest {
    /// The command line of the container that runs a program.
    pub(crate) fn command_of(&self, program: &str) -> Option<&[String]> {
        let runs =
            |command: &&Vec<String>| command.iter().any(|word| word.rsplit('/').next() == Some(program));
        self.commands.iter().find(runs).map(Vec::as_slice)
    }

    /// A path inside a container, on the machine; none where nothing of the machine is mounted there.
    pub(crate) fn mounted(&self, path: &Path) -> Option<PathBuf> {
        self.mounts.iter().any(|(inside, _)| path.starts_with(inside)).then(|| self.on_host(path))
    }

    /// A path inside a container, on the machine.
    pub(crate) fn on_host(&self, path: &Path) -> PathBuf {
        let inside = self
            .mounts
            .iter()
            .filter_map(|(inside, outside)| Some((path.strip_prefix(inside).ok()?, outside)));
        // The longest mount, which leaves the shortest rest.
        let nearest = inside.min_by_key(|(rest, _)| rest.components().count());
        match nearest {
            Some((rest, outside)) if rest.as_os_str().is_empty() => outside.clone(),
            Some((rest, outside)) => outside.join(rest),
            None => path.into(),
        }
    }
}

/// Reads a manifest.
pub(crate) fn parse(path: PathBuf, text: &[u8]) -> Option<Manifest> {
    let pod: Value = serde_saphyr::from_slice(text).ok()?;
    let mut manifest = Manifest { path, ..Manifest::default() };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for container in list(&pod["spec"]["containers"]) {
        let words = list(&container["command"]).into_iter().chain(list(&container["args"]));
        let names = words.filter_map(|word| {
            let word = word.as_str().filter(|word| !word.starts_with('-'))?;
            word.rsplit('/').next().map(str::to_owned)
        });
        manifest.programs.extend(names);
        let words = list(&container["command"]).into_iter().chain(list(&container["args"]));
        manifest.commands.push(words.filter_map(|word| word.as_str().map(str::to_owned)).collect());
        for mount in list(&container["volumeMounts"]) {
            let volumes = list(&pod["spec"]["volumes"]);
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
            let outside = volume.and_then(|volume| volume["hostPath"]["path"].as_str());
            if let (Some(inside), Some(outside)) = (mount["mountPath"].as_str(), outside) {
                manifest.mounts.push((inside.into(), outside.into()));
            }
        }
    }
    Some(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_are_found_outside() {
        let pod = b"
kind: Pod
spec:
  containers:
  - command: [etcd, --data-dir=/data/etcd]
    volumeMounts:
    - {mountPath: /data, name: data}
    - {mountPath: /data/etcd/pki, name: certs}
  volumes:
  - {name: data, hostPath: {path: /srv}}
  - {name: certs, hostPath: {path: /etc/kubernetes/pki/etcd}}
";
        let manifest = parse("/m/etcd.yaml".into(), pod).unwrap();
        assert_eq!(manifest.programs, ["etcd"]);
        assert_eq!(manifest.on_host(Path::new("/data/etcd")), Path::new("/srv/etcd"));
        assert_eq!(manifest.on_host(Path::new("/data")), Path::new("/srv"));
        assert_eq!(
            manifest.on_host(Path::new("/data/etcd/pki/ca.crt")),
            Path::new("/etc/kubernetes/pki/etcd/ca.crt")
        );
        assert_eq!(manifest.on_host(Path::new("/other")), Path::new("/other"));
    }
}
