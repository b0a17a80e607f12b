//! Where a member's data lies on its machine, and where its unit, manifest or config file says it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::agent::UNMOUNTED;
use crate::error_text::{self, one_line};
use crate::etcd_settings::Invocation;
use crate::facts::{Fact, NamedDirs, Place, PlaceKind, Program, Storage};
use crate::host::{Command, Host};
use crate::inventory::{MemberSpec, Service};
use crate::probe::host::FENCED_MANIFESTS;
use crate::static_pod::{self, Manifest};

const SCRIPT: &str = include_str!("storage.sh");
/// What a machine mounts at its boot.
const FSTAB: &str = "/etc/fstab";
/// Longest time for all answers; each has a limit of its own that is closer.
const ANSWERS: Duration = Duration::from_secs(12);
/// Where Lifeboat keeps what it sends to machines.
pub(crate) const SCRATCH: &str = "/var/lib/lifeboat";
/// A manifest and a config file have 256 KiB at most.
const LARGEST: usize = 2 << 20;

type Result<T> = std::result::Result<T, String>;

/// Asks one machine about one member. It must be the right machine: that is the caller's to know.
pub(crate) async fn collect(name: &str, spec: &MemberSpec, host: &dyn Host) -> Fact<Storage> {
    let source = format!("ssh {}: data dir and service of etcd", spec.host);
    match ask(name, spec, host, FSTAB).await {
        Ok(storage) => Fact::value(source, storage),
        Err(why) => Fact::unknown(source, why),
    }
}

async fn ask(name: &str, spec: &MemberSpec, host: &dyn Host, fstab: &str) -> Result<Storage> {
    let path = |path: &Path| path.display().to_string();
    let wal = spec.wal_dir.as_deref().map(path).unwrap_or_default();
    let mut arguments = vec!["where".to_owned(), fstab.to_owned(), path(&spec.data_dir), wal, SCRATCH.into()];
    match &spec.service {
        Service::Unit(unit) => arguments.extend(["unit".into(), unit.clone()]),
        Service::StaticPod(pod) => arguments.extend([
            "pod".into(),
            path(&pod.manifest),
            pod.process.clone(),
            FENCED_MANIFESTS.into(),
            name.to_owned(),
        ]),
    }
    let said = Said::of(&run(host, arguments).await?);
    let mut storage = said.storage(spec)?;
    let ours = storage.data_dir.real.clone();
    let differing =
        storage.named.iter().flat_map(|named| [Some(&named.real), named.wal_dir.as_ref()]).flatten();
    let differing: Vec<String> = differing.filter(|real| **real != ours).map(|real| path(real)).collect();
    if !differing.is_empty() {
        let mut arguments = vec!["resolve".to_owned()];
        arguments.extend(differing.iter().cloned());
        let resolved = Said::of(&run(host, arguments).await?);
        let resolved = resolved.all("real").map(|line| line.split_once('\t').unwrap_or((line, "")));
        let reals: BTreeMap<&String, (&str, &str)> = differing.iter().zip(resolved).collect();
        let real = |path: &PathBuf| {
            let seen = reals.get(&path.display().to_string());
            seen.map_or_else(|| (path.clone(), None), |(real, holds)| (real.into(), Some(*holds == "member")))
        };
        for named in &mut storage.named {
            (named.real, named.holds_member) = real(&named.real);
            named.wal_dir = named.wal_dir.as_ref().map(|dir| real(dir).0);
        }
    }
    Ok(storage)
}

async fn run(host: &dyn Host, arguments: Vec<String>) -> Result<String> {
    let output = host.run(&Command::script(&format!("{UNMOUNTED}{SCRIPT}"), arguments).within(ANSWERS)).await;
    let output = output.map_err(|error| error_text::of(&error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let body = text.split_once("lifeboat-storage\n").and_then(|(_, rest)| rest.strip_suffix("end\n"));
    match body {
        Some(body) if body.len() <= LARGEST => Ok(body.to_owned()),
        _ => Err(one_line(&format!(
            "the machine's answer is truncated; exit code {}: {}",
            output.code,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// A process, as `/proc` shows it.
#[derive(Default)]
struct Process {
    by: String,
    directory: PathBuf,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// The lines of an answer, by their first word, in order.
struct Said(Vec<(String, String)>);

impl Said {
    fn of(body: &str) -> Self {
        let line = |line: &str| {
            let (key, value) = line.split_once('\t').unwrap_or((line, ""));
            (key.to_owned(), value.to_owned())
        };
        Self(body.lines().map(line).collect())
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |(its, _)| its == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> String {
        self.all(key).map(|line| format!("{line}\n")).collect()
    }

    fn of_place<'a>(&'a self, key: &'a str, label: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
        self.all(key).filter_map(move |value| {
            let mut parts = value.split('\t');
            (parts.next() == Some(label)).then(|| parts.collect())
        })
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.all("unit")
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .last()
            .filter(|it| !it.is_empty())
    }

    fn storage(&self, spec: &MemberSpec) -> Result<Storage> {
        let mut storage = Storage {
            data_dir: self.place("data", &spec.data_dir)?,
            wal_dir: spec.wal_dir.as_deref().map(|dir| self.place("wal", dir)).transpose()?,
            scratch: self.place("scratch", Path::new(SCRATCH))?,
            named: Vec::new(),
            unread: Vec::new(),
            user: None,
            config_file: None,
            program: None,
        };
        let manifest = match &spec.service {
            Service::Unit(unit) => {
                storage.user =
                    self.property("User").filter(|user| *user != "root" && *user != "0").map(str::to_owned);
                storage.program = self.program();
                self.unit(unit, &mut storage);
                None
            }
            Service::StaticPod(pod) => self.pod(&pod.process, &mut storage),
        };
        self.processes(manifest.as_ref(), &mut storage);
        Ok(storage)
    }

    fn place(&self, label: &str, path: &Path) -> Result<Place> {
        let unfit = |what: &str| format!("unexpected answer of the machine about {}: {what}", path.display());
        let said = self.of_place("place", label).next().ok_or_else(|| unfit("it is missing"))?;
        let [kind, real, why] = said.as_slice() else { return Err(unfit(&one_line(&said.join(" ")))) };
        let kind = match *kind {
            "directory" => PlaceKind::Directory,
            "absent" => PlaceKind::Absent,
            "other" => PlaceKind::Other,
            "dangling" => PlaceKind::Dangling(why.into()),
            "unmounted" => PlaceKind::Unmounted(why.into()),
            "unreadable" => PlaceKind::Unreadable(one_line(why)),
            other => return Err(unfit(&one_line(other))),
        };
        let dangling = matches!(kind, PlaceKind::Dangling(_));
        let df = self.of_place("df", label).next();
        let df = df.as_deref().and_then(|line| crate::probe::host::free(line.first()?));
        let (mount, available) = match df {
            Some(df) => df,
            None if dangling => (PathBuf::from("/"), 0),
            None => return Err(unfit("df says nothing of its file system")),
        };
        let mut owner = self.of_place("owner", label);
        let owner = owner.next().unwrap_or_default();
        let part = |at: usize| owner.get(at).filter(|text| !text.is_empty()).map(|text| (*text).to_owned());
        let size = self.of_place("size", label).next().unwrap_or_default();
        let number = |at: usize| size.get(at).and_then(|text| text.parse::<u64>().ok());
        Ok(Place {
            path: path.into(),
            real: real.into(),
            kind,
            is_mount: self.of_place("mount", label).next().is_some(),
            below: self
                .of_place("below", label)
                .filter_map(|parts| parts.get(1).map(PathBuf::from))
                .collect(),
            owner: part(0),
            mode: part(1),
            bytes: number(0).map(|kib| kib.saturating_mul(1024)),
            db_bytes: number(1),
            mount,
            available,
        })
    }

    fn program(&self) -> Option<Program> {
        let said = self.all("program").last()?;
        let (path, version) = said.split_once('\t')?;
        let unknown_flag = self.all("unknown-flag").last().map(|flag| one_line(flag));
        Some(Program { path: path.into(), version: one_line(version), unknown_flag })
    }

    fn unit(&self, unit: &str, storage: &mut Storage) {
        let mut unread = |why: String| storage.unread.push(why);
        let Some(load) = self.property("LoadState") else {
            let said = self.all("unit").next().cloned().unwrap_or_default();
            return unread(format!("systemctl shows no unit {unit}: {}", one_line(&said)));
        };
        if load != "loaded" {
            return unread(format!("unit {unit} is {load}"));
        }
        let variables = self.variables("unit-variable");
        let arguments = self.property("ExecStart").and_then(argv).map(|argv| expand(&argv, &variables));
        let Some(arguments) = arguments.filter(|arguments| is_etcd(arguments)) else {
            let said = self.property("ExecStart").unwrap_or("nothing");
            return unread(format!("{unit} does not start etcd itself: {}", one_line(said)));
        };
        if let Some(script) = self.all("script").next() {
            return unread(format!("{script}, which {unit} starts, is a script"));
        }
        if let Some(root) = self.property("RootDirectory") {
            return unread(format!("{unit} runs in RootDirectory {root}"));
        }
        let etcd = Invocation { arguments: &arguments, variables: &variables, config: None };
        storage.config_file = etcd.flag("config-file").filter(|file| !file.is_empty()).map(PathBuf::from);
        let directory = self.property("WorkingDirectory").unwrap_or("/").trim_start_matches('!');
        match self.named(unit.into(), &arguments, &variables, Path::new(directory), None) {
            Ok(named) => storage.named.push(named),
            Err(why) => storage.unread.push(why),
        }
    }

    fn pod(&self, process: &str, storage: &mut Storage) -> Option<Manifest> {
        let Some(file) = self.all("manifest-file").next() else {
            storage.unread.push("its manifest does not exist".into());
            return None;
        };
        let Some(manifest) = static_pod::parse(file.into(), self.text("manifest").as_bytes()) else {
            storage.unread.push(format!("{file} is not a manifest"));
            return None;
        };
        let Some(words) = manifest.command_of(process) else {
            storage.unread.push(format!("{file} does not run {process}"));
            return None;
        };
        match self.named(file.clone(), words, &BTreeMap::new(), Path::new("/"), Some(&manifest)) {
            Ok(named) => storage.named.push(named),
            Err(why) => storage.unread.push(why),
        }
        Some(manifest)
    }

    /// What processes that run were started with. One that is not etcd itself, such as a container's client, says nothing.
    fn processes(&self, manifest: Option<&Manifest>, storage: &mut Storage) {
        let mut running: Vec<Process> = Vec::new();
        for (key, value) in &self.0 {
            match (key.as_str(), running.last_mut()) {
                ("process", _) => {
                    let (pid, directory) = value.split_once('\t').unwrap_or((value, "/"));
                    let (by, directory) = (format!("process {pid}"), directory.into());
                    running.push(Process { by, directory, ..Process::default() });
                }
                ("argument", Some(process)) => process.arguments.push(value.clone()),
                ("variable", Some(process)) => process.variables.extend(variable(value)),
                _ => {}
            }
        }
        for Process { by, directory, arguments, variables } in running {
            if !is_etcd(&arguments) {
                continue;
            }
            if let Ok(named) = self.named(by, &arguments, &variables, &directory, manifest) {
                storage.named.push(named);
            }
        }
    }

    fn variables(&self, key: &str) -> BTreeMap<String, String> {
        self.all(key).filter_map(|line| variable(line)).collect()
    }

    /// The directories that an etcd started so works in.
    fn named(
        &self,
        by: String,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
        directory: &Path,
        manifest: Option<&Manifest>,
    ) -> Result<NamedDirs> {
        let mut etcd = Invocation { arguments, variables, config: None };
        let config: Value;
        if let Some(file) = etcd.flag("config-file").filter(|file| !file.is_empty()) {
            let read = self.all("config-file").any(|read| read == file);
            let text = self.text("config");
            let unread = || format!("{by} takes its settings from {file}, which cannot be read");
            if !read || text.is_empty() {
                return Err(unread());
            }
            config = serde_saphyr::from_str(&text).map_err(|_| unread())?;
            etcd.config = Some(&config);
        }
        let place = |dir: &str| {
            if dir.contains("$(") {
                return Err(format!("{by} names {dir}, which is set elsewhere"));
            }
            let path = directory.join(dir);
            match manifest {
                Some(manifest) => manifest.mounted(&path).ok_or_else(|| {
                    format!("{by} keeps its data in {}, which is not a hostPath", path.display())
                }),
                None => Ok(path),
            }
        };
        let data_dir = place(&etcd.data_dir())?;
        let wal_dir = etcd.setting("wal-dir").map(|dir| place(&dir)).transpose()?;
        let real = data_dir.components().collect();
        Ok(NamedDirs { by, data_dir, real, wal_dir, holds_member: None })
    }
}

/// `NAME=value`, quoted or not.
fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    let value = value.trim();
    let unquoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value);
    Some((name.trim().to_owned(), value.to_owned()))
}

/// The command line in systemd's `{ path=... ; argv[]=... ; ignore_errors=... }`.
fn argv(exec: &str) -> Option<Vec<String>> {
    let (_, rest) = exec.split_once("argv[]=")?;
    let (line, _) = rest.split_once(" ; ignore_errors=")?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

/// As systemd does: `$NAME` as a word of its own becomes words, `${NAME}` anywhere becomes text.
fn expand(arguments: &[String], variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut expanded = Vec::new();
    for argument in arguments {
        let word = argument.strip_prefix('$').filter(|name| !name.starts_with(['{', '$']));
        if let Some(name) = word {
            let value = variables.get(name).map(String::as_str).unwrap_or_default();
            expanded.extend(value.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()));
            continue;
        }
        let text = variables
            .iter()
            .fold(argument.clone(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
        expanded.push(text);
    }
    expanded
}

fn is_etcd(arguments: &[String]) -> bool {
    arguments.first().and_then(|program| program.rsplit('/').next()) == Some("etcd")
}

#[cfg(test)]
mod tests;
