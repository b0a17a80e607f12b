//! Reads `lifeboat.yaml` and reports all problems with their position.

use std::fmt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_saphyr::Location;

use crate::ownership::{OwnershipError, ensure_own, ensure_ssh_config};

use super::tree::{Node, Tree, locate};
use super::{Cloud, Inventory, SecretRef, schema, validate};

/// The version of inventories that is read.
const VERSION: u32 = 1;
/// The field of `kubernetes` that was called `masters`.
const CONTROL_PLANE: &str = "controlPlane";

/// The version field alone, for inventories of other versions.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// Why an inventory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// There is no such file.
    #[error(
        "no inventory at {}: set --inventory or LIFEBOAT_INVENTORY; while the cluster runs, `lifeboat init --from \
         MACHINE` writes one. Snapshots and data dirs are inspected and restored without one", .0.display()
    )]
    Missing(PathBuf),
    /// The file cannot be read; the error names it.
    #[error("{0}")]
    Unreadable(std::io::Error),
    /// Others can change it, or a file it names.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// It is invalid; one problem per line, with its position.
    #[error("{}", lines(file, problems))]
    Invalid {
        /// Path of the file.
        file: PathBuf,
        /// What is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// A problem in an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column, from 1; 0 when unknown.
    pub column: u64,
    /// Keys and indices on the way to it, such as `etcd.members.m1.host`; empty for the whole file.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem at a place in the file, or wherever the path leads.
    pub(super) fn at(location: Option<Location>, path: &[String], message: impl Into<String>) -> Self {
        let (line, column) = location.map_or((0, 0), |location| (location.line(), location.column()));
        Self { line, column, path: path.to_vec(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.message)
    }
}

fn lines(file: &Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem {
        Problem { line: 0, .. } => format!("{}: {problem}", file.display()),
        Problem { line, column, .. } => format!("{}:{line}:{column}: {problem}", file.display()),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// An inventory that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The inventory, with absolute paths.
    pub inventory: Inventory,
    /// What should be changed in it, with file and place.
    pub warnings: Vec<String>,
}

impl Inventory {
    /// Reads an inventory. Relative paths to files on this machine are resolved against the inventory's directory.
    ///
    /// # Errors
    /// It cannot be read, others can change it or a file it names, or it has problems: all that can be told at once.
    pub fn load(file: &Path) -> Result<Loaded, InventoryError> {
        ensure_own(file)?;
        let text = fs::read_to_string(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => InventoryError::Missing(file.to_owned()),
            _ => InventoryError::Unreadable(error),
        })?;
        let base = std::path::absolute(file).map_err(InventoryError::Unreadable)?;
        let base = base.parent().unwrap_or(Path::new("/"));
        let mut loaded = Self::parse(&text, base)
            .map_err(|problems| InventoryError::Invalid { file: file.to_owned(), problems })?;
        loaded.inventory.ensure_own_files()?;
        loaded.warnings.iter_mut().for_each(|warning| *warning = format!("{}:{warning}", file.display()));
        Ok(loaded)
    }

    /// Refuses files that decide where and as which user we log in, if others can change them.
    fn ensure_own_files(&self) -> Result<(), OwnershipError> {
        if let Some(config) = &self.ssh.config {
            ensure_ssh_config(config)?;
        }
        let mut files = vec![&self.kubernetes.kubeconfig];
        files.extend(self.etcd.tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]));
        if let Some(Cloud::Zstack(zstack)) = &self.cloud {
            files.extend(&zstack.ca);
            let secrets = [&zstack.access_key_id, &zstack.access_key_secret];
            files.extend(secrets.into_iter().filter_map(|secret| match secret {
                SecretRef::File(path) => Some(path),
                SecretRef::Env(_) => None,
            }));
        }
        files.into_iter().try_for_each(|file| ensure_own(file))
    }

    /// Parses an inventory; relative paths are resolved against `base`.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn parse(text: &str, base: &Path) -> Result<Loaded, Vec<Problem>> {
        let whole = |error: &serde_saphyr::Error| {
            let plain = error.without_snippet();
            // The position is reported separately.
            let message = plain.to_string();
            let message = message.lines().next().unwrap_or_default().to_owned();
            vec![Problem::at(plain.location(), &[], message)]
        };
        let mut root: Node = serde_saphyr::from_str(text).map_err(|error| whole(&error))?;
        // The fields of another version may have another meaning.
        if let Ok(Version { version }) = serde_saphyr::from_str(text)
            && version != VERSION
        {
            let message = format!("this Lifeboat reads version {VERSION}, not {version}");
            return Err(placed(&root, vec![Problem::at(None, &["version".to_owned()], message)]));
        }
        let renamed = rename_masters(&mut root).map_err(|problem| vec![problem])?;
        let mismatches = schema::mismatches(&root);
        if !mismatches.is_empty() {
            return Err(placed(&root, mismatches));
        }
        let mut inventory: Self = serde_saphyr::from_str(text).map_err(|error| whole(&error))?;
        let problems = validate::problems(&inventory);
        if !problems.is_empty() {
            return Err(placed(&root, problems));
        }
        inventory.local_paths().into_iter().for_each(|path| *path = base.join(&*path));
        let warnings =
            renamed.iter().map(|problem| format!("{}:{}: {problem}", problem.line, problem.column));
        Ok(Loaded { inventory, warnings: warnings.collect() })
    }

    /// The paths in it that are on the machine Lifeboat runs on.
    fn local_paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.kubernetes.kubeconfig];
        paths.extend(self.ssh.config.as_mut());
        if let Some(tls) = &mut self.etcd.tls {
            paths.extend([&mut tls.ca, &mut tls.cert, &mut tls.key]);
        }
        if let Some(Cloud::Zstack(zstack)) = &mut self.cloud {
            paths.extend(zstack.ca.as_mut());
            for secret in [&mut zstack.access_key_id, &mut zstack.access_key_secret] {
                if let SecretRef::File(path) = secret {
                    paths.push(path);
                }
            }
        }
        paths.extend(&mut self.snapshots);
        paths
    }
}

/// Gives `kubernetes.masters` its new name, `controlPlane`; a warning where it is there, an error where both are.
fn rename_masters(root: &mut Node) -> Result<Option<Problem>, Problem> {
    let Some(Tree::Map(fields)) = entry(&mut root.value, "kubernetes").map(|node| &mut node.value) else {
        return Ok(None);
    };
    let both = fields.iter().any(|(key, _)| key.value == CONTROL_PLANE);
    let Some((key, _)) = fields.iter_mut().find(|(key, _)| key.value == "masters") else { return Ok(None) };
    let path = ["kubernetes", "masters"].map(str::to_owned);
    let problem = |message: &str| Problem::at(Some(key.referenced), &path, message);
    if both {
        return Err(problem("controlPlane is set too; it replaces masters: remove masters"));
    }
    let warning = problem("deprecated field; rename it to controlPlane");
    key.value = CONTROL_PLANE.to_owned();
    Ok(Some(warning))
}

fn entry<'a>(tree: &'a mut Tree, name: &str) -> Option<&'a mut Node> {
    let Tree::Map(entries) = tree else { return None };
    entries.iter_mut().find(|(key, _)| key.value == name).map(|(_, value)| value)
}

/// Adds missing positions, and sorts by position.
fn placed(root: &Node, mut problems: Vec<Problem>) -> Vec<Problem> {
    for problem in problems.iter_mut().filter(|problem| problem.line == 0) {
        let location = locate(root, &problem.path);
        (problem.line, problem.column) = (location.line(), location.column());
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inventory of `docs/inventory.md`.
    const GOOD: &str = include_str!("../../../../docs/lifeboat.example.yaml");

    fn problems(text: &str) -> Vec<String> {
        let problems = Inventory::parse(text, Path::new("/base")).expect_err("it must be refused");
        problems.iter().map(|problem| format!("{}:{}: {problem}", problem.line, problem.column)).collect()
    }

    #[test]
    fn a_good_one_is_read_and_written_back() {
        let Loaded { inventory, warnings } = Inventory::parse(GOOD, Path::new("/base")).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(inventory.kubernetes.kubeconfig, Path::new("/base/lifeboat-credentials/admin.kubeconfig"));
        let written = serde_saphyr::to_string(&inventory).unwrap();
        assert_eq!(Inventory::parse(&written, Path::new("/elsewhere")).unwrap().inventory, inventory);
    }

    #[test]
    fn the_old_name_of_the_control_plane_is_read_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lifeboat.yaml");
        fs::write(dir.path().join("kubeconfig"), "").unwrap();
        let text = r#"{"version": 1, "cluster": "c", "hosts": {"m1": {"address": "10.0.0.1"}},
            "etcd": {"members": {"m1": {"host": "m1", "clientUrl": "https://10.0.0.1:2379",
                "peerUrl": "https://10.0.0.1:2380", "dataDir": "/var/lib/etcd",
                "service": {"unit": "etcd.service"}}}},
            "kubernetes": {"kubeconfig": "kubeconfig",
                "masters": {"m1": {"url": "https://10.0.0.1:6443", "apiserver": {"unit": "a.service"},
                "controllerManager": {"unit": "c.service"}, "scheduler": {"unit": "s.service"}}}}}"#;
        let load = |text: &str| {
            fs::write(&file, text).unwrap();
            Inventory::load(&file).unwrap()
        };
        let (old, new) = (load(text), load(&text.replace("masters", "controlPlane")));
        assert_eq!((&old.inventory, &new.warnings), (&new.inventory, &Vec::new()));
        let [warning] = old.warnings.as_slice() else { panic!("{:?}", old.warnings) };
        assert!(warning.starts_with(&format!("{}:6:", file.display())), "{warning}");
        assert!(
            warning.ends_with(": kubernetes.masters: deprecated field; rename it to controlPlane"),
            "{warning}"
        );
    }

    #[test]
    fn problems_under_the_old_name_have_their_place_and_both_names_are_refused() {
        let old = GOOD.replace("  controlPlane:\n", "  masters:\n");
        let at = |text: &str, what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
        let line = at(&old, "url: https://10.123.0.231:6443");
        assert_eq!(
            problems(&old.replace("https://10.123.0.231:6443", "http://10.123.0.231:6443")),
            [format!(
                "{line}:12: kubernetes.controlPlane.m1.url: \"http://10.123.0.231:6443\" must begin with https://"
            )]
        );
        let both = GOOD.replace("  controlPlane:\n", "  masters: {}\n  controlPlane:\n");
        let line = at(&both, "masters: {}");
        let message = "controlPlane is set too; it replaces masters: remove masters";
        assert_eq!(problems(&both), [format!("{line}:3: kubernetes.masters: {message}")]);
    }

    #[test]
    fn every_problem_of_shape_is_told_with_its_place() {
        let text = "\
version: one
cluster: prod
hosts:
  m1:
    adress: 10.0.0.1
  m2: 10.0.0.2
etcd:
  members:
    e1:
      host: m1
      clientUrl: https://10.0.0.1:2379
      peerUrl: https://10.0.0.1:2380
      dataDir: /var/lib/etcd
      service: etcd.service
    e2:
      host: m2
      clientUrl: [a]
      peerUrl: https://10.0.0.1:2380
      dataDir: /var/lib/etcd
      service: {systemd: etcd.service}
kubernetes:
  controlPlane: {}
";
        assert_eq!(
            problems(text),
            [
                "1:10: version: must be a whole number, not text",
                "4:3: hosts.m1: address is missing",
                "5:5: hosts.m1.adress: unknown field; allowed: address, machineId, roles, ssh, vm",
                "6:7: hosts.m2: must be a mapping, not text",
                "14:16: etcd.members.e1.service: must be a mapping with unit or staticPod, not text",
                "17:7: etcd.members.e2.clientUrl: must be text, not a list",
                "20:17: etcd.members.e2.service.systemd: unknown: must be unit or staticPod",
                "21:1: kubernetes: kubeconfig is missing",
            ]
        );
    }

    #[test]
    fn every_problem_of_meaning_is_told_with_its_place() {
        let text = "\
version: 1
cluster: ../prod
hosts:
  m1: {address: 10.0.0.1, machineId: abc}
  m2:
    address: 10.0.0.1
    ssh: -oProxyCommand=x
    vm:
      uuid: v2
      nics:
        - {l3Network: l, ip: 10.0.0.300, mac: 'fa:16:3e:00:00:01'}
        - {l3Network: l, ip: 10.0.0.3, mac: FA:16:3E:00:00:01}
etcd:
  members:
    e1:
      host: m9
      clientUrl: 10.0.0.1:2379
      peerUrl: http://10.0.0.1:2380
      dataDir: var/lib/etcd
      service: {unit: etcd}
    e2:
      host: m2
      clientUrl: https://10.0.0.2:2379/path
      peerUrl: http://10.0.0.1:2380
      dataDir: /var/lib/etcd
      service: {staticPod: {manifest: etcd.yaml, process: ''}}
kubernetes:
  kubeconfig: admin.conf
  controlPlane: {}
  nodes:
    m1: {name: same}
    m2: {name: same}
    m3: {}
cloud:
  zstack:
    endpoint: http://cloud:8080
    accessKeyId: {env: ''}
    accessKeySecret: {file: key}
    ipRanges:
      - {l3Network: l, name: r, startIp: 10.0.0.9, endIp: 10.0.0.1, netmask: 255.255.255.0, gateway: 10.0.0.254}
";
        assert_eq!(
            problems(text),
            [
                "2:10: cluster: must be letters, digits, - _ and ., and start with a letter or digit",
                "4:38: hosts.m1.machineId: must be the 32 hexadecimal digits of /etc/machine-id",
                "6:14: hosts.m2.address: address 10.0.0.1 is also hosts.m1.address",
                "7:10: hosts.m2.ssh: must not be empty, start with - or contain spaces",
                "11:30: hosts.m2.vm.nics.0.ip: must be an IP address",
                "12:45: hosts.m2.vm.nics.1.mac: MAC fa:16:3e:00:00:01 is also hosts.m2.vm.nics.0.mac",
                "16:13: etcd.members.e1.host: no such host: m9; hosts has m1, m2",
                "17:18: etcd.members.e1.clientUrl: \"10.0.0.1:2379\" must begin with http:// or https://",
                "19:16: etcd.members.e1.dataDir: must be an absolute path on the machine",
                "20:23: etcd.members.e1.service.unit: must be a systemd unit, such as etcd.service",
                "23:18: etcd.members.e2.clientUrl: \"https://10.0.0.2:2379/path\" must end with the port",
                "24:16: etcd.members.e2.peerUrl: URL http://10.0.0.1:2380 is also etcd.members.e1.peerUrl",
                "26:39: etcd.members.e2.service.staticPod.manifest: must be an absolute path on the machine",
                "26:59: etcd.members.e2.service.staticPod.process: must be the name of a program",
                "29:3: kubernetes.controlPlane: must not be empty",
                "32:16: kubernetes.nodes.m2.name: node same is also kubernetes.nodes.m1.name",
                "33:5: kubernetes.nodes.m3: no such host: m3; hosts has m1, m2",
                "37:24: cloud.zstack.accessKeyId.env: must not be empty",
                "40:9: cloud.zstack.ipRanges.0: 10.0.0.9 is after 10.0.0.1",
            ]
        );
    }

    /// Its other fields would be reported as many problems that do not exist.
    #[test]
    fn another_version_is_told_alone() {
        let text = GOOD.replace("version: 1", "version: 2").replace("hosts:", "machines:");
        assert_eq!(problems(&text), ["2:10: version: this Lifeboat reads version 1, not 2"]);
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place() {
        let [problem] = problems("version: 1\nhosts:\n  m1: {\n").try_into().unwrap();
        assert!(problem.starts_with("4:1:") || problem.starts_with("3:"), "{problem}");
        let [problem] = problems("version: 1\nversion: 2\n").try_into().unwrap();
        assert!(problem.starts_with("2:1:"), "{problem}");
        let [problem] = problems("").try_into().unwrap();
        assert!(problem.contains("must be a mapping"), "{problem}");
    }

    #[test]
    fn messages_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lifeboat.yaml");
        let missing = Inventory::load(&file).unwrap_err().to_string();
        assert!(missing.contains("lifeboat init"), "{missing}");
        assert_eq!(missing.matches(&*file.to_string_lossy()).count(), 1, "{missing}");
        fs::write(
            &file,
            GOOD.replace("10.123.0.232", "10.123.0.231").replace("unit: etcd.service", "unit: x"),
        )
        .unwrap();
        let wrong = Inventory::load(&file).unwrap_err().to_string();
        let line = format!("{}:", file.display());
        assert!(wrong.lines().count() > 1 && wrong.lines().all(|text| text.starts_with(&line)), "{wrong}");
    }
}
